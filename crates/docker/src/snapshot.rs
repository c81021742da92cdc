//! What is known about one attempt, from the engine's events and from inspections. Pure.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::container::Container;
use crate::container_event::{Change, ContainerEvent};
use crate::labels::{Facts, Mark};
use crate::outcome::{Death, Phase};
use crate::signals::Signals;

/// What is known about one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Whether this includes everything that has happened to the container. If not, the container
    /// must be inspected.
    pub(crate) synced: bool,
    pub(crate) coverage: Coverage,
    pub(crate) id: Option<String>,
    pub(crate) facts: Option<Facts>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) started: bool,
    /// When this process received the event of its start.
    pub(crate) start_observed: Option<Instant>,
    pub(crate) death: Option<Death>,
    pub(crate) mark: Option<Mark>,
    /// The signals that the engine sent to it before its end.
    pub(crate) signals: Signals,
    /// The starts after the first end, as the engine's events showed them.
    pub(crate) further_starts: Vec<Option<Timestamp>>,
    /// That it was started again, as an inspection or the engine's memory showed it.
    pub(crate) restarted: Option<Restarted>,
    /// Whether another client changed the container's configuration, such as its restart policy.
    pub(crate) updated: bool,
    /// Whether the engine restarts it when it ends, when it was last inspected.
    pub(crate) has_restart_policy: bool,
    /// Whether the engine reported that its first run was out of memory.
    pub(crate) oom: bool,
    /// Whether the engine remembered its start: it has not gone down since.
    pub(crate) start_remembered: bool,
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
pub(crate) enum Coverage {
    /// Nothing: it had ended when it was first inspected.
    #[default]
    None,
    /// A part; there was a time when no events were received.
    Part,
    /// Everything, without a break: the engine has not gone down since it was created.
    All,
}

impl Snapshot {
    /// Applies an event.
    pub(crate) fn apply(&mut self, event: ContainerEvent) {
        let ContainerEvent { container, named, change, at, .. } = event;
        // A stranger may have the attempt's labels. A container is known by its name first, and from
        // then on by its id, whatever others name it.
        let is_known = self.id.as_ref() == Some(&container);
        if !is_known && !named {
            return;
        }
        match change {
            Change::Marked(mark) => self.mark = self.mark.or(Some(mark)),
            Change::Created(facts) => {
                // The beginning: no earlier event can have been missed.
                let mark = self.mark;
                *self = Self { synced: true, coverage: Coverage::All, mark, ..Self::default() };
                self.id = Some(container);
                self.facts = Some(facts);
            }
            // Another container of the same attempt, which was removed before it started.
            _ if self.id.as_ref().is_some_and(|id| *id != container) => {}
            Change::Started => self.apply_start(at),
            Change::OutOfMemory => self.apply_oom(),
            Change::Signalled(signal) if self.death.is_none() => self.signals.add(signal),
            Change::Signalled(_) => {}
            // The first end counts. After a restart that no event reported, this end is not the first.
            Change::Died(code) if self.death.is_none() && self.restarted.is_none() => {
                let (oom_killed, started_at) = (self.oom, self.started_at);
                let (finished_at, overwritten) = (at, false);
                self.death = Some(Death { code, oom_killed, started_at, finished_at, overwritten });
            }
            Change::Died(_) => {}
            Change::Updated => self.updated = true,
            Change::Destroyed => self.removed = true,
        }
    }

    /// Applies an inspection; `None` if the container no longer exists.
    pub(crate) fn apply_inspection(&mut self, container: Option<&Container>, mark: Option<Mark>) {
        self.mark = self.mark.or(mark);
        self.synced = true;
        let Some(container) = container else {
            self.removed = true;
            return;
        };
        self.removed = false;
        self.id = Some(container.id.clone());
        self.facts = Some(container.facts.clone());
        self.has_restart_policy = container.has_restart_policy;
        match &container.phase {
            Phase::Created { .. } => {}
            Phase::Running { started_at } => {
                self.started = true;
                self.started_at = self.started_at.or(*started_at);
                if self.coverage == Coverage::None {
                    self.coverage = Coverage::Part;
                }
            }
            Phase::Ended(death) => self.apply_end(death),
            Phase::Restarted { started_at, starts } => self.apply_restart(*started_at, *starts),
            Phase::Lost(why) => self.lost = Some(why.clone()),
        }
    }

