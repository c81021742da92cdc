//! Proving that an attempt has never started and never will.

use std::time::Duration;

use longshore_core::{Error, ErrorKind, Result, Settled};
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::Backend;
use crate::client::{Answer, Removal, Removed};
use crate::labels::{Decision, Mark};
use crate::life::never_started;
use crate::outcome::Phase;
use crate::place::{Found, Place, Seen, Written, look_by_label, look_by_name, write_mark};

/// How long to wait for another who is just creating or removing the container.
const PAUSE: Duration = Duration::from_millis(50);

impl Backend {
    /// Takes the attempt's name on the engine, so that no container can be created for it.
    ///
    /// Only who created an attempt's container starts it, once, by its id, so:
    /// - With the name free, a mark takes it: a create that is late gets 409 and starts nothing.
    /// - With a container there that is only created, that container is removed, unless it runs.
    ///   The engine takes a start and a removal of one container one after the other: a start that
    ///   is late finds nothing. Then the name is free.
    /// - Anything else may have started.
    ///
    /// A job that starts and ends in the instant between the look and the removal shows as a start
    /// in what the engine remembers.
    pub(crate) async fn settle(&self, place: &Place, deadline: Instant) -> Result<Settled> {
        let answer = timeout_at(deadline, self.try_settle(place)).await;
        let late = |_| {
            Error::new(ErrorKind::Unavailable, "failed to settle the attempt in time")
                .on(&self.name)
                .with("container", &place.name)
        };
        answer.map_err(late)?.map_err(|f| self.error(f, "failed to settle the attempt", place))
    }

    async fn try_settle(&self, place: &Place) -> Answer<Settled> {
        let fence = Mark { decision: Decision::Fenced, grace: Duration::ZERO };
        loop {
            match write_mark(&self.engine, place, &place.name, fence).await? {
                Written::Now | Written::Before(_) => return self.settle_renamed(place).await,
                Written::Taken => {}
            }
            match look_by_name(&self.engine, place).await? {
                Found::Container(seen) if matches!(seen.phase, Phase::Created { .. }) => {
                    if !self.remove_unstarted(place, &seen).await? {
                        return Ok(Settled::MayHaveStarted);
                    }
                }
                Found::Container(_) | Found::Taken => return Ok(Settled::MayHaveStarted),
                // The engine keeps a name before it shows its container, and after.
                Found::Nothing | Found::Fenced => sleep(PAUSE).await,
            }
        }
    }

    /// The name is fenced; a container that somebody renamed meanwhile still counts.
    async fn settle_renamed(&self, place: &Place) -> Answer<Settled> {
        let Some(seen) = look_by_label(&self.engine, place).await? else {
            return Ok(Settled::NeverStarted);
        };
        let created = matches!(seen.phase, Phase::Created { .. });
        let fenced = created && self.remove_unstarted(place, &seen).await?;
        Ok(if fenced { Settled::NeverStarted } else { Settled::MayHaveStarted })
    }

    /// Removes a container that has been seen created. Tells whether it has provably never run.
    pub(crate) async fn remove_unstarted(&self, place: &Place, seen: &Seen) -> Answer<bool> {
        self.watcher.saw(&place.attempt, Some(seen), None);
        if self.engine.remove(&seen.id, Removal::UnlessRunning).await? != Removed::ByUs {
            return Ok(false);
        }
        Ok(never_started(&self.engine, &seen.id, seen.created).await)
    }
}
