//! One configured runner, with the state that the dispatcher keeps for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use longshore_core::{
    Error, ErrorKind, Handle, Health, ImageRef, JobSpec, LocalImage, PullPolicies, Runner,
    RunnerName,
};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::attempt_client::AttemptClient;
use crate::breaker::{Admission, Breaker};
use crate::event_sink::JobEventSink;
use crate::feed::Feed;
use crate::guarded::Guarded;
use crate::job_event::JobEvent;
use crate::launches::{Launches, Slot};
use crate::observer::RunnerEvent;
use crate::outages::{Names, Outages};
use crate::policy;
use crate::runner_status::{BreakerState, RunnerStatus};
use crate::tally::{Seen, Tally};
use crate::{EffectivePullPolicy, Isolation, Settings};

/// A runner, its breaker, and its throttle.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) runner: Arc<dyn Runner>,
    /// The same, without the guard against its panics.
    pub(crate) given: Arc<dyn Runner>,
    pub(crate) breaker: Breaker,
    /// Its own pull policy, if one is configured.
    pull_policy: Option<PullPolicies>,
    /// Held by the one job that probes.
    probing: Mutex<()>,
    launches: Arc<Launches>,
    pub(crate) tally: Arc<Tally>,
    /// What may be on the runner. Closed while the runner takes no new jobs.
    attempts: TaskTracker,
    feed: Arc<Feed>,
    outages: Arc<Outages>,
    /// Whether the observers know the breaker as open.
    shown_open: AtomicBool,
    connect_timeout: Duration,
    min_isolation: Isolation,
}

/// Why a job got no launch slot.
#[derive(Debug)]
pub(crate) enum NotAdmitted {
    /// The runner does not take it.
    Refused(Error),
    /// The launches under way on the runner make no progress, or another process waited in vain for
    /// its server.
    Hangs(Error),
}

impl From<Error> for NotAdmitted {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl Candidate {
    pub(crate) fn new(
        runner: Arc<dyn Runner>,
        settings: &Settings,
        pull_policy: Option<PullPolicies>,
        jitter: u64,
        feed: &Arc<Feed>,
        outages: &Arc<Outages>,
    ) -> Self {
        Self {
            runner: Arc::new(Guarded(Arc::clone(&runner))),
            given: runner,
            breaker: Breaker::new(jitter),
            pull_policy,
            probing: Mutex::new(()),
            launches: Arc::new(Launches::new(settings)),
            tally: Arc::default(),
            attempts: TaskTracker::new(),
            feed: Arc::clone(feed),
            outages: Arc::clone(outages),
            shown_open: AtomicBool::new(false),
            connect_timeout: settings.connect_timeout.get(),
            min_isolation: settings.min_isolation,
        }
    }

    /// Makes it continue the counts of `other`, which has the same name, and its cordon.
    pub(crate) fn in_place_of(mut self, other: &Self) -> Self {
        self.tally = Arc::clone(&other.tally);
        self.attempts = other.attempts.clone();
        self
    }

    pub(crate) fn name(&self) -> &RunnerName {
        self.runner.name()
    }

    /// Whether this runner needs an image at all.
    pub(crate) fn runs_containers(&self) -> bool {
        self.runner.capabilities().container
    }

    /// Returns the pull policy for `spec` on this runner.
    pub(crate) fn pull_policy(
        &self,
        spec: Option<&JobSpec>,
        settings: &Settings,
    ) -> EffectivePullPolicy {
        policy::effective(spec, settings, self.name(), self.pull_policy.as_ref())
    }

    /// Checks that this runner can do all that `spec` needs, with the required isolation.
    pub(crate) fn supports(&self, spec: &JobSpec) -> Result<(), Error> {
        let contained = spec.container.is_some() && self.runs_containers();
        if self.min_isolation == Isolation::Container && !contained {
            let why = "it would run the job without a container, which job.minIsolation rules out";
            return Err(Error::new(ErrorKind::Unsupported, why).on(self.name()));
        }
        spec.ensure_supported(self.runner.capabilities(), |c| self.runner.remedy(c))
            .map_err(|error| error.on(self.name()))
    }

