//! The engine's events about containers. Pure.

use bollard_stubs::models::EventMessage;
use jiff::Timestamp;

use crate::labels::{ATTEMPT, Facts, Labels, MARKED, Mark};
use crate::location::object_name;

/// One of the engine's events, about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerEvent {
    pub(crate) attempt: String,
    pub(crate) container: String,
    /// Whether the container has the attempt's own name.
    pub(crate) named: bool,
    pub(crate) change: Change,
    pub(crate) at: Option<Timestamp>,
}

/// What happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Created(Facts),
    Started,
    OutOfMemory,
    Signalled(Option<u32>),
    Died(i32),
    Updated,
    Destroyed,
    Marked(Mark),
}

impl ContainerEvent {
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
            let change = Change::Marked(Mark::read(&attributes).filter(|_| is_own)?);
            let named = true;
            return (action == "create").then_some(Self { attempt, container, named, change, at });
        };
        let named = name == object_name(&attempt);
        let change = match action.as_str() {
            "create" => Change::Created(Facts::read(&attributes)),
            "start" => Change::Started,
            "oom" => Change::OutOfMemory,
            "kill" => Change::Signalled(attributes.get("signal").and_then(|n| n.parse().ok())),
            "die" => Change::Died(attributes.get("exitCode")?.parse().ok()?),
            "update" => Change::Updated,
            "destroy" => Change::Destroyed,
            _ => return None,
        };
        Some(Self { attempt, container, named, change, at })
    }
}
