//! Launching: prepare (harmless), commit (once), wait for the start, or take it back with a proof.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Attempt, Error, ErrorKind, LaunchContext, LaunchError, Started};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::Cluster;
use crate::follow;
use crate::hub::Subscription;
use crate::image_clock::ImageClock;
use crate::inner::Inner;
use crate::names::{Commit, Ending};
use crate::outcome;
use crate::place::Place;
use crate::start::{self, Narrator, Progress};
use crate::submit::AFTER_CANCEL;
use crate::translate::{self, Submission};
use crate::view::Snapshot;
use crate::withdraw;

/// At most so long before the deadline the launch begins to take the Pod back, so that it can
/// answer in time. A kubelet takes one to two seconds to confirm.
const RESERVE: Duration = Duration::from_secs(4);
/// How long the proof may take where no deadline presses.
const WITHDRAWAL: Duration = Duration::from_secs(30);
/// How long it may take after a cancel.
pub(crate) const CANCELLED_WITHDRAWAL: Duration = Duration::from_secs(5);

pub(crate) type Launched<T> = Result<T, LaunchError>;

/// Why a launch is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    Deadline,
}

/// One launch.
pub(crate) struct Launch<'a> {
    pub(crate) inner: &'a Inner,
    context: &'a LaunchContext,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) place: Place,
    give_up: Instant,
}

/// Launches `attempt`.
pub(crate) async fn launch(
    inner: &Inner,
    attempt: &Attempt,
    context: &LaunchContext,
) -> Launched<Started> {
    let submission = translate::translate(attempt, &inner.config).map_err(LaunchError::Refused)?;
    let begun = Instant::now();
    if context.cancel.is_cancelled() {
        return Err(LaunchError::Refused(cancelled()));
    }
    let Some(left) = context.deadline.checked_duration_since(begun).filter(|d| !d.is_zero()) else {
        return Err(LaunchError::Refused(late()));
    };
    let connecting = inner.connection.cluster();
    let cluster = tokio::select! {
        cluster = connecting => cluster.map_err(LaunchError::Refused)?,
        () = context.cancel.cancelled() => return Err(LaunchError::Refused(cancelled())),
        () = sleep_until(context.deadline) => return Err(LaunchError::Refused(late())),
    };
    let launch = Launch {
        inner,
        context,
        cluster,
        place: Place::of(attempt, inner.config.namespace.as_deref()),
        give_up: context.deadline - RESERVE.min(left / 3),
    };
    let answer = launch.run(attempt, submission).await;
    if let Err(error) = &answer
        && matches!(error.error().kind(), ErrorKind::Unavailable | ErrorKind::Denied)
    {
        inner.connection.forget().await;
    }
    answer
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Internal, "cancelled")
}

fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the job did not start by its start deadline")
}