    /// Waits for a launch slot on this runner. Returns it with a token that makes a drain wait. Fails at
    /// once if the runner is known not to take work, or if it `may_pass` and the runner hangs.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        sink: &JobEventSink,
        may_pass: bool,
    ) -> Result<(Slot, TaskTrackerToken), NotAdmitted> {
        // Taken before the check, so that a drain either waits for this job or is noticed by it.
        let attempt = self.attempts.token();
        self.ensure_open()?;
        // Before the queue, so that no job waits for a runner that is known to be away.
        if let Admission::Refused(error) = self.breaker.admission() {
            return Err(error.on(self.name()).into());
        }
        let slot = tokio::select! {
            biased;
            slot = self.launches.slot() => slot.map_err(|error| error.on(self.name()))?,
            error = self.launches.hang(), if may_pass => {
                return Err(NotAdmitted::Hangs(error.on(self.name())));
            }
        };
        self.ready(sink, may_pass).await?;
        self.ensure_open()?;
        Ok((slot, attempt))
    }

    fn ensure_open(&self) -> Result<(), NotAdmitted> {
        if self.attempts.is_closed() {
            let message = "the runner takes no new jobs: it is cordoned, or no longer configured";
            return Err(Error::new(ErrorKind::Unavailable, message).on(self.name()).into());
        }
        Ok(())
    }

    /// Asks the runner whether it can take work, unless the answer is known.
    async fn ready(
        self: &Arc<Self>,
        sink: &JobEventSink,
        may_pass: bool,
    ) -> Result<(), NotAdmitted> {
        let _alone = match self.breaker.admission() {
            Admission::Healthy => return Ok(()),
            Admission::Refused(error) => return Err(error.on(self.name()).into()),
            Admission::Probe { last_refusal: None } => self.probing.lock().await,
            // Only one job waits to see whether the runner is back; for the others it is still
            // away.
            Admission::Probe { last_refusal: Some(error) } => match self.probing.try_lock() {
                Ok(alone) => alone,
                Err(_) => return Err(error.on(self.name()).into()),
            },
        };
        // Another job may have probed while this one waited.
        let is_known = match self.breaker.admission() {
            Admission::Healthy => return Ok(()),
            Admission::Refused(error) => return Err(error.on(self.name()).into()),
            Admission::Probe { last_refusal } => last_refusal.is_some(),
        };
        let names = Names::of(&*self.runner).await;
        // What another process has found counts while nothing is known here.
        if may_pass
            && !is_known
            && let Some(error) = self.outages.recall(self.name(), &names).await
        {
            return Err(NotAdmitted::Hangs(error.on(self.name())));
        }
        if let Some(left) = self.outages.recall_ready(self.name(), &names).await {
            self.breaker.is_ready_for(left);
            return Ok(());
        }
        sink.send(JobEvent::Probing { runner: self.name().clone() });
        match self.ask(self.runner.ready(), &names).await {
            Ok(()) => {
                self.breaker.probe_succeeded();
                self.show_breaker();
                self.outages.share_ready(self.name(), &names).await;
                Ok(())
            }
            Err(error) => {
                self.heed(&error);
                Err(error.into())
            }
        }
    }

    /// Records a refusal of a launch.
    pub(crate) async fn refused(self: &Arc<Self>, error: &Error) {
        self.tally.failed(error);
        self.heed(error);
        self.outages.forget_ready(self.name(), error).await;
    }

    /// Passes an error on to the breaker. A runner that is away is then probed in the background
    /// until it is back, so that no job waits for the answer.
    fn heed(self: &Arc<Self>, error: &Error) {
        let must_ask_again = self.breaker.refused(error);
        self.show_breaker();
        if must_ask_again {
            tokio::spawn(ask_again(Arc::downgrade(self)));
        }
    }

    /// Returns whether `image` is on this runner, bounded by `connectTimeout`. A failure yields
    /// `Unknown`.
    pub(crate) async fn local_image(&self, image: &ImageRef) -> LocalImage {
        match timeout(self.connect_timeout, self.runner.local_image(image)).await {
            Ok(Ok(local)) => local,
            Ok(Err(_)) | Err(_) => LocalImage::Unknown,
        }
    }

    pub(crate) fn cordon(&self) {
        self.attempts.close();
    }

    pub(crate) fn uncordon(&self) {
        self.attempts.reopen();
    }

