//! What is known about one attempt, from the engine's events and from inspections. Pure.

use bollard::models::EventMessage;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::labels::{ATTEMPT, Facts, Labels, MARKED, Mark};
use crate::outcome::{Death, Phase};
use crate::place::{Seen, object_name};
use crate::signals::Signals;

/// What is known about one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    /// Whether this includes everything that has happened to the container. If not, the container
    /// must be inspected.
    pub(crate) trusted: bool,
    pub(crate) heard: Heard,
    pub(crate) id: Option<String>,
    pub(crate) facts: Option<Facts>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) started: bool,
    /// When this process received the event of its start.
    pub(crate) heard_start: Option<Instant>,
    pub(crate) death: Option<Death>,
    pub(crate) mark: Option<Mark>,
    /// The signals that the engine sent to it before its end.
    pub(crate) signals: Signals,
    /// The starts after the first end, as the engine's events showed them.
    pub(crate) again: Vec<Option<Timestamp>>,
    /// That it was started again, as an inspection or the engine's memory showed it.
    pub(crate) restarted: Option<Restarted>,
    /// Whether another client changed the container's configuration, such as its restart policy.
    pub(crate) updated: bool,
    /// Whether the engine restarts it when it ends, when it was last inspected.
    pub(crate) restarts: bool,
    /// Whether the engine reported that it ran out of memory before its end.
    oom: bool,
    pub(crate) removed: bool,
    /// Why it is lost, if an inspection found it so.
    pub(crate) lost: Option<String>,
}

/// The most further starts that are kept of a container.
const MOST_STARTS: usize = 32;
/// How much later than the engine's time of an end its log may have the last output of that run. A
/// restart takes longer.
const LAST_OUTPUT: SignedDuration = SignedDuration::from_millis(50);

/// Evidence of a further start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Restarted {
    /// When a later run started.
    pub(crate) started_at: Option<Timestamp>,
    /// How often the container started at least.
    pub(crate) starts: u32,
}

/// How much of an attempt's life the events covered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing: it had ended when it was first inspected.
    #[default]
    Nothing,
    /// A part; there was a time when no events were received.
    Some,
    /// Everything, without a break: the engine has not gone down since it was created.
    All,
}

/// One of the engine's events, about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) attempt: String,
    container: String,
    /// Whether the container has the attempt's own name.
    named: bool,
    what: What,
    at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Created(Facts),
    Started,
    OutOfMemory,
    Signalled(Option<u32>),
    Died(i32),
    Updated,
    Destroyed,
    Marked(Mark),
}

impl Happening {
    /// Reads an event of type `container`
    /// (<https://docs.docker.com/reference/cli/docker/system/events/#containers>). The attributes
    /// hold the container's labels.
    pub(crate) fn read(event: EventMessage) -> Option<Self> {
        let actor = event.actor?;
        let container = actor.id?;
        let attributes: Labels = actor.attributes?;
        let action = event.action?;
        let at = event.time_nano.and_then(|n| Timestamp::from_nanosecond(i128::from(n)).ok());
        let name = attributes.get("name").map(String::as_str).unwrap_or_default();
        let Some(attempt) = attributes.get(ATTEMPT).cloned() else {
            let attempt = attributes.get(MARKED)?.clone();
            let own = object_name(&attempt);
            let is_own = name.strip_prefix(&own).is_some_and(|rest| matches!(rest, "" | "-end"));
            let what = What::Marked(Mark::read(&attributes).filter(|_| is_own)?);
            let named = true;
            return (action == "create").then_some(Self { attempt, container, named, what, at });
        };
        let named = name == object_name(&attempt);
        let what = match action.as_str() {
            "create" => What::Created(Facts::read(&attributes)),
            "start" => What::Started,
            "oom" => What::OutOfMemory,
            "kill" => What::Signalled(attributes.get("signal").and_then(|n| n.parse().ok())),
            "die" => What::Died(attributes.get("exitCode")?.parse().ok()?),
            "update" => What::Updated,
            "destroy" => What::Destroyed,
            _ => return None,
        };
        Some(Self { attempt, container, named, what, at })
    }
}

impl Sight {
    /// Applies an event.
    pub(crate) fn take(&mut self, happening: Happening) {
        let Happening { container, named, what, at, .. } = happening;
        // A stranger may have the attempt's labels. A container is known by its name first, and from
        // then on by its id, whatever others name it.
        let is_known = self.id.as_ref() == Some(&container);
        if !is_known && !named {
            return;
        }
        match what {
            What::Marked(mark) => self.mark = self.mark.or(Some(mark)),
            What::Created(facts) => {
                // The beginning: no earlier event can have been missed.
                let mark = self.mark;
                *self = Self { trusted: true, heard: Heard::All, mark, ..Self::default() };
                self.id = Some(container);
                self.facts = Some(facts);
            }
            // Another container of the same attempt, which was removed before it started.
            _ if self.id.as_ref().is_some_and(|id| *id != container) => {}
            What::Started => self.take_start(at),
            What::OutOfMemory => self.oom |= self.death.is_none(),
            What::Signalled(signal) if self.death.is_none() => self.signals.add(signal),
            What::Signalled(_) => {}
            // The first end counts. After a restart that was not heard, this end is not the first.
            What::Died(code) if self.death.is_none() && self.restarted.is_none() => {
                let (oom_killed, started_at) = (self.oom, self.started_at);
                self.death = Some(Death { code, oom_killed, started_at, finished_at: at });
            }
            What::Died(_) => {}
            What::Updated => self.updated = true,
            What::Destroyed => self.removed = true,
        }
    }

