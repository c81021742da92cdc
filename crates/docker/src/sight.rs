//! What is known about one attempt, from the engine's events and from inspections. Pure.

use bollard::models::EventMessage;
use jiff::Timestamp;

use crate::labels::{ATTEMPT, Facts, Labels, MARKED, Mark};
use crate::outcome::{Death, Phase};
use crate::place::Seen;
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
    pub(crate) death: Option<Death>,
    pub(crate) mark: Option<Mark>,
    /// The signals that the engine sent to it before its end.
    pub(crate) signals: Signals,
    pub(crate) removed: bool,
    /// Why it is lost, if an inspection found it so.
    pub(crate) lost: Option<String>,
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
        if let (Some(attempt), Some(mark)) = (attributes.get(MARKED), Mark::read(&attributes)) {
            let what = What::Marked(mark);
            let attempt = attempt.clone();
            return (action == "create").then_some(Self { attempt, container, what, at });
        }
        let attempt = attributes.get(ATTEMPT)?.clone();
        let what = match action.as_str() {
            "create" => What::Created(Facts::read(&attributes)),
            "start" => What::Started,
            "oom" => What::OutOfMemory,
            "kill" => What::Signalled(attributes.get("signal").and_then(|n| n.parse().ok())),
            "die" => What::Died(attributes.get("exitCode")?.parse().ok()?),
            "destroy" => What::Destroyed,
            _ => return None,
        };
        Some(Self { attempt, container, what, at })
    }
}

impl Sight {
    /// Applies an event.
    pub(crate) fn take(&mut self, happening: Happening) {
        let Happening { container, what, at, .. } = happening;
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
            What::Started => {
                self.started = true;
                self.started_at = at;
            }
            What::OutOfMemory => {}
            What::Signalled(signal) if self.death.is_none() => self.signals.add(signal),
            What::Signalled(_) => {}
            What::Died(code) => {
                let started_at = self.started_at;
                self.death = Some(Death { code, oom_killed: false, started_at, finished_at: at });
            }
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
        match &seen.phase {
            Phase::Created { .. } => {}
            Phase::Running { started_at } => {
                self.started = true;
                self.started_at = self.started_at.or(*started_at);
                if self.heard == Heard::Nothing {
                    self.heard = Heard::Some;
                }
            }
            Phase::Ended(death) => {
                self.started = true;
                self.started_at = self.started_at.or(death.started_at);
                self.death = Some(death.clone());
            }
            Phase::Lost(why) => self.lost = Some(why.clone()),
        }
    }

    /// Adds what the engine remembered of the container `id`; see
    /// [`remembered`](crate::life::remembered).
    pub(crate) fn recall(&mut self, past: &[Happening]) {
        let Some(id) = &self.id else { return };
        let mut known = Self { id: Some(id.clone()), ..Self::default() };
        past.iter().cloned().for_each(|happening| known.take(happening));
        self.signals = self.signals.and(known.signals);
    }

    /// Records that events may have been missed.
    pub(crate) const fn doubt(&mut self) {
        self.trusted = false;
        if matches!(self.heard, Heard::All) {
            self.heard = Heard::Some;
        }
    }

    /// Whether the attempt is over: it ended, was removed or is lost.
    pub(crate) const fn is_over(&self) -> bool {
        self.death.is_some() || self.removed || self.lost.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Decision;

    fn event(action: &str, id: &str, more: &[(&str, &str)]) -> EventMessage {
        let mut attributes = serde_json::json!({"image": "x", "name": "longshore-a-1"});
        for (key, value) in more {
            attributes[*key] = (*value).into();
        }
        serde_json::from_value(serde_json::json!({
            "Type": "container", "Action": action,
            "Actor": {"ID": id, "Attributes": attributes},
            "time": 1_795_458_420, "timeNano": 1_795_458_420_246_193_787_i64,
        }))
        .unwrap()
    }

    /// Action, container, further attributes.
    type Told<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

    fn told(events: &[Told<'_>]) -> Sight {
        let mut sight = Sight::default();
        for (action, id, more) in events {
            let mut more = more.to_vec();
            if !more.iter().any(|(key, _)| *key == MARKED) {
                more.push((ATTEMPT, "a-1"));
            }
            if let Some(happening) = Happening::read(event(action, id, &more)) {
                assert_eq!(happening.attempt, "a-1");
                sight.take(happening);
            }
        }
        sight
    }

    #[test]
    fn a_life_from_creation_to_death_is_known_without_looking() {
        let sight = told(&[
            ("create", "c", &[("longshore.dev/timeout", "5s")]),
            ("attach", "c", &[]),
            ("start", "c", &[]),
            ("die", "c", &[("exitCode", "3")]),
        ]);
        assert!(sight.trusted && sight.started && sight.is_over());
        assert_eq!(sight.heard, Heard::All);
        assert_eq!(sight.death.unwrap().code, 3);
        assert_eq!(sight.facts.unwrap().timeout, Some(std::time::Duration::from_secs(5)));
    }

    #[test]
    fn a_life_whose_beginning_was_missed_is_not_trusted() {
        let sight = told(&[("start", "c", &[]), ("die", "c", &[("exitCode", "0")])]);
        assert!(!sight.trusted);
        assert_eq!(sight.heard, Heard::Nothing);
    }

    #[test]
    fn what_was_missed_is_not_made_up_for_by_looking() {
        let mut sight = told(&[("create", "c", &[]), ("start", "c", &[])]);
        sight.doubt();
        sight.look(None, None);
        assert!(sight.trusted);
        assert_eq!(sight.heard, Heard::Some);
    }

    #[test]
    fn the_first_mark_stays() {
        let mark = |decision| [(MARKED, "a-1"), ("longshore.dev/mark", decision)];
        let sight = told(&[
            ("create", "c", &[]),
            ("create", "m", &mark("deadline")),
            ("create", "n", &mark("cancelled")),
        ]);
        assert_eq!(sight.mark.unwrap().decision, Decision::Deadline);
    }

    #[test]
    fn the_removal_of_a_container_that_was_replaced_is_not_the_end() {
        let sight = told(&[
            ("create", "old", &[]),
            ("create", "new", &[]),
            ("destroy", "old", &[]),
            ("start", "new", &[]),
        ]);
        assert!(sight.started && !sight.is_over());
    }
}
