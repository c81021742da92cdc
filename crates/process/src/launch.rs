//! One launch, from the request sent to a clear answer.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::time::Duration;

use longshore_core::{
    Error, ErrorKind, Event, Handle, LaunchContext, LaunchError, Result, Started,
};
use tokio::time::Instant;

use crate::follow::{AttemptState, Follower};
use crate::location::Location;
use crate::pool::{Pool, Supervisor};
use crate::record::Refusal;
use crate::store::Committed;
use crate::watch::{Kind, Watcher};
use crate::wire::Answer;

use std::sync::Arc;

/// How long to wait for something that is sure to follow at once: a supervisor that has committed
/// reports the result in a moment.
const SOON: Duration = Duration::from_secs(5);

/// How long a supervisor may take to answer before it is continued: shorter than [`SOON`].
const CONTINUE_AFTER: Duration = Duration::from_secs(2);

/// How long a file system operation may take.
const DISK_LIMIT: Duration = Duration::from_secs(10);

type Launched = std::result::Result<Started, LaunchError>;

/// The parameters of a launch.
pub(crate) struct Launch<'a> {
    pub(crate) handle: Handle,
    pub(crate) location: Location,
    pub(crate) fsync: bool,
    pub(crate) pool: &'a Arc<Pool>,
    pub(crate) watcher: &'a Watcher,
    pub(crate) context: &'a LaunchContext,
}

