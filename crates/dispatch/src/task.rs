//! One job's way: from runner to runner until one takes it, then with that one to the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, ImageReason, InstallationId, JobId, JobSpec, LogChunk,
    NotRunReason, Outcome, PassedOver, PullPolicy, Report, Secret, Started,
};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Settings;
use crate::cancel::Canceller;
use crate::directory;
use crate::fallback::{Verdict, verdict};
use crate::follow::{Followed, Patience, follow};
use crate::job::{JobEvent, State};
use crate::lane::Lane;
use crate::launch::{Launched, launch};
use crate::progress::Progress;
use crate::pump::pump;
use crate::settle::{Settlement, settle};
use crate::watched::Watched;

/// One job in flight.
#[derive(Debug)]
pub(crate) struct JobTask {
    pub(crate) id: JobId,
    pub(crate) installation: InstallationId,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) secret_env: BTreeMap<String, Secret>,
    pub(crate) settings: Arc<Settings>,
    /// The runners to try, in order.
    pub(crate) order: Vec<Arc<Lane>>,
    pub(crate) canceller: Canceller,
    pub(crate) progress: Progress,
    pub(crate) logs: Option<mpsc::Sender<LogChunk>>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) search: Search,
}

/// What the search for a runner has come to so far.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) attempts: u32,
    pub(crate) last_attempt: Option<AttemptId>,
    pub(crate) passed_over: Vec<PassedOver>,
    /// Attempts that were fenced before they started: removed when the job has ended.
    fenced: Vec<Watched>,
}

/// An attempt that has started, or may have.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) lane: Arc<Lane>,
    pub(crate) attempt: AttemptId,
    pub(crate) watched: Watched,
    pub(crate) found: Found,
}

/// What is known of it.
#[derive(Debug)]
pub(crate) enum Found {
    Started(Started),
    MayHaveStarted,
    Ended(Report),
    Unknown,
}

/// What trying one runner came to.
enum Tried {
    Taken(Box<Taken>),
    Refused(Error),
    /// The job was cancelled, and provably nothing started.
    Cancelled,
}

impl JobTask {
    /// Takes the job all its way.
    pub(crate) async fn run(mut self) {
        let order = std::mem::take(&mut self.order);
        if let Err(error) = directory::check(&self.spec).await {
            return self.end_without_start(Outcome::refused(&error), None).await;
        }
        for (i, lane) in order.iter().enumerate() {
            match self.try_runner(lane).await {
                Tried::Taken(taken) => return self.see_through(*taken).await,
                Tried::Cancelled => {
                    return self.end_without_start(Outcome::Cancelled { code: None }, None).await;
                }
                Tried::Refused(error) => {
                    let last = i + 1 == order.len();
                    match verdict(error.kind(), &self.settings.fallback_on, last) {
                        Verdict::PassOver => self.pass_over(lane, &error),
                        Verdict::Stop => {
                            let outcome = Outcome::refused(&error);
                            return self.end_without_start(outcome, Some(lane)).await;
                        }
                    }
                }
            }
        }
        self.end_without_start(self.nobody_took_it(), None).await;
    }