    /// Records that the first run was out of memory. The engine may report that after its end.
    fn apply_oom(&mut self) {
        if !self.started_again() {
            self.oom = true;
            self.death.iter_mut().for_each(|death| death.oom_killed = true);
        }
    }

    fn apply_end(&mut self, death: &Death) {
        self.started = true;
        self.started_at = self.started_at.or(death.started_at);
        match &self.death {
            // A later run than the one whose end is known.
            Some(first) if is_after(death.started_at, first.finished_at) => {
                self.apply_restart(death.started_at, 2);
            }
            Some(_) if death.overwritten => {}
            _ => {
                let oom_killed = death.oom_killed || self.oom;
                self.death = Some(Death { oom_killed, ..death.clone() });
            }
        }
    }

    fn apply_restart(&mut self, started_at: Option<Timestamp>, starts: u32) {
        self.started = true;
        let starts = starts.max(self.restarted.map_or(0, |again| again.starts));
        self.restarted = Some(Restarted { started_at, starts });
    }

    /// A start counts as a further one if it is after the first end. (After a broken connection the
    /// engine repeats events.)
    fn apply_start(&mut self, at: Option<Timestamp>) {
        match &self.death {
            Some(death) if is_after(at, death.finished_at) => {
                if !self.further_starts.contains(&at) && self.further_starts.len() < MOST_STARTS {
                    self.further_starts.push(at);
                }
            }
            Some(_) => {}
            None => {
                self.started = true;
                self.started_at = self.started_at.or(at);
                self.start_observed.get_or_insert_with(Instant::now);
            }
        }
    }

    /// Applies the events of the container that the engine remembered; see
    /// [`past_events`](crate::past_events::past_events). If they begin with its creation, they show
    /// the first run. If not, they may still show that there was more than one run: an end that is known only
    /// from an inspection may then be that of a later run.
    pub(crate) fn apply_past_events(&mut self, past: &[ContainerEvent]) {
        let Some(id) = &self.id else { return };
        let mut known = Self { id: Some(id.clone()), ..Self::default() };
        past.iter().cloned().for_each(|event| known.apply(event));
        self.signals = self.signals.and(known.signals);
        self.start_remembered |= known.started;
        let first_again = known.further_starts.first().copied().flatten();
        if known.coverage == Coverage::All && (first_again.is_some() || self.restarted.is_some()) {
            self.started_at = known.started_at;
            self.death = known.death;
        } else if known.further_starts.is_empty() && self.restarted.is_none() {
            if known.oom {
                self.apply_oom();
            }
            if known.death.is_some() && self.death.as_ref().is_some_and(|death| death.overwritten) {
                self.death = known.death;
            }
        } else if let Some(again) = first_again
            && self.death.as_ref().is_some_and(|death| is_after(death.finished_at, Some(again)))
        {
            self.death = None;
        }
        if let Some(again) = first_again {
            let starts = u32::try_from(known.further_starts.len() + 1).unwrap_or(u32::MAX);
            self.apply_restart(Some(again), starts);
            self.further_starts = known.further_starts;
        }
    }

    /// Records that events may have been missed.
    pub(crate) const fn invalidate(&mut self) {
        self.synced = false;
        if matches!(self.coverage, Coverage::All) {
            self.coverage = Coverage::Part;
        }
    }

    /// Whether the attempt is over: it ended, was removed or is lost. A container that runs again has
    /// ended before.
    pub(crate) const fn is_over(&self) -> bool {
        self.death.is_some() || self.removed || self.lost.is_some() || self.restarted.is_some()
    }

    /// Whether the container is known to have started again after its first end.
    pub(crate) const fn started_again(&self) -> bool {
        self.restarted.is_some() || !self.further_starts.is_empty()
    }

    /// The further starts, for a report: `NAME (start 2 at TIME)`.
    pub(crate) fn describe_further_starts(&self, name: &str) -> Vec<String> {
        let one = |number: usize, at: Option<Timestamp>| match at {
            Some(at) => format!("{name} (start {number} at {at})"),
            None => format!("{name} (start {number})"),
        };
        match self.restarted {
            Some(Restarted { started_at, starts }) if self.further_starts.is_empty() => {
                vec![one(usize::try_from(starts).unwrap_or(2), started_at)]
            }
            _ => self.further_starts.iter().enumerate().map(|(i, at)| one(i + 2, *at)).collect(),
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
#[path = "snapshot_tests.rs"]
mod tests;
