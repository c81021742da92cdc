//! Launching: prepare (harmless), commit (once), wait for the start, or take it back with a proof.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use longshore_core::{Attempt, Error, ErrorKind, LaunchContext, LaunchError, Started};
use tokio::time::{Instant, sleep_until, timeout};

use crate::api::Patched;
use crate::client::{Cluster, Failure};
use crate::follow;
use crate::hub::Subscription;
use crate::inner::Inner;
use crate::names::{Commit, Ending};
use crate::outcome;
use crate::place::Place;
use crate::start::{self, Narrator, Progress};
use crate::translate::{self, Submission};
use crate::view::{JobView, Snapshot};
use crate::withdraw;

/// How long a request that is under way is still waited for after a cancel: what it did is then
/// known.
const AFTER_CANCEL: Duration = Duration::from_secs(2);
/// At most so long before the deadline the launch begins to take the Pod back, so that it can
/// answer in time. A kubelet takes one to two seconds to confirm.
const RESERVE: Duration = Duration::from_secs(4);
/// How long the proof may take where no deadline presses.
const WITHDRAWAL: Duration = Duration::from_secs(30);
/// How long it may take after a cancel.
const CANCELLED_WITHDRAWAL: Duration = Duration::from_secs(5);

type Launched<T> = Result<T, LaunchError>;

/// Why a launch is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupt {
    Cancelled,
    Deadline,
}