    async fn try_runner(&mut self, lane: &Arc<Lane>) -> Tried {
        if let Err(unsupported) = lane.supports(&self.spec) {
            return Tried::Refused(unsupported);
        }
        let cancelled = self.canceller.token().clone();
        let _launching = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Tried::Cancelled,
            admitted = lane.admit(&self.progress) => match admitted {
                Ok(permit) => permit,
                Err(error) => return Tried::Refused(error),
            },
        };
        let effective = lane.pull_policy(Some(&self.spec), &self.settings.image_pull_policy);
        let mut policies = effective.policies.iter().peekable();
        while let Some(policy) = policies.next() {
            match self.try_policy(lane, policy).await {
                Tried::Refused(error) if policies.peek().is_some() && got_no_answer(&error) => {
                    self.progress.trouble(lane.name(), &error);
                }
                tried => return tried,
            }
        }
        // A list of policies is never empty.
        Tried::Refused(Error::new(ErrorKind::Internal, "no pull policy to try").on(lane.name()))
    }

    /// One attempt, with one pull policy.
    async fn try_policy(&mut self, lane: &Arc<Lane>, policy: PullPolicy) -> Tried {
        let attempt = Arc::new(self.next_attempt(policy));
        let watched = Watched {
            runner: Arc::clone(&lane.runner),
            handle: lane.runner.handle(&attempt),
            progress: self.progress.clone(),
        };
        self.record_intent(lane, &attempt, &watched.handle);
        let patience = self.settings.pull_timeout.get() + self.settings.start_timeout.get();
        let (runner, id) = (&lane.runner, attempt.id.clone());
        let deadline = Instant::now() + patience;
        let cancel = self.canceller.token();
        let launched = launch(runner, attempt, deadline, cancel, &self.progress).await;
        let found = match launched {
            Launched::Started(started) => Found::Started(started),
            Launched::Refused(error) => return self.refused(lane, error),
            Launched::Unclear { error, answered } => {
                match self.settle(&watched, &id, &error).await {
                    Settlement::NeverStarted => {
                        // Removing what a launch still works on could undo the fence.
                        if answered {
                            self.search.fenced.push(watched);
                        }
                        return self.refused(lane, error);
                    }
                    Settlement::MayHaveStarted => Found::MayHaveStarted,
                    Settlement::Ended(report) => Found::Ended(report),
                    Settlement::Unknown => Found::Unknown,
                }
            }
        };
        Tried::Taken(Box::new(Taken { lane: Arc::clone(lane), attempt: id, watched, found }))
    }

    fn next_attempt(&mut self, policy: PullPolicy) -> Attempt {
        self.search.attempts += 1;
        let mut attempt = Attempt::new(
            self.installation.clone(),
            self.id.clone(),
            self.search.attempts,
            Arc::clone(&self.spec),
        );
        attempt.pull_policy = policy;
        attempt.secret_env.clone_from(&self.secret_env);
        attempt
    }

    async fn settle(&self, watched: &Watched, attempt: &AttemptId, error: &Error) -> Settlement {
        self.progress.tell(JobEvent::Settling {
            runner: watched.runner.name().clone(),
            attempt: attempt.clone(),
            message: error.to_string(),
        });
        settle(watched, self.canceller.graces(), self.settings.lost_after.get()).await
    }

    fn refused(&self, lane: &Lane, error: Error) -> Tried {
        if self.canceller.token().is_cancelled() {
            return Tried::Cancelled;
        }
        lane.breaker.refused(&error);
        Tried::Refused(error)
    }

    fn pass_over(&mut self, lane: &Lane, error: &Error) {
        let passed_over = PassedOver::new(lane.name(), error);
        self.progress.tell(JobEvent::PassedOver(passed_over.clone()));
        self.search.passed_over.push(passed_over);
    }

    fn nobody_took_it(&self) -> Outcome {
        let reasons =
            self.search.passed_over.iter().map(|p| format!("{}: {}", p.runner, p.message));
        let message = format!("no runner took it: {}", reasons.collect::<Vec<_>>().join("; "));
        Outcome::NotRun { reason: NotRunReason::NoRunner, message }
    }

    async fn end_without_start(&mut self, outcome: Outcome, due_to: Option<&Arc<Lane>>) {
        let mut result = self.result(Report::new(outcome));
        result.runner = due_to.map(|lane| lane.name().clone());
        self.record_outcome(&result);
        self.logs = None;
        self.finish().await;
    }

    /// Follows the attempt to its end, passes its output on, and removes it.
    async fn see_through(mut self, mut taken: Taken) {
        self.record_start(&taken);
        let ended = CancellationToken::new();
        let separate = taken.lane.runner.capabilities().separate_streams;
        let logs = self.logs.take();
        let watched = taken.watched.clone();
        let output = async {
            if let Some(reader) = logs {
                pump(&watched, separate, reader, ended.clone()).await;
            }
        };
        let to_the_end = async {
            let followed = self.follow(&mut taken).await;
            let (Followed::Ended(report) | Followed::OutOfReach(report)) = &followed;
            let result = self.result_of(&taken, report.clone());
            self.record_outcome(&result);
            ended.cancel();
            followed
        };
        let ((), followed) = tokio::join!(output, to_the_end);
        // What may still run is not removed, as that would kill it unseen.
        if matches!(followed, Followed::Ended(_)) {
            taken.watched.remove().await;
        }
        self.finish().await;
    }

    async fn follow(&self, taken: &mut Taken) -> Followed {
        match &taken.found {
            Found::Ended(report) => Followed::Ended(report.clone()),
            Found::Unknown => {
                let message = format!(
                    "{} could not tell for {:?} (lostAfter) whether it started; it may still run",
                    taken.lane.name(),
                    self.settings.lost_after.get(),
                );
                Followed::OutOfReach(Report::new(Outcome::Lost { message }))
            }
            Found::Started(_) | Found::MayHaveStarted => {
                let patience = Patience {
                    connect_timeout: self.settings.connect_timeout.get(),
                    lost_after: self.settings.lost_after.get(),
                };
                follow(&taken.watched, self.canceller.graces(), patience).await
            }
        }
    }

    /// Cleans up what was fenced, and says that all is done.
    async fn finish(&mut self) {
        for fenced in std::mem::take(&mut self.search.fenced) {
            fenced.remove().await;
        }
        self.record_done();
    }
}

/// Whether the registry gave no answer, so that the next pull policy of a list may be tried.
fn got_no_answer(error: &Error) -> bool {
    error.kind() == ErrorKind::ImageUnavailable(ImageReason::Unreachable)
}