impl Launch<'_> {
    /// Sends `request` to a supervisor and waits for the result.
    pub(crate) async fn run(self, request: &[u8]) -> Launched {
        if self.context.cancel.is_cancelled() {
            return Err(LaunchError::Refused(Error::cancelled()));
        }
        if Instant::now() >= self.context.deadline {
            return Err(LaunchError::Refused(too_late()));
        }
        // Nothing was requested yet, so nothing can start.
        let mut supervisor = tokio::select! {
            biased;
            taken = self.pool.take() => taken.map_err(LaunchError::Refused)?,
            () = self.context.cancel.cancelled() => {
                return Err(LaunchError::Refused(Error::cancelled()));
            }
            () = tokio::time::sleep_until(self.context.deadline) => {
                return Err(LaunchError::Refused(too_late()));
            }
        };
        let asked = {
            let mut asking = pin!(async {
                supervisor.send(request).await?;
                supervisor.answer().await
            });
            let reason = tokio::select! {
                biased;
                answer = &mut asking => Ok(answer),
                () = self.context.cancel.cancelled() => Err(Error::cancelled()),
                () = tokio::time::sleep_until(self.context.deadline) => Err(too_late()),
                never = self.continue_supervisor() => match never {},
            };
            match reason {
                Ok(answer) => answer,
                Err(reason) => match self.fence().await {
                    Ok(Committed::Won) => return Err(LaunchError::Refused(reason)),
                    // It starts, has started, or another process fenced it: the answer arrives
                    // soon.
                    Ok(Committed::Taken) => tokio::select! {
                        biased;
                        answer = soon(asking) => answer,
                        never = self.continue_supervisor() => match never {},
                    },
                    Err(error) => return Err(LaunchError::Indeterminate(error)),
                },
            }
        };
        match asked {
            Ok(answer) => self.answered(answer, supervisor).await,
            Err(error) => self.unanswered(error).await,
        }
    }

    /// Continues the supervisor time and again: the job may have stopped it (`SIGSTOP`) before it has
    /// answered.
    async fn continue_supervisor(&self) -> Infallible {
        loop {
            tokio::time::sleep(CONTINUE_AFTER).await;
            // Without a record, nothing has started that could have stopped it.
            if let Err(error) = on_disk(&self.location, Location::nudge_supervisor).await {
                tracing::debug!(%error, "failed to continue a supervisor");
            }
        }
    }

    async fn answered(self, answer: Answer, supervisor: Supervisor) -> Launched {
        match answer {
            Answer::Started(begin) => {
                let occupied = self.watcher.releases.occupy(self.location.directory());
                self.pool.put_when_drained(supervisor, occupied);
                self.context.events.emit(Event::Started(Some(begin.at)));
                Ok(Started::new(self.handle, Some(begin.at), None))
            }
            Answer::Taken | Answer::Drained => {
                self.pool.put(supervisor);
                self.existing().await
            }
            Answer::Refused(refusal) => {
                self.pool.put(supervisor);
                Err(self.refused(&refusal).await)
            }
        }
    }

    /// Handles a supervisor that ended without an answer.
    async fn unanswered(self, error: io::Error) -> Launched {
        let reason = Error::new(ErrorKind::Unavailable, "the supervisor did not begin the job")
            .caused_by(error);
        match self.fence().await {
            Ok(Committed::Won) => Err(LaunchError::Refused(reason)),
            Ok(Committed::Taken) => self.existing().await,
            Err(error) => Err(LaunchError::Indeterminate(error)),
        }
    }

    /// Determines the result of an attempt that another process has launched or fenced.
    async fn existing(self) -> Launched {
        let limit = self.context.deadline.max(Instant::now() + SOON);
        let mut follower = Follower::new(self.location.clone(), self.watcher.clone(), Kind::Record);
        match tokio::time::timeout_at(limit, settled_state(&mut follower)).await {
            Err(_) => Err(LaunchError::Indeterminate(too_late())),
            Ok(Err(error)) => Err(LaunchError::Indeterminate(error)),
            Ok(Ok(AttemptState::Gone)) => Err(LaunchError::Indeterminate(Error::new(
                ErrorKind::NotFound,
                "the attempt was launched and removed meanwhile",
            ))),
            Ok(Ok(AttemptState::Fenced)) => Err(LaunchError::Refused(Error::new(
                ErrorKind::Internal,
                "the attempt was withdrawn before it could start",
            ))),
            Ok(Ok(AttemptState::Refused(refusal))) => Err(self.refused(&refusal).await),
            Ok(Ok(AttemptState::Running(begin) | AttemptState::Ended(begin, _))) => {
                Ok(Started::new(self.handle, begin.map(|begin| begin.at), None))
            }
        }
    }

    async fn refused(&self, refusal: &Refusal) -> LaunchError {
        if refusal.committed
            && let Err(error) = on_disk(&self.location, Location::remove).await
        {
            // The record shows that nothing started; the directory only takes space.
            tracing::warn!(%error, "failed to remove a refused attempt");
        }
        LaunchError::Refused(refusal.error())
    }

    async fn fence(&self) -> Result<Committed> {
        let fsync = self.fsync;
        on_disk(&self.location, move |location| location.fence(fsync)).await
    }
}

async fn soon(asking: impl Future<Output = io::Result<Answer>>) -> io::Result<Answer> {
    let timed_out = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
    tokio::time::timeout(SOON, asking).await.unwrap_or_else(timed_out)
}

/// Returns the first state in which the attempt is no longer about to start.
async fn settled_state(follower: &mut Follower) -> Result<AttemptState> {
    loop {
        match follower.state().await? {
            AttemptState::Running(None) => follower.changed().await?,
            state => return Ok(state),
        }
    }
}

/// Does `work` on `location` without blocking the caller's thread, for a bounded time.
pub(crate) async fn on_disk<T: Send + 'static>(
    location: &Location,
    work: impl FnOnce(&Location) -> io::Result<T> + Send + 'static,
) -> Result<T> {
    let owned = location.clone();
    let task = tokio::task::spawn_blocking(move || work(&owned));
    let done = match tokio::time::timeout(DISK_LIMIT, task).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(io::Error::other(error)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the disk does not respond")),
    };
    done.map_err(|error| {
        Error::new(ErrorKind::Unavailable, "failed to use the attempt's directory")
            .with("directory", location.directory().display())
            .caused_by(error)
    })
}

fn too_late() -> Error {
    Error::new(ErrorKind::Unavailable, "the job did not start in time")
}
