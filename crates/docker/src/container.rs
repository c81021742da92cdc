//! Inspecting an attempt's container.

use bollard_stubs::models::{ContainerInspectResponse, RestartPolicyNameEnum};
use jiff::Timestamp;

use crate::client::{Answer, Engine};
use crate::labels::{self, Facts, Labels};
use crate::location::Location;
use crate::outcome::{Phase, moment, phase};

/// An attempt's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// By the engine's clock.
    pub(crate) created: Option<Timestamp>,
    pub(crate) phase: Phase,
    /// Whether the engine restarts it when it ends. Longshore never asks for that.
    pub(crate) has_restart_policy: bool,
    pub(crate) facts: Facts,
}

/// What exists of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Nothing,
    /// The attempt has never started and never may.
    Fenced,
    /// A container that is not Longshore's has its name.
    Taken,
    Container(Container),
}

/// Looks for the container with the attempt's name.
pub(crate) async fn find_by_name(engine: &Engine, location: &Location) -> Answer<Found> {
    let Some(found) = engine.inspect(&location.name).await? else { return Ok(Found::Nothing) };
    let labels = labels_of(&found);
    if let Some(container) = read_container(&found, location) {
        return Ok(Found::Container(container));
    }
    Ok(if is_mark(&labels, location) { Found::Fenced } else { Found::Taken })
}

pub(crate) fn labels_of(found: &ContainerInspectResponse) -> Labels {
    found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default()
}

fn is_of(labels: &Labels, location: &Location, attempt: &str) -> bool {
    let has = |key, value: &str| labels.get(key).map(String::as_str) == Some(value);
    has(attempt, location.attempt.as_str())
        && has(labels::INSTALLATION, location.installation.as_str())
}

pub(crate) fn is_mark(labels: &Labels, location: &Location) -> bool {
    is_of(labels, location, labels::MARKED) && !labels.contains_key(labels::ATTEMPT)
}

/// Reads an inspected container, if it has the attempt's labels.
pub(crate) fn read_container(
    found: &ContainerInspectResponse,
    location: &Location,
) -> Option<Container> {
    let labels = labels_of(found);
    if !is_of(&labels, location, labels::ATTEMPT) {
        return None;
    }
    Some(Container {
        id: found.id.clone()?,
        created: moment(found.created.as_deref()),
        phase: phase(found.state.as_ref()?, restart_count(found)),
        has_restart_policy: has_restart_policy(found),
        facts: Facts::read(&labels),
    })
}

fn restart_count(found: &ContainerInspectResponse) -> u32 {
    found.restart_count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0)
}

fn has_restart_policy(found: &ContainerInspectResponse) -> bool {
    let policy = found.host_config.as_ref().and_then(|config| config.restart_policy.as_ref());
    let name = policy.and_then(|policy| policy.name);
    !matches!(name, None | Some(RestartPolicyNameEnum::NO | RestartPolicyNameEnum::EMPTY))
}

/// Whether a listed container has the name `name`. The engine writes a slash before names.
pub(crate) fn is_named(names: Option<&[String]>, name: &str) -> bool {
    names.unwrap_or_default().iter().any(|listed| listed.trim_start_matches('/') == name)
}
