//! Launches an attempt: prepares it (harmless), commits it (once), and waits for its start or takes
//! it back with a proof.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Attempt, Error, ErrorKind, LaunchContext, LaunchError, Started};
use tokio::time::{Instant, sleep_until, timeout};

use crate::backend::Backend;
use crate::client::Cluster;
use crate::config::KubernetesConfig;
use crate::discards::Unwanted;
use crate::error::Message;
use crate::follow;
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::{Commit, Ending};
use crate::outcome;
use crate::owner;
use crate::phase_clock::PhaseClock;
use crate::probe::ensure_stdin;
use crate::refusal;
use crate::snapshot::Snapshot;
use crate::start_state::{self, EventReporter, StartState};
use crate::subscription::Subscription;
use crate::translate::{self, Submission};
use crate::warnings::{JobWarnings, SILENCE};
use crate::withdraw::{self, Withdrawal};

/// The longest time before the deadline at which the launch begins to take the Pod back, so that it
/// can answer in time. A kubelet needs one to two seconds to confirm.
const RESERVE: Duration = Duration::from_secs(4);
/// How long the proof may take if the deadline is far away.
const WITHDRAWAL: Duration = Duration::from_secs(30);
/// How long the proof may take after a cancel.
pub(crate) const CANCELLED_WITHDRAWAL: Duration = Duration::from_secs(5);

/// How long to wait after a cancel for a request that is in flight, so that its effect is known.
pub(crate) const AFTER_CANCEL: Duration = Duration::from_secs(2);

pub(crate) type Launched<T> = Result<T, LaunchError>;

/// Why a launch gives up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    Cancelled,
    Deadline,
}

/// Where the Job of a launch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This launch created it, in this version.
    Created(Option<String>),
    /// An earlier launch of the attempt created it.
    Found,
}

/// The Job of an attempt, before this launch releases it.
pub(crate) struct Prepared {
    pub(crate) job: JobView,
    pub(crate) origin: Origin,
    /// Why the attempt must not run, although somebody else has released its Job.
    pub(crate) unwanted: Option<Error>,
}

/// One launch.
pub(crate) struct Launch<'a> {
    pub(crate) backend: &'a Backend,
    context: &'a LaunchContext,
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) location: Location,
    give_up: Instant,
}

/// Launches `attempt`.
pub(crate) async fn launch(
    backend: &Backend,
    attempt: &Attempt,
    context: &LaunchContext,
) -> Launched<Started> {
    let submission =
        translate::translate(attempt, &backend.config).map_err(LaunchError::Refused)?;
    let begun = Instant::now();
    if context.cancel.is_cancelled() {
        return Err(LaunchError::Refused(Error::cancelled()));
    }
    let Some(left) = context.deadline.checked_duration_since(begun).filter(|d| !d.is_zero()) else {
        return Err(LaunchError::Refused(late()));
    };
    let location = Location::of(attempt, backend.config.namespace.as_deref());
    let connecting = backend.cluster_of(&location);
    let cluster = tokio::select! {
        cluster = connecting => cluster.map_err(LaunchError::Refused)?,
        () = context.cancel.cancelled() => return Err(LaunchError::Refused(Error::cancelled())),
        () = sleep_until(context.deadline) => return Err(LaunchError::Refused(late())),
    };
    tokio::select! {
        ready = ensure_ready(&cluster, attempt, cluster.namespace(&location), &backend.config) => {
            ready.map_err(LaunchError::Refused)?;
        }
        () = context.cancel.cancelled() => return Err(LaunchError::Refused(Error::cancelled())),
        () = sleep_until(context.deadline) => return Err(LaunchError::Refused(late())),
    }
    let launch = Launch {
        backend,
        context,
        cluster,
        location,
        give_up: context.deadline - RESERVE.min(left / 3),
    };
    let answer = Box::pin(launch.run(attempt, submission)).await;
    if let Err(error) = &answer
        && matches!(error.error().kind(), ErrorKind::Unavailable | ErrorKind::Denied)
    {
        backend.connection.forget().await;
    }
    answer
}

/// Checks what would go wrong only once the Job exists.
async fn ensure_ready(
    cluster: &Cluster,
    attempt: &Attempt,
    namespace: &str,
    config: &KubernetesConfig,
) -> longshore_core::Result<()> {
    if attempt.spec.stdin || attempt.spec.tty {
        ensure_stdin(cluster, namespace).await?;
    }
    owner::ensure(cluster, namespace, config).await
}

fn late() -> Error {
    Error::new(ErrorKind::Unavailable, "the job did not start by its start deadline")
}

