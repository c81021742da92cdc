//! Writing and reading marks: containers that never run and record a decision about an attempt.

use bollard_stubs::models::{ContainerCreateBody, HostConfig};

use crate::client::{Answer, Engine};
use crate::container::{is_mark, labels_of};
use crate::labels::Mark;
use crate::location::Location;

/// The result of writing a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MarkResult {
    /// The mark did not exist and is written.
    Written,
    /// This mark existed before, and stays.
    Existing(Mark),
    /// A container that is no mark has the name.
    NameTaken,
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
) -> Answer<MarkResult> {
    let body = ContainerCreateBody {
        cmd: Some(vec!["longshore-mark".to_owned()]),
        labels: Some(mark.labels(&location.attempt, Some(&location.installation))),
        host_config: Some(HostConfig {
            network_mode: Some("none".to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    match engine.create(name, &body).await {
        Ok(_) => Ok(MarkResult::Written),
        Err(fault) if fault.is_conflict() => {
            let before = read_mark(engine, location, name).await?;
            Ok(before.map_or(MarkResult::NameTaken, |found| MarkResult::Existing(found.mark)))
        }
        Err(fault) => Err(fault),
    }
}

/// A mark on the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MarkContainer {
    pub(crate) id: String,
    pub(crate) mark: Mark,
}

/// The mark about the attempt with the name `name`, if it exists.
pub(crate) async fn read_mark(
    engine: &Engine,
    location: &Location,
    name: &str,
) -> Answer<Option<MarkContainer>> {
    let Some(found) = engine.inspect(name).await? else { return Ok(None) };
    let labels = labels_of(&found);
    let mark = Mark::read(&labels).filter(|_| is_mark(&labels, location));
    Ok(found.id.zip(mark).map(|(id, mark)| MarkContainer { id, mark }))
}