/// One launch.
struct Launch<'a> {
    inner: &'a Inner,
    context: &'a LaunchContext,
    cluster: Arc<Cluster>,
    place: Place,
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

    /// Creates the Job, suspended, and its Secret; or finds those of an earlier launch.
    async fn prepare(&self, attempt: &Attempt, submission: &Submission) -> Launched<JobView> {
        let creating = self.cluster.create_job(&self.place, &submission.job);
        let created = match self.unless_given_up(creating).await {
            Ok(Ok(job)) => job,
            Ok(Err(failure)) if failure.code() == Some(409) => return self.find(attempt).await,
            // Whatever became of the request: a suspended Job that nobody releases starts nothing.
            Ok(Err(failure)) => {
                if !failure.had_no_effect() {
                    self.discard(None).await;
                }
                return Err(LaunchError::Refused(failure.into()));
            }
            Err(interrupt) => {
                self.discard(None).await;
                return Err(LaunchError::Refused(self.given_up(interrupt)));
            }
        };
        let job = JobView::from(&created);
        if let Some(owner) = self.foreign(&job) {
            self.discard(Some(&job.uid)).await;
            return Err(LaunchError::Refused(owner));
        }
        if let Some(secret) = self.secret(attempt, submission, &created) {
            let creating = self.cluster.create_secret(&self.place, &secret);
            let refusal = match self.unless_given_up(creating).await {
                Ok(Ok(_)) => None,
                Ok(Err(failure)) => Some(failure.into()),
                Err(interrupt) => Some(self.given_up(interrupt)),
            };
            if let Some(error) = refusal {
                return Err(self.abandon(&job, error).await);
            }
        }
        Ok(job)
    }

    fn secret(&self, attempt: &Attempt, submission: &Submission, job: &Job) -> Option<Secret> {
        debug_assert_eq!(submission.secret_keys.len(), attempt.secret_env.len());
        let mut secret =
            translate::secret(attempt, &self.inner.config, |value| value.expose().to_owned())?;
        // So that it is removed with the Job, whoever removes that.
        secret.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: job.metadata.name.clone().unwrap_or_default(),
            uid: job.metadata.uid.clone().unwrap_or_default(),
            ..<_>::default()
        }]);
        Some(secret)
    }

    /// The Job that has the attempt's name already.
    async fn find(&self, attempt: &Attempt) -> Launched<JobView> {
        let refuse = |message: &'static str| {
            let error = Error::new(ErrorKind::Internal, message);
            LaunchError::Refused(error.with("job", &self.place.job))
        };
        let found = self.cluster.get_job(&self.place).await;
        let found = found.map_err(|e| LaunchError::Indeterminate(e.into()))?;
        let Some(job) = found.as_ref().map(JobView::from) else {
            return Err(refuse("the Job was removed while it was being launched again"));
        };
        let ours = job.attempt.as_deref() == Some(attempt.id.as_str())
            && job.installation.as_deref() == Some(attempt.installation.as_str());
        if !ours || job.commit.is_none() {
            return Err(refuse("a Job that is not this attempt's has its name"));
        }
        if let Some(owner) = self.foreign(&job) {
            return Err(LaunchError::Indeterminate(owner));
        }
        Ok(job)
    }

    fn foreign(&self, job: &JobView) -> Option<Error> {
        let owner = job.foreign_owner.as_ref()?;
        let message = "another controller starts and stops Jobs in this namespace, so Longshore \
                       cannot promise to start one at most once";
        Some(Error::new(ErrorKind::Unsupported, message).with("controller", owner))
    }

    async fn commit(&self, job: &JobView, news: &mut Subscription) -> Launched<()> {
        if let Some(interrupt) = self.interrupted_now() {
            return Err(self.abandon(job, self.given_up(interrupt)).await);
        }
        self.inner.note_commit(&self.place);
        match self.cluster.commit(&self.place, &job.uid).await {
            Ok(Patched::Applied(_)) => Ok(()),
            Ok(Patched::Gone) => Err(LaunchError::Indeterminate(Error::new(
                ErrorKind::Internal,
                "somebody deleted the Job before it was released",
            ))),
            Ok(Patched::Refused) => match self.cluster.get_job(&self.place).await {
                Ok(Some(now)) => match JobView::from(&now) {
                    now if now.commit == Some(Commit::Committed) => Ok(()),
                    now => Err(self.fenced(&now, news).await),
                },
                Ok(None) => Err(LaunchError::Indeterminate(Error::new(
                    ErrorKind::Internal,
                    "somebody deleted the Job while it was being released",
                ))),
                Err(failure) => Err(LaunchError::Indeterminate(failure.into())),
            },
            // The answer is lost: the fence tells which of the two was first.
            Err(failure) => match self.abandon(job, failure.into()).await {
                LaunchError::Indeterminate(error) => {
                    match self.cluster.get_job(&self.place).await {
                        Ok(Some(now)) if JobView::from(&now).commit == Some(Commit::Committed) => {
                            Ok(())
                        }
                        _ => Err(LaunchError::Indeterminate(error)),
                    }
                }
                refused => Err(refused),
            },
        }
    }

    /// The answer for a Job that somebody has fenced or withdrawn.
    async fn fenced(&self, job: &JobView, news: &mut Subscription) -> LaunchError {
        let message = "the attempt was fenced before it had started";
        let error = Error::new(ErrorKind::Internal, message);
        if job.commit == Some(Commit::Closed) {
            self.inner.forget_commit(&self.place);
            return LaunchError::Refused(error);
        }
        match withdraw::proof(news, Instant::now() + CANCELLED_WITHDRAWAL).await {
            Some(true) => LaunchError::Refused(error),
            _ => LaunchError::Indeterminate(error),
        }
    }

    /// Waits until the job has started, or takes it back.
    async fn wait(
        &self,
        attempt: &Attempt,
        uid: &str,
        mut news: Subscription,
    ) -> Launched<Started> {
        let mut narrator = Narrator::default();
        loop {
            let snapshot = news.now();
            for event in narrator.tell(&snapshot) {
                self.context.events.emit(event);
            }
            let never_ran = match start::progress(&snapshot) {
                Progress::Started => {
                    let pulled = follow::evidence(&self.cluster, &self.place, &mut news).await;
                    return self.started(attempt, &snapshot, pulled);
                }
                Progress::Waiting => None,
                Progress::Hopeless(kind, why) => {
                    let error = Error::new(kind, why);
                    return Err(self.withdraw(uid, error, WITHDRAWAL, news).await);
                }
                Progress::NeverRan(kind, why) => Some(Error::new(kind, why)),
                Progress::Over(why) => {
                    let error = Error::new(ErrorKind::Internal, why);
                    return Err(LaunchError::Indeterminate(error));
                }
            };
            if let Some(error) = never_ran {
                self.remove(uid).await;
                self.inner.forget_commit(&self.place);
                return Err(LaunchError::Refused(error));
            }
            tokio::select! {
                () = news.changed() => {}
                interrupt = self.interrupted() => {
                    return Err(self.interrupt(uid, interrupt, &snapshot, news).await);
                }
            }
        }
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
        let warning = match snapshot.pod() {
            Some(_) => None,
            None => self.job_warning(uid).await,
        };
        let (kind, why) = start::at_deadline(snapshot, warning.as_deref());
        let error =
            Error::new(kind, "the job did not start by its start deadline").caused_by(Said(why));
        let left = self.context.deadline.saturating_duration_since(Instant::now());
        self.withdraw(uid, error, left, news).await
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
        let proven = withdraw::withdraw(&self.cluster, &self.place, uid, &mut news, by).await;
        if !proven {
            return LaunchError::Indeterminate(error);
        }
        self.remove(uid).await;
        self.inner.forget_commit(&self.place);
        LaunchError::Refused(error)
    }

    /// Fences what was not released, and removes it; `Refused` with `error` if the fence holds.
    async fn abandon(&self, job: &JobView, error: Error) -> LaunchError {
        let fencing = self.cluster.fence(&self.place, &job.uid);
        match timeout(CANCELLED_WITHDRAWAL, fencing).await {
            Ok(Ok(Patched::Applied(_))) => {
                self.remove(&job.uid).await;
                self.inner.forget_commit(&self.place);
                LaunchError::Refused(error)
            }
            _ => LaunchError::Indeterminate(error),
        }
    }

    /// Removes a Job that was never released, as far as that can be done now. What is left behind
    /// is suspended for ever.
    async fn discard(&self, uid: Option<&str>) {
        let deleting = self.cluster.delete_job(&self.place, uid);
        match timeout(AFTER_CANCEL, deleting).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                tracing::debug!(error = %Error::from(failure), "a suspended Job may be left behind");
            }
            Err(_) => tracing::debug!("a suspended Job may be left behind"),
        }
    }

    /// Removes the Job with `uid`. A clean-up that fails masks nothing.
    async fn remove(&self, uid: &str) {
        let deleting = self.cluster.delete_job(&self.place, Some(uid));
        if let Err(failure) = deleting.await {
            let error = Error::from(failure);
            tracing::warn!(%error, job = %self.place.job, "a Job that never started is left behind");
        }
    }

    /// The answer of `request`, unless the launch is given up before; a cancel leaves it a little
    /// time.
    async fn unless_given_up<T>(
        &self,
        request: impl Future<Output = Result<T, Failure>>,
    ) -> Result<Result<T, Failure>, Interrupt> {
        let mut request = std::pin::pin!(request);
        tokio::select! {
            answer = &mut request => return Ok(answer),
            interrupt = self.interrupted() => {
                if interrupt == Interrupt::Deadline {
                    return Err(interrupt);
                }
            }
        }
        timeout(AFTER_CANCEL, request).await.map_err(|_| Interrupt::Cancelled)
    }

    async fn interrupted(&self) -> Interrupt {
        tokio::select! {
            () = self.context.cancel.cancelled() => Interrupt::Cancelled,
            () = sleep_until(self.give_up) => Interrupt::Deadline,
        }
    }

    fn interrupted_now(&self) -> Option<Interrupt> {
        if self.context.cancel.is_cancelled() {
            Some(Interrupt::Cancelled)
        } else {
            (Instant::now() >= self.give_up).then_some(Interrupt::Deadline)
        }
    }

    fn given_up(&self, interrupt: Interrupt) -> Error {
        match interrupt {
            Interrupt::Cancelled => cancelled(),
            Interrupt::Deadline => late().with("server", &self.cluster.server),
        }
    }
}

/// A cause in Kubernetes' words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(String);