impl Launch<'_> {
    async fn run(&self, attempt: &Attempt, submission: Submission) -> Launched<Started> {
        let mut subscription = self.backend.informer.subscribe_before_creation(&self.location);
        let watched = self.watches(&mut subscription).await;
        let Prepared { job, origin, unwanted } =
            Box::pin(self.prepare(attempt, &submission)).await?;
        match origin {
            Origin::Created(version) if watched => {
                subscription.record_creation(&self.location.attempt, job.clone(), version);
            }
            Origin::Created(_) | Origin::Found => subscription.want_lists(),
        }
        if let Some(error) = unwanted {
            let error = self.take_over(&job, error).await?;
            return self.withdraw(attempt, &job.uid, error, WITHDRAWAL, subscription).await;
        }
        match job.commit {
            Some(Commit::Open) => self.commit(&job, &mut subscription).await?,
            Some(Commit::Committed) => {}
            _ => return Err(self.fenced(&job, &mut subscription).await),
        }
        self.wait(attempt, &job.uid, subscription).await
    }

    /// Waits for the watches to begin. If they begin before the Job is created, they report
    /// everything about it, and no list is needed. Returns `false` if they do not begin soon.
    async fn watches(&self, subscription: &mut Subscription) -> bool {
        let limit = self.backend.config.connect_timeout.get();
        tokio::select! {
            watched = timeout(limit, subscription.watched()) => watched.unwrap_or(false),
            _ = self.interrupted() => false,
        }
    }

    /// Waits until the job has started, or takes it back.
    async fn wait(
        &self,
        attempt: &Attempt,
        uid: &str,
        mut subscription: Subscription,
    ) -> Launched<Started> {
        let mut reporter = EventReporter::default();
        let context = self.context;
        let mut clock = PhaseClock::new(context.start_timeout, context.pull_timeout, self.give_up);
        let mut warnings = JobWarnings::new(&self.cluster, &self.location, uid);
        // Without a Pod, only the Job shows why.
        let mut silence = Some(Instant::now() + SILENCE);
        loop {
            let snapshot = subscription.snapshot();
            for event in reporter.new_events(&snapshot) {
                self.context.events.emit(event);
            }
            match start_state::start_state(&snapshot) {
                StartState::Started => {
                    let pulled = follow::evidence(
                        self.backend,
                        &self.cluster,
                        &self.location,
                        &mut subscription,
                        follow::EVIDENCE,
                    )
                    .await;
                    return self.started(attempt, &snapshot, pulled);
                }
                StartState::Waiting => {}
                StartState::Hopeless(kind, why) => {
                    let error = Error::new(kind, why);
                    return self.withdraw(attempt, uid, error, WITHDRAWAL, subscription).await;
                }
                StartState::NeverRan(kind, why) => {
                    self.remove(uid).await;
                    self.backend.forget_commit(&self.location);
                    return Err(LaunchError::Refused(Error::new(kind, why)));
                }
                // The watch on Jobs may be ahead of the watch on Pods.
                StartState::Over(_)
                    if snapshot.pod().is_none() && self.finds_pod(&mut subscription).await =>
                {
                    continue;
                }
                StartState::Over(why) => {
                    let error = Error::new(ErrorKind::Internal, why);
                    return Err(LaunchError::Indeterminate(error));
                }
            }
            clock.update(
                &snapshot,
                start_state::image_wait(&snapshot, subscription.health().events_unavailable),
            );
            if !self.context.retry_pull
                && let Some(error) = clock.failed_once()
            {
                return self.withdraw(attempt, uid, error, WITHDRAWAL, subscription).await;
            }
            tokio::select! {
                biased;
                () = self.context.cancel.cancelled() => {
                    return self.take_back_cancelled(attempt, uid, subscription).await;
                }
                () = sleep_until(clock.due()) => {
                    let error = self.too_late(&clock, &snapshot, warnings.last());
                    // A running pull ends only when the runtime gives it up.
                    let at_most = if clock.image_error().is_some() { self.left() } else { WITHDRAWAL };
                    return self.withdraw(attempt, uid, error, at_most, subscription).await;
                }
                warning = warnings.next(), if snapshot.pod().is_none() => {
                    if let Some(error) = refused_pod(&warning) {
                        return self.withdraw(attempt, uid, error, WITHDRAWAL, subscription).await;
                    }
                }
                () = sleep_until(silence.unwrap_or_else(Instant::now)),
                    if silence.is_some() && snapshot.pod().is_none() =>
                {
                    silence = None;
                    subscription.want_jobs();
                }
                () = subscription.changed() => {}
            }
        }
    }

    /// Returns whether there is a Pod that has ended and that the watch has not reported yet.
    async fn finds_pod(&self, subscription: &mut Subscription) -> bool {
        if let Ok(pods) = self.cluster.pods_of(&self.location).await {
            subscription.record_end(&self.location.attempt, &pods);
        }
        subscription.snapshot().pod().is_some()
    }

    /// Returns how long the launch may still take.
    fn left(&self) -> Duration {
        self.context.deadline.saturating_duration_since(Instant::now())
    }

    fn started(
        &self,
        attempt: &Attempt,
        snapshot: &Snapshot,
        pulled: Option<bool>,
    ) -> Launched<Started> {
        let handle =
            self.location.handle(&self.backend.name).map_err(LaunchError::Indeterminate)?;
        let container = snapshot.pod().map(|observed| &observed.pod.container);
        let ended = container.and_then(|c| c.terminated.as_ref()).and_then(|t| t.started);
        let started = container.and_then(|c| c.running).flatten().or(ended);
        let mut image = outcome::image(snapshot);
        image.pulled = pulled.or(image.pulled);
        if let Some(container) = &attempt.spec.container {
            container.image.as_str().clone_into(&mut image.requested);
        }
        Ok(Started::new(handle, started, Some(image)))
    }

    /// Takes back a job that had not started when it was cancelled.
    async fn take_back_cancelled(
        &self,
        attempt: &Attempt,
        uid: &str,
        subscription: Subscription,
    ) -> Launched<Started> {
        // If the job starts nevertheless, it ends as cancelled, whichever process follows it.
        if let Err(failure) = self.cluster.mark(&self.location, Ending::Cancelled).await {
            tracing::debug!(error = %Error::from(failure), "the cancel was not marked");
        }
        self.withdraw(attempt, uid, Error::cancelled(), CANCELLED_WITHDRAWAL, subscription).await
    }

    /// Returns why a launch gives up whose `clock` has expired.
    fn too_late(&self, clock: &PhaseClock, snapshot: &Snapshot, warning: Option<&str>) -> Error {
        if let Some(error) = clock.image_error() {
            return error;
        }
        let (kind, why) = start_state::at_deadline(snapshot, warning);
        let message = format!("the job did not start within {}", clock.waited());
        Error::new(kind, message).with("bound", clock.bound()).caused_by(Message(why))
    }

    /// Takes the Pod back. Returns `Refused` with `error` once it is proven that the Pod never
    /// started. Does not take back a job that has started in the meantime.
    async fn withdraw(
        &self,
        attempt: &Attempt,
        uid: &str,
        error: Error,
        at_most: Duration,
        mut subscription: Subscription,
    ) -> Launched<Started> {
        let by = (Instant::now() + at_most)
            .min(self.context.deadline.max(Instant::now() + AFTER_CANCEL));
        let withdrawal = {
            let withdrawing =
                withdraw::withdraw(&self.cluster, &self.location, uid, &mut subscription, by);
            let mut withdrawing = std::pin::pin!(withdrawing);
            tokio::select! {
                withdrawal = &mut withdrawing => withdrawal,
                () = self.context.cancel.cancelled() => {
                    let left = timeout(CANCELLED_WITHDRAWAL, withdrawing).await;
                    left.unwrap_or_else(|_| Withdrawal::Unproven("cancelled meanwhile".to_owned()))
                }
            }
        };
        let error = with_secrets_warning(error, &subscription.snapshot());
        match withdrawal {
            Withdrawal::NeverStarted => {
                self.remove(uid).await;
                self.backend.forget_commit(&self.location);
                Err(LaunchError::Refused(error))
            }
            Withdrawal::Started(snapshot) => self.started(attempt, &snapshot, None),
            Withdrawal::Unproven(why) => {
                let difference = subscription.snapshot().difference();
                let error = error.with("not proven that nothing started", why);
                Err(LaunchError::Indeterminate(match difference {
                    Some(difference) => error.with("admission", difference),
                    None => error,
                }))
            }
        }
    }

    /// Removes the Job with `uid`, which never starts. If that fails, it goes on in the background, so
    /// that it hides no other error.
    pub(crate) async fn remove(&self, uid: &str) {
        let limit = self.backend.config.request_timeout.get();
        let unwanted = Unwanted::Created { uid: uid.to_owned() };
        self.backend.discards.discard(&self.location, unwanted, limit).await;
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
            Interrupt::Cancelled => Error::cancelled(),
            Interrupt::Deadline => late().with("server", &self.cluster.server),
        }
    }
}

/// Returns why the Job controller cannot create the Pod, if its `warning` shows a decision that
/// waiting does not change. A quota may have room later, and the namespace may be created again.
fn refused_pod(warning: &str) -> Option<Error> {
    match refusal::classify(warning)? {
        ErrorKind::Saturated | ErrorKind::Unavailable => None,
        kind => {
            let error = Error::new(kind, "Kubernetes refused the job's Pod")
                .caused_by(Message(warning.to_owned()));
            Some(match refusal::violated_profile(warning) {
                Some(profile) => error.with("remedy", format!("securityProfile: {profile}")),
                None => error,
            })
        }
    }
}

/// Adds the kubelet's warning about missing pull secrets to `error`, if that is about the image:
/// without the secrets, the kubelet asks the registry without a login.
fn with_secrets_warning(error: Error, snapshot: &Snapshot) -> Error {
    match (&snapshot.pull.secrets_warning, error.kind()) {
        (Some(warning), ErrorKind::ImageUnavailable(_)) => {
            error.with("imagePullSecrets", warning.trim_end_matches('.'))
        }
        _ => error,
    }
}
