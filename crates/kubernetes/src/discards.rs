//! Deletes Jobs that were never released. The launch that gave one up answers soon, and the deletion
//! goes on in the background if it takes longer.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::Error;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::client::{Cluster, Connection, Failure, retry_backoff};
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::Commit;

/// How long a Job is looked for and its deletion repeated. The API server carries out no request that
/// is older (its `--request-timeout` is a minute by default).
const LIMIT: Duration = Duration::from_secs(60);
/// How many deletions may go on at once. Beyond that, a Job whose deletion fails stays until `gc`.
const AT_ONCE: usize = 256;
/// How many times the Job is read again if it has changed when it is deleted. The Job controller
/// writes the status of a suspended Job once or twice.
const TRIES: usize = 5;

/// A Job that was never released.
#[derive(Clone, Debug)]
pub(crate) enum Unwanted {
    /// The Job with this uid.
    Created { uid: String },
    /// The Job that a request without an answer has created, may still create, or never will.
    Unanswered,
}

/// The result of deleting a Job that must not have been released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deleted {
    /// The Job was deleted before it was released, so it started nothing and never will.
    Unreleased,
    /// There is no such Job, or it changed at each look. This proves nothing.
    Unproven,
    /// The Job has been released or fenced, or is not this attempt's; it was left alone.
    Spared,
}

/// The deletions that go on in the background.
#[derive(Debug)]
pub(crate) struct Discards {
    connection: Arc<Connection>,
    slots: Arc<Semaphore>,
}

impl Discards {
    pub(crate) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, slots: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Deletes the Job `unwanted` of `location`. Returns once it was deleted or the first request
    /// failed, or after `at_most`; the deletion then goes on in the background. Returns `true` if the
    /// Job was left alone, because it has been released or fenced.
    pub(crate) async fn discard(
        &self,
        location: &Location,
        unwanted: Unwanted,
        at_most: Duration,
    ) -> bool {
        let (tried, mut first) = oneshot::channel();
        let (connection, place) = (Arc::clone(&self.connection), location.clone());
        let deleting = async move {
            let deleting = delete_to_the_end(&connection, &place, &unwanted, tried);
            if timeout(LIMIT, deleting).await.is_err() {
                left_behind(&place, "no answer");
            }
        };
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(slot) => {
                tokio::spawn(async move {
                    deleting.await;
                    drop(slot);
                });
                // The sender is dropped when the task ends.
                matches!(timeout(at_most, first).await, Ok(Ok(Deleted::Spared)))
            }
            Err(_) => {
                if timeout(at_most, deleting).await.is_err() {
                    left_behind(location, "too many deletions are in progress");
                }
                first.try_recv() == Ok(Deleted::Spared)
            }
        }
    }
}

fn left_behind(location: &Location, why: &str) {
    tracing::warn!(job = %location.job, why, "a Job that never started is left behind until `gc`");
}

/// Deletes the Job. Sends the result of the first try to `tried`, or drops it if that failed.
async fn delete_to_the_end(
    connection: &Connection,
    location: &Location,
    unwanted: &Unwanted,
    tried: oneshot::Sender<Deleted>,
) {
    let mut tried = Some(tried);
    let mut backoff = retry_backoff();
    loop {
        match delete_once(connection, location, unwanted).await {
            Ok(Deleted::Unproven) => {}
            Ok(deleted) => {
                // The launch may have given up waiting for it.
                if let Some(tried) = tried.take() {
                    let _ = tried.send(deleted);
                }
                return;
            }
            Err(Given::Up(error)) => return left_behind(location, &error.to_string()),
            Err(Given::Later(error)) => {
                tracing::debug!(%error, job = %location.job, "failed to delete an unwanted Job");
            }
        }
        drop(tried.take());
        sleep(backoff.next_pause()).await;
    }
}

/// Whether a failed deletion is repeated.
enum Given {
    Up(Error),
    Later(Error),
}

impl From<Failure> for Given {
    fn from(failure: Failure) -> Self {
        let is_forbidden = failure.code() == Some(403);
        let error = failure.into();
        if is_forbidden { Self::Up(error) } else { Self::Later(error) }
    }
}

/// Tries once; `Unproven` if there may still be something to delete.
async fn delete_once(
    connection: &Connection,
    location: &Location,
    unwanted: &Unwanted,
) -> Result<Deleted, Given> {
    let cluster = connection.cluster_of(location.cluster.as_ref()).await.map_err(Given::Later)?;
    match unwanted {
        Unwanted::Created { uid } => {
            cluster.delete_job(location, Some(uid)).await?;
            Ok(Deleted::Unreleased)
        }
        // While the Job is absent, the request may still be in flight.
        Unwanted::Unanswered => Ok(delete_unreleased(&cluster, location, None).await?),
    }
}

/// Deletes the Job of `location`, and with `uid` only the Job with that uid, unless it has been
/// released.
///
/// This fences like [`Cluster::fence`], and needs no permission to patch: it deletes the Job only in
/// the version in which it was held and not yet released. A request to release it that arrives
/// later finds no Job with its uid. A Job that a finalizer keeps starts nothing either: the Job
/// controller creates no Pod for a Job that is being deleted (`pkg/controller/job`, `syncJob`).
pub(crate) async fn delete_unreleased(
    cluster: &Cluster,
    location: &Location,
    uid: Option<&str>,
) -> Result<Deleted, Failure> {
    for _ in 0..TRIES {
        let Some(job) = cluster.get_job(location).await? else { return Ok(Deleted::Unproven) };
        let view = JobView::from(&job);
        if uid.is_some_and(|uid| uid != view.uid) {
            return Ok(Deleted::Unproven);
        }
        if !is_unreleased(&view, location) {
            return Ok(Deleted::Spared);
        }
        let version = job.metadata.resource_version.unwrap_or_default();
        if let Some(deleted) = cluster.delete_job_in(location, &view.uid, &version).await? {
            return Ok(if deleted { Deleted::Unreleased } else { Deleted::Unproven });
        }
    }
    Ok(Deleted::Unproven)
}

fn is_unreleased(job: &JobView, location: &Location) -> bool {
    job.attempt.as_deref() == Some(&location.attempt)
        && job.installation.as_deref() == Some(location.installation.as_str())
        && job.commit == Some(Commit::Open)
        && job.held
}