    /// Applies an inspection; `None` if the container no longer exists.
    pub(crate) fn look(&mut self, seen: Option<&Seen>, mark: Option<Mark>) {
        self.mark = self.mark.or(mark);
        self.trusted = true;
        let Some(seen) = seen else {
            self.removed = true;
            return;
        };
        self.removed = false;
        self.id = Some(seen.id.clone());
        self.facts = Some(seen.facts.clone());
        self.restarts = seen.restarts;
        match &seen.phase {
            Phase::Created { .. } => {}
            Phase::Running { started_at } => {
                self.started = true;
                self.started_at = self.started_at.or(*started_at);
                if self.heard == Heard::Nothing {
                    self.heard = Heard::Some;
                }
            }
            Phase::Ended(death) => self.look_at_end(death),
            Phase::Restarted { started_at, starts } => self.look_at_restart(*started_at, *starts),
            Phase::Lost(why) => self.lost = Some(why.clone()),
        }
    }

    fn look_at_end(&mut self, seen: &Death) {
        self.started = true;
        self.started_at = self.started_at.or(seen.started_at);
        match &self.death {
            // A later run than the one whose end is known.
            Some(first) if is_after(seen.started_at, first.finished_at) => {
                self.look_at_restart(seen.started_at, 2);
            }
            _ => self.death = Some(seen.clone()),
        }
    }

    fn look_at_restart(&mut self, started_at: Option<Timestamp>, starts: u32) {
        self.started = true;
        let starts = starts.max(self.restarted.map_or(0, |again| again.starts));
        self.restarted = Some(Restarted { started_at, starts });
    }

    /// A start counts as a further one if it is after the first end. (After a broken connection the
    /// engine repeats events.)
    fn take_start(&mut self, at: Option<Timestamp>) {
        match &self.death {
            Some(death) if is_after(at, death.finished_at) => {
                if !self.again.contains(&at) && self.again.len() < MOST_STARTS {
                    self.again.push(at);
                }
            }
            Some(_) => {}
            None => {
                self.started = true;
                self.started_at = self.started_at.or(at);
                self.heard_start.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Adds what the engine remembered of the container; see
    /// [`remembered`](crate::life::remembered). If that begins with its creation, it shows the first
    /// run. If not, it may still show that there was more than one run: an end that is known only
    /// from an inspection may then be that of a later run.
    pub(crate) fn recall(&mut self, past: &[Happening]) {
        let Some(id) = &self.id else { return };
        let mut known = Self { id: Some(id.clone()), ..Self::default() };
        past.iter().cloned().for_each(|happening| known.take(happening));
        self.signals = self.signals.and(known.signals);
        let first_again = known.again.first().copied().flatten();
        if known.heard == Heard::All && (first_again.is_some() || self.restarted.is_some()) {
            self.started_at = known.started_at;
            self.death = known.death;
        } else if let Some(again) = first_again
            && self.death.as_ref().is_some_and(|death| is_after(death.finished_at, Some(again)))
        {
            self.death = None;
        }
        if let Some(again) = first_again {
            let starts = u32::try_from(known.again.len() + 1).unwrap_or(u32::MAX);
            self.look_at_restart(Some(again), starts);
            self.again = known.again;
        }
    }

    /// Records that events may have been missed.
    pub(crate) const fn doubt(&mut self) {
        self.trusted = false;
        if matches!(self.heard, Heard::All) {
            self.heard = Heard::Some;
        }
    }

    /// Whether the attempt is over: it ended, was removed or is lost. A container that runs again has
    /// ended before.
    pub(crate) const fn is_over(&self) -> bool {
        self.death.is_some() || self.removed || self.lost.is_some() || self.restarted.is_some()
    }

    /// Whether the container is known to have started again after its first end.
    pub(crate) const fn started_again(&self) -> bool {
        self.restarted.is_some() || !self.again.is_empty()
    }

    /// The further starts, for a report: `NAME (start 2 at TIME)`.
    pub(crate) fn further_starts(&self, name: &str) -> Vec<String> {
        let one = |number: usize, at: Option<Timestamp>| match at {
            Some(at) => format!("{name} (start {number} at {at})"),
            None => format!("{name} (start {number})"),
        };
        match self.restarted {
            Some(Restarted { started_at, starts }) if self.again.is_empty() => {
                vec![one(usize::try_from(starts).unwrap_or(2), started_at)]
            }
            _ => self.again.iter().enumerate().map(|(i, at)| one(i + 2, *at)).collect(),
        }
    }

    /// Where the output of the first run ends in the log, if that of a later run follows.
    pub(crate) fn end_of_output(&self) -> Option<Timestamp> {
        if !self.started_again() {
            return None;
        }
        let finished = self.death.as_ref().and_then(|death| death.finished_at);
        let finished = finished.and_then(|at| at.checked_add(LAST_OUTPUT).ok());
        finished.or_else(|| self.restarted.and_then(|again| again.started_at))
    }
}

/// Whether both times are known, and `one` is after `other`.
fn is_after(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one > other)
}

#[cfg(test)]
#[path = "sight_tests.rs"]
mod tests;
