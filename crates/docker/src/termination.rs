//! Ending a job early.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::backend::Backend;
use crate::client::{Answer, Engine};
use crate::container::Container;
use crate::labels::{Decision, Mark};
use crate::location::Location;
use crate::marks::write_mark;
use crate::outcome::Phase;
use crate::snapshot::Snapshot;

impl Backend {
    /// Ends an attempt on request. Writes the mark first, by which every process distinguishes a
    /// cancelled job from a killed one, then sends TERM.
    pub(crate) async fn cancel(&self, location: &Location, grace: Duration) -> Result<()> {
        let what = "failed to cancel the attempt";
        let snapshot = self.informer.subscribe(&location.attempt);
        let found = self.inspect(location).await.map_err(|f| self.error(f, what, location))?;
        let Some(container) = found else { return Ok(()) };
        let mark = Mark { decision: Decision::Cancelled, grace };
        match container.phase {
            Phase::Ended(_) | Phase::Lost(_) | Phase::Restarted { .. } => Ok(()),
            Phase::Running { .. } => self.terminate(location, &container.id, mark, snapshot).await,
            Phase::Created { .. } => {
                let unstarted = self.cancel_unstarted(location, &container, mark).await;
                if unstarted.map_err(|f| self.error(f, what, location))? {
                    return Ok(());
                }
                self.terminate(location, &container.id, mark, snapshot).await
            }
        }
    }

    async fn cancel_unstarted(
        &self,
        location: &Location,
        container: &Container,
        mark: Mark,
    ) -> Answer<bool> {
        write_mark(&self.engine, location, &location.end_name(), mark).await?;
        if !self.remove_unstarted(location, container).await? {
            return Ok(false);
        }
        let fence = Mark { decision: Decision::Fenced, grace: Duration::ZERO };
        write_mark(&self.engine, location, &location.name, fence).await?;
        Ok(true)
    }

    /// Marks the attempt, unless it is marked, and ends its container: TERM, the grace period,
    /// KILL. Returns when the engine has sent TERM; the engine does the rest.
    pub(crate) async fn terminate(
        &self,
        location: &Location,
        id: &str,
        mark: Mark,
        snapshot: watch::Receiver<Snapshot>,
    ) -> Result<()> {
        let what = "failed to end the job";
        let written = write_mark(&self.engine, location, &location.end_name(), mark).await;
        written.map_err(|f| self.error(f, what, location))?;
        let ended = if mark.grace.is_zero() {
            self.engine.kill(id, "SIGKILL").await
        } else {
            stop(&self.engine, id, mark.grace, snapshot).await
        };
        ended.map_err(|f| self.error(f, what, location))
    }
}

/// Asks the engine to send TERM, and KILL after `grace`; returns once TERM is sent.
///
/// The engine answers only when the container has ended. It keeps the grace period also after the
/// client has disconnected (except 23.0, which ties a stop to its request). Its events show that
/// the stop has begun.
async fn stop(
    engine: &Arc<Engine>,
    id: &str,
    grace: Duration,
    mut snapshot: watch::Receiver<Snapshot>,
) -> Answer<()> {
    let before = snapshot.borrow_and_update().signals.count();
    let stopping = {
        let (engine, id) = (Arc::clone(engine), id.to_owned());
        tokio::spawn(async move { engine.stop(&id, grace).await })
    };
    let begun = snapshot.wait_for(|s| s.signals.count() > before || s.is_over());
    let limit = engine.config().request_timeout.get();
    tokio::select! {
        // A container that ended at once needs no event.
        stopped = stopping => match stopped {
            Ok(answer) => answer,
            Err(_) => Ok(()),
        },
        begun = timeout(limit, begun) => match begun {
            Ok(_) => Ok(()),
            Err(_) => Err(crate::fault::Fault::Unanswered(Error::new(
                ErrorKind::Unavailable,
                "the engine does not confirm that it has sent the job a signal",
            ))),
        },
    }
}
