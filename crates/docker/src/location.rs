//! The names of an attempt on the engine.

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, HostConfig, RestartPolicyNameEnum,
};
use jiff::Timestamp;
use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, Handle, InstallationId, Result, RunnerName,
};
use serde::{Deserialize, Serialize};

use crate::client::{Answer, Engine};
use crate::labels::{self, Facts, Labels, Mark};
use crate::outcome::{Phase, moment, phase};

/// The version of the handle's opaque part.
const VERSION: u32 = 1;

/// The handle's opaque part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opaque {
    name: String,
    installation: InstallationId,
}

/// The name of an attempt's container; see [`Attempt::object_name`].
pub(crate) fn object_name(attempt: &str) -> String {
    format!("longshore-{attempt}")
}

/// Identifies an attempt's container and marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) attempt: AttemptId,
    pub(crate) installation: InstallationId,
    /// The name of its container, or of its mark if it is fenced.
    pub(crate) name: String,
}

impl Location {
    pub(crate) fn of(attempt: &Attempt) -> Self {
        Self {
            attempt: attempt.id.clone(),
            installation: attempt.installation.clone(),
            name: attempt.object_name(),
        }
    }

    pub(crate) fn new(attempt: AttemptId, installation: InstallationId, name: String) -> Self {
        Self { attempt, installation, name }
    }

    pub(crate) fn read(handle: &Handle) -> Result<Self> {
        let unknown = |what: &'static str| {
            Error::new(ErrorKind::Internal, what).with("attempt", &handle.attempt)
        };
        if handle.version != VERSION {
            return Err(unknown("the handle is of a version that this runner does not know"));
        }
        let opaque: Opaque = serde_json::from_value(handle.opaque.clone()).map_err(|error| {
            unknown("the handle is not one of a Docker runner").caused_by(error)
        })?;
        Ok(Self::new(handle.attempt.clone(), opaque.installation, opaque.name))
    }

    pub(crate) fn handle(&self, runner: &RunnerName) -> Handle {
        let opaque = serde_json::json!({
            "name": self.name,
            "installation": self.installation.as_str(),
        });
        Handle::new(runner.clone(), VERSION, self.attempt.clone(), opaque)
    }

    /// The name of the mark about its end.
    pub(crate) fn end_name(&self) -> String {
        format!("{}-end", self.name)
    }

    /// The labels that find its container under any name.
    pub(crate) fn labels(&self) -> Vec<String> {
        let label = |key, value: &str| format!("{key}={value}");
        vec![
            label(labels::ATTEMPT, self.attempt.as_str()),
            label(labels::INSTALLATION, self.installation.as_str()),
        ]
    }
}

/// An attempt's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) id: String,
    /// By the engine's clock.
    pub(crate) created: Option<Timestamp>,
    pub(crate) phase: Phase,
    /// Whether the engine restarts it when it ends. Longshore never asks for that.
    pub(crate) restarts: bool,
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
    Container(Seen),
}

/// Looks for the container with the attempt's name.
pub(crate) async fn look_by_name(engine: &Engine, location: &Location) -> Answer<Found> {
    let Some(found) = engine.inspect(&location.name).await? else { return Ok(Found::Nothing) };
    let labels = labels_of(&found);
    if let Some(seen) = seen(&found, location) {
        return Ok(Found::Container(seen));
    }
    Ok(if is_mark(&labels, location) { Found::Fenced } else { Found::Taken })
}

fn labels_of(found: &ContainerInspectResponse) -> Labels {
    found.config.as_ref().and_then(|config| config.labels.clone()).unwrap_or_default()
}

fn is_of(labels: &Labels, location: &Location, attempt: &str) -> bool {
    let has = |key, value: &str| labels.get(key).map(String::as_str) == Some(value);
    has(attempt, location.attempt.as_str())
        && has(labels::INSTALLATION, location.installation.as_str())
}

fn is_mark(labels: &Labels, location: &Location) -> bool {
    is_of(labels, location, labels::MARKED) && !labels.contains_key(labels::ATTEMPT)
}

/// The inspected container, if it has the attempt's labels.
pub(crate) fn seen(found: &ContainerInspectResponse, location: &Location) -> Option<Seen> {
    let labels = labels_of(found);
    if !is_of(&labels, location, labels::ATTEMPT) {
        return None;
    }
    Some(Seen {
        id: found.id.clone()?,
        created: moment(found.created.as_deref()),
        phase: phase(found.state.as_ref()?, restart_count(found)),
        restarts: has_restart_policy(found),
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

/// The result of writing a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// The mark did not exist and is written.
    Now,
    /// This mark existed before, and stays.
    Before(Mark),
    /// A container that is no mark has the name.
    Taken,
}

/// Writes `mark` under `name`, unless the name is taken.
///
/// A mark's container has no image, so a mark can be written on an engine that has none, and its
/// command does not exist: it cannot run, even if a user starts it.
pub(crate) async fn write_mark(
    engine: &Engine,
    location: &Location,
    name: &str,
    mark: Mark,
) -> Answer<Written> {
    let body = ContainerCreateBody {
        cmd: Some(vec!["longshore-mark".to_owned()]),
        labels: Some(mark.labels(&location.attempt, Some(&location.installation))),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    match engine.create(name, &body, body.clone()).await {
        Ok(_) => Ok(Written::Now),
        Err(fault) if fault.is_conflict() => {
            let before = read_mark(engine, location, name).await?;
            Ok(before.map_or(Written::Taken, |found| Written::Before(found.mark)))
        }
        Err(fault) => Err(fault),
    }
}

/// A mark on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FoundMark {
    pub(crate) id: String,
    pub(crate) mark: Mark,
}

/// The mark about the attempt with the name `name`, if it exists.
pub(crate) async fn read_mark(
    engine: &Engine,
    location: &Location,
    name: &str,
) -> Answer<Option<FoundMark>> {
    let Some(found) = engine.inspect(name).await? else { return Ok(None) };
    let labels = labels_of(&found);
    let mark = Mark::read(&labels).filter(|_| is_mark(&labels, location));
    Ok(found.id.zip(mark).map(|(id, mark)| FoundMark { id, mark }))
}

#[cfg(test)]
mod tests {
    use longshore_core::{JobId, JobSpec};

    use super::*;

    #[test]
    fn a_handle_is_pure_and_leads_back_to_its_location() {
        let attempt =
            Attempt::new(InstallationId::random(), JobId::random(), 2, JobSpec::default());
        let location = Location::of(&attempt);
        let runner = RunnerName::docker();
        let handle = location.handle(&runner);
        assert_eq!(handle, Location::of(&attempt).handle(&runner));
        let text = serde_json::to_string(&handle).unwrap();
        let again: Handle = serde_json::from_str(&text).unwrap();
        assert_eq!(Location::read(&again).unwrap(), location);
    }

    #[test]
    fn a_handle_of_another_version_or_form_is_refused() {
        let attempt =
            Attempt::new(InstallationId::random(), JobId::random(), 2, JobSpec::default());
        let runner = RunnerName::docker();
        let mut handle = Location::of(&attempt).handle(&runner);
        handle.version = 99;
        assert_eq!(Location::read(&handle).unwrap_err().kind(), ErrorKind::Internal);
        handle.version = VERSION;
        handle.opaque = serde_json::json!({"pid": 1});
        assert_eq!(Location::read(&handle).unwrap_err().kind(), ErrorKind::Internal);
    }
}