impl Launch<'_> {
    async fn run(&self, attempt: &Attempt, submission: Submission) -> Launched<Started> {
        let mut news = self.inner.hub.subscribe(&self.place);
        let job = self.prepare(attempt, &submission).await?;
        match job.commit {
            Some(Commit::Open) => self.commit(&job, &mut news).await?,
            Some(Commit::Committed) => {}
            _ => return Err(self.fenced(&job, &mut news).await),
        }
        self.wait(attempt, &job.uid, news).await
    }

    /// Waits until the job has started, or takes it back.
    async fn wait(
        &self,
        attempt: &Attempt,
        uid: &str,
        mut news: Subscription,
    ) -> Launched<Started> {
        let mut narrator = Narrator::default();
        let mut image = ImageClock::new(self.context.pull_deadline.min(self.give_up));
        loop {
            let snapshot = news.now();
            for event in narrator.tell(&snapshot) {
                self.context.events.emit(event);
            }
            match start::progress(&snapshot) {
                Progress::Started => {
                    let pulled = follow::evidence(&self.cluster, &self.place, &mut news).await;
                    return self.started(attempt, &snapshot, pulled);
                }
                Progress::Waiting => {}
                Progress::Hopeless(kind, why) => {
                    let error = Error::new(kind, why);
                    return Err(self.withdraw(uid, error, WITHDRAWAL, news).await);
                }
                Progress::NeverRan(kind, why) => {
                    self.remove(uid).await;
                    self.inner.forget_commit(&self.place);
                    return Err(LaunchError::Refused(Error::new(kind, why)));
                }
                // The Job's watch may be ahead of the Pod's.
                Progress::Over(_)
                    if snapshot.pod().is_none() && self.finds_pod(&mut news).await =>
                {
                    continue;
                }
                Progress::Over(why) => {
                    let error = Error::new(ErrorKind::Internal, why);
                    return Err(LaunchError::Indeterminate(error));
                }
            }
            image.look(start::image_wait(&snapshot, news.health().no_events));
            if let Some(error) = image.failed(self.context.retry_pull) {
                return Err(self.withdraw(uid, error, self.left(), news).await);
            }
            tokio::select! {
                biased;
                interrupt = self.interrupted() => {
                    return Err(self.interrupt(uid, interrupt, &image, &snapshot, news).await);
                }
                () = image.due() => {}
                () = news.changed() => {}
            }
        }
    }

    /// Whether there is a Pod that has ended, of which the watch has not told yet.
    async fn finds_pod(&self, news: &mut Subscription) -> bool {
        if let Ok(pods) = self.cluster.pods_of(&self.place).await {
            news.saw(&self.place.attempt, &pods);
        }
        news.now().pod().is_some()
    }

    /// How long the launch may still take.
    fn left(&self) -> Duration {
        self.context.deadline.saturating_duration_since(Instant::now())
    }

    fn started(
        &self,
        attempt: &Attempt,
        snapshot: &Snapshot,
        pulled: Option<bool>,
    ) -> Launched<Started> {
        let handle = self.place.handle(&self.inner.name).map_err(LaunchError::Indeterminate)?;
        let container = snapshot.pod().map(|seen| &seen.pod.container);
        let ended = container.and_then(|c| c.terminated.as_ref()).and_then(|t| t.started);
        let started = container.and_then(|c| c.running).flatten().or(ended);
        let mut image = outcome::image(snapshot);
        image.pulled = pulled.or(image.pulled);
        if let Some(container) = &attempt.spec.container {
            container.image.as_str().clone_into(&mut image.requested);
        }
        Ok(Started::new(handle, started, Some(image)))
    }

    /// Takes back what has not started by the deadline or until it was cancelled.
    async fn interrupt(
        &self,
        uid: &str,
        interrupt: Interrupt,
        image: &ImageClock,
        snapshot: &Snapshot,
        news: Subscription,
    ) -> LaunchError {
        if interrupt == Interrupt::Cancelled {
            // Should it start all the same, it ends as cancelled, whoever follows it.
            if let Err(failure) = self.cluster.mark(&self.place, Ending::Cancelled).await {
                tracing::debug!(error = %Error::from(failure), "the cancel was not marked");
            }
            return self.withdraw(uid, cancelled(), CANCELLED_WITHDRAWAL, news).await;
        }
        let error = match image.error() {
            Some(error) => error,
            None => {
                let warning = match snapshot.pod() {
                    Some(_) => None,
                    None => self.job_warning(uid).await,
                };
                let (kind, why) = start::at_deadline(snapshot, warning.as_deref());
                Error::new(kind, "the job did not start by its start deadline").caused_by(Said(why))
            }
        };
        self.withdraw(uid, error, self.left(), news).await
    }

    /// Kubernetes' last warning about the Job, such as a Pod that may not be created.
    async fn job_warning(&self, uid: &str) -> Option<String> {
        let events = self.cluster.events_of(&self.place, uid).await.ok()?;
        let warnings = events.into_iter().filter(|e| e.type_.as_deref() == Some("Warning"));
        warnings.filter_map(|event| event.message).next_back()
    }

    /// Takes the Pod back; `Refused` with `error` once it is proven that it never started.
    async fn withdraw(
        &self,
        uid: &str,
        error: Error,
        at_most: Duration,
        mut news: Subscription,
    ) -> LaunchError {
        let by = (Instant::now() + at_most)
            .min(self.context.deadline.max(Instant::now() + AFTER_CANCEL));
        let proven = {
            let withdrawing = withdraw::withdraw(&self.cluster, &self.place, uid, &mut news, by);
            let mut withdrawing = std::pin::pin!(withdrawing);
            tokio::select! {
                proven = &mut withdrawing => proven,
                () = self.context.cancel.cancelled() => {
                    timeout(CANCELLED_WITHDRAWAL, withdrawing).await.unwrap_or(false)
                }
            }
        };
        let error = with_secrets_warning(error, &news.now());
        if !proven {
            return LaunchError::Indeterminate(error);
        }
        self.remove(uid).await;
        self.inner.forget_commit(&self.place);
        LaunchError::Refused(error)
    }

    /// Removes the Job with `uid`. A clean-up that fails masks nothing.
    pub(crate) async fn remove(&self, uid: &str) {
        let deleting = self.cluster.delete_job(&self.place, Some(uid));
        if let Err(failure) = deleting.await {
            let error = Error::from(failure);
            tracing::warn!(%error, job = %self.place.job, "a Job that never started is left behind");
        }
    }

    pub(crate) async fn interrupted(&self) -> Interrupt {
        tokio::select! {
            () = self.context.cancel.cancelled() => Interrupt::Cancelled,
            () = sleep_until(self.give_up) => Interrupt::Deadline,
        }
    }

    pub(crate) fn interrupted_now(&self) -> Option<Interrupt> {
        if self.context.cancel.is_cancelled() {
            Some(Interrupt::Cancelled)
        } else {
            (Instant::now() >= self.give_up).then_some(Interrupt::Deadline)
        }
    }

    pub(crate) fn given_up(&self, interrupt: Interrupt) -> Error {
        match interrupt {
            Interrupt::Cancelled => cancelled(),
            Interrupt::Deadline => late().with("server", &self.cluster.server),
        }
    }
}

/// `error` with the kubelet's warning about pull secrets that are not there, if it is about the
/// image: without them it asks the registry as nobody.
fn with_secrets_warning(error: Error, snapshot: &Snapshot) -> Error {
    match (&snapshot.pull_secrets, error.kind()) {
        (Some(warning), ErrorKind::ImageUnavailable(_)) => {
            error.with("imagePullSecrets", warning.trim_end_matches('.'))
        }
        _ => error,
    }
}

/// A cause in Kubernetes' words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);
