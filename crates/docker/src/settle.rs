//! Proving that an attempt has never started and never will.

use std::time::Duration;

use longshore_core::{Error, ErrorKind, Result, Settled};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::Backend;
use crate::client::{Answer, Removal, Removed};
use crate::container::{Container, Found, find_by_name};
use crate::inventory::remove_old_fences;
use crate::labels::{Decision, Mark};
use crate::location::Location;
use crate::marks::{MarkResult, write_mark};
use crate::outcome::Phase;
use crate::ownership::Renamed;
use crate::past_events::{has_started, never_started};

/// How long to wait for another process that is creating or removing the container.
const PAUSE: Duration = Duration::from_millis(50);

impl Backend {
    /// Takes the attempt's name on the engine, so that no container can be created for it.
    ///
    /// Only the launch that created an attempt's container starts it, once, by its id, so:
    /// - If the name is free, a mark takes it: a late create gets 409 and starts nothing.
    /// - If the container exists and is only created, this removes it, unless it runs. The engine
    ///   serialises the start and the removal of one container: a late start finds nothing. Then
    ///   the name is free.
    /// - In any other case the attempt may have started.
    ///
    /// If the job starts and ends between the inspection and the removal, the engine's memory of
    /// events contains the start. It also does if somebody removed the container after the job had
    /// ended, so a free name alone proves nothing.
    pub(crate) async fn settle(&self, location: &Location, deadline: Instant) -> Result<Settled> {
        let answer = timeout_at(deadline, self.try_settle(location)).await;
        let late = |_| {
            Error::new(ErrorKind::Unavailable, "failed to settle the attempt in time")
                .with("container", &location.name)
        };
        answer.map_err(late)?.map_err(|f| self.error(f, "failed to settle the attempt", location))
    }

    async fn try_settle(&self, location: &Location) -> Answer<Settled> {
        let fence = Mark { decision: Decision::Fenced, grace: Duration::ZERO };
        loop {
            match write_mark(&self.engine, location, &location.name, fence).await? {
                MarkResult::Written => {
                    remove_old_fences(self, &location.installation).await;
                    return self.settle_renamed(location).await;
                }
                MarkResult::Existing(_) => return self.settle_renamed(location).await,
                MarkResult::NameTaken => {}
            }
            match find_by_name(&self.engine, location).await? {
                Found::Container(container) if matches!(container.phase, Phase::Created { .. }) => {
                    if !self.remove_unstarted(location, &container).await? {
                        return Ok(Settled::MayHaveStarted);
                    }
                }
                Found::Container(_) | Found::Taken => return Ok(Settled::MayHaveStarted),
                // The engine reserves a name before it shows the container, and for a while after.
                Found::Nothing | Found::Fenced => sleep(PAUSE).await,
            }
        }
    }

    /// The name is fenced; a container that was renamed in the meantime still counts.
    async fn settle_renamed(&self, location: &Location) -> Answer<Settled> {
        let container = match self.find_renamed(location).await? {
            Renamed::Nothing => {
                let has_started = has_started(&self.engine, location).await?;
                return Ok(match has_started {
                    true => Settled::MayHaveStarted,
                    false => Settled::NeverStarted,
                });
            }
            Renamed::Container(container) => container,
            // It may be the attempt's after all, renamed before the engine forgot.
            Renamed::Stranger => return Ok(Settled::MayHaveStarted),
        };
        let created = matches!(container.phase, Phase::Created { .. });
        let fenced = created && self.remove_unstarted(location, &container).await?;
        Ok(if fenced { Settled::NeverStarted } else { Settled::MayHaveStarted })
    }

    /// Removes a container that was seen as created. Returns whether it has provably never run.
    pub(crate) async fn remove_unstarted(
        &self,
        location: &Location,
        container: &Container,
    ) -> Answer<bool> {
        self.informer.record_inspection(&location.attempt, Some(container), None);
        if self.engine.remove(&container.id, Removal::UnlessRunning).await? != Removed::ByUs {
            return Ok(false);
        }
        Ok(never_started(&self.engine, &container.id, container.created).await)
    }
}