    /// What may be on the runner.
    pub(crate) fn attempts(&self) -> TaskTracker {
        self.attempts.clone()
    }

    pub(crate) const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Returns the attempt at `handle` on this runner.
    pub(crate) fn client(&self, handle: &Handle, sink: JobEventSink) -> AttemptClient {
        let (runner, kept) = (Arc::clone(&self.runner), self.attempts.token());
        AttemptClient { runner, handle: handle.clone(), sink, _kept: kept }
    }

    /// Probes the runner, bounded by `connectTimeout`.
    pub(crate) async fn probe(&self) -> Result<Health, Error> {
        let names = Names::of(&*self.runner).await;
        self.ask(self.runner.probe(), &names).await
    }

    /// Waits for `probe`, a probe of the runner with these `names`, and records what it found.
    async fn ask<T>(
        &self,
        probe: impl Future<Output = longshore_core::Result<T>>,
        names: &Names,
    ) -> Result<T, Error> {
        let began = Instant::now();
        let answer = match timeout(self.connect_timeout, probe).await {
            Ok(answer) => answer.map_err(of_a_probe),
            Err(_) => {
                let no_answer =
                    format!("no answer within {:?} (connectTimeout)", self.connect_timeout);
                Err(Error::new(ErrorKind::Unavailable, no_answer))
            }
        };
        let found = answer.as_ref().map(drop);
        self.outages.share(self.name(), names, found, began.elapsed()).await;
        let answer = answer.map_err(|error| error.on(self.name()));
        let probed = self.tally.probed(answer.as_ref().err());
        self.feed.turn().send(self.name(), &RunnerEvent::Probed(probed));
        answer
    }

    /// Records that a job started.
    pub(crate) fn started(&self) {
        self.breaker.launch_succeeded();
        self.show_breaker();
    }

    /// Reports to the observers whether jobs pass the runner over, if that has changed.
    fn show_breaker(&self) {
        let turn = self.feed.turn();
        // Of several changes at once, the last turn shows the last one.
        let event = match self.breaker.state() {
            BreakerState::Open { error, retry_at } => RunnerEvent::Opened { error, retry_at },
            _ => RunnerEvent::Closed,
        };
        let open = matches!(event, RunnerEvent::Opened { .. });
        if self.shown_open.swap(open, Ordering::Relaxed) != open {
            turn.send(self.name(), &event);
        }
    }

    /// Returns what is known about the runner. Asks nothing.
    pub(crate) fn status(&self) -> RunnerStatus {
        let Seen { running, last_error, last_probe } = self.tally.seen();
        let (breaker, launching) = (self.breaker.state(), self.launches.count());
        let runner = self.name().clone();
        let cordoned = self.attempts.is_closed();
        RunnerStatus { runner, cordoned, breaker, launching, running, last_error, last_probe }
    }
}

/// Returns the error of a probe. A probe does not know the job, so what it fails with is about the
/// backend: a server that answers 404 or 418 is not the backend that the configuration names.
fn of_a_probe(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Unavailable
        | ErrorKind::Saturated
        | ErrorKind::Unsupported
        | ErrorKind::Denied => error,
        _ => error.with_kind(ErrorKind::Unavailable),
    }
}

/// Probes a runner that is away, each time its breaker allows it, until the runner is back or the
/// dispatcher is dropped.
async fn ask_again(candidate: Weak<Candidate>) {
    loop {
        let next = candidate.upgrade().and_then(|candidate| candidate.breaker.next_probe());
        let Some((until, opened)) = next else { return };
        tokio::select! {
            () = sleep_until(until) => {}
            // The runner was back and has gone away again, so the pause is a new one.
            () = opened.notified() => continue,
        }
        let Some(candidate) = candidate.upgrade() else { return };
        // A job may be probing just now.
        let _alone = candidate.probing.lock().await;
        if candidate.breaker.open_until().is_some_and(|until| until <= Instant::now()) {
            let names = Names::of(&*candidate.runner).await;
            match candidate.ask(candidate.runner.ready(), &names).await {
                Ok(()) => candidate.breaker.probe_succeeded(),
                Err(error) => candidate.breaker.probe_failed(&error),
            }
            candidate.show_breaker();
        }
    }
}
