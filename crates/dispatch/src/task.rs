//! The life of one job: tries runner after runner until one takes it, then follows it to its end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use longshore_core::{
    AttemptId, HumanDuration, InstallationId, JobId, JobSpec, LogChunk, LogPosition, NotRunReason,
    Outcome, PassedOver, Report, Secret, Started,
};
use longshore_journal::Claim;
use longshore_registry::Found as FoundLogin;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::attempt_client::AttemptClient;
use crate::cancel::Canceller;
use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::directory;
use crate::event_sink::JobEventSink;
use crate::fallback::{Verdict, verdict};
use crate::follow::{Followed, follow};
use crate::input::Input;
use crate::job::State;
use crate::job_event::JobEvent;
use crate::output::forward_output;
use crate::patience::Patience;
use crate::pin::Pins;
use crate::roster::Roster;
use crate::spans;
use crate::standing::Standing;
use crate::stdin::Feed;
use crate::taken::{Found, Taken, Tried};
use crate::{FallbackReason, Settings};

/// One job in flight.
#[derive(Debug)]
pub(crate) struct JobTask {
    pub(crate) id: JobId,
    pub(crate) installation: InstallationId,
    pub(crate) spec: Arc<JobSpec>,
    pub(crate) secret_env: BTreeMap<String, Secret>,
    pub(crate) credentials: Credentials,
    /// The login for the image's registry, once it was looked up.
    pub(crate) login: FoundLogin,
    pub(crate) pins: Arc<Pins>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) roster: Arc<Roster>,
    /// The runners to try, in order.
    pub(crate) candidates: Vec<Arc<Candidate>>,
    pub(crate) canceller: Canceller,
    pub(crate) sink: JobEventSink,
    pub(crate) logs: Option<mpsc::Sender<LogChunk>>,
    pub(crate) input: Input,
    pub(crate) standing: Standing,
    pub(crate) state: watch::Sender<State>,
    pub(crate) search: Search,
    /// The right to write about the job. While this task holds it, no other process acts on the
    /// job.
    pub(crate) claim: Claim,
    pub(crate) manner: Manner,
    /// Whether the record is deleted when the job is done.
    pub(crate) forgotten: bool,
}

/// What all runners answered.
enum Asked {
    /// One of them has the job.
    Taken(Box<Taken>),
    /// The job is over without a start, perhaps because of a runner.
    Over(Outcome, Option<Arc<Candidate>>),
    /// Each of them was passed over.
    Nobody,
}

/// How a job is seen to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is followed, and removed from its runner once its outcome is recorded.
    #[default]
    Attached,
    /// It is left to its runner once it has started.
    Detached,
    /// It is followed, and left on its runner, where its output stays available.
    Kept,
}

/// The progress of the search for a runner.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) attempts: u32,
    pub(crate) last_attempt: Option<AttemptId>,
    pub(crate) passed_over: Vec<PassedOver>,
    /// Whether all runners were asked before.
    pub(crate) again: bool,
    /// Attempts that were fenced before they started. They are removed when the job has ended.
    pub(crate) fenced: Vec<AttemptClient>,
}

impl JobTask {
    /// Runs the job to its end.
    pub(crate) async fn run(mut self) {
        if let Err(left) = self.take_place().await {
            return self.leave(left).await;
        }
        let candidates = std::mem::take(&mut self.candidates);
        if let Err(outcome) = self.prepare(&candidates).await {
            return self.end_without_start(outcome, None).await;
        }
        let mut backoff = self.pauses();
        loop {
            match self.ask_all(&candidates).await {
                Asked::Taken(taken) => {
                    let span = spans::attempt(&taken.attempt, taken.candidate.name());
                    return Box::pin(self.started(*taken)).instrument(span).await;
                }
                Asked::Over(outcome, due_to) => {
                    return self.end_without_start(outcome, due_to.as_ref()).await;
                }
                Asked::Nobody => {
                    if let Err(left) = self.wait_for_runners(&mut backoff).await {
                        return self.leave(left).await;
                    }
                }
            }
        }
    }

    /// Asks one runner after the other to take the job.
    async fn ask_all(&mut self, candidates: &[Arc<Candidate>]) -> Asked {
        let falls_back = self.settings.fallback_on.contains(&FallbackReason::Unavailable);
        let successors = candidates.iter().map(|candidate| self.roster.successor(candidate));
        let mut queue: VecDeque<_> = successors.collect();
        // Runners that hang. If no other one takes the job, it waits for them after all.
        let mut hanging = VecDeque::new();
        let mut may_pass = falls_back;
        while let Some(candidate) = queue.pop_front() {
            match self.try_runner(&candidate, may_pass && !queue.is_empty()).await {
                Tried::Taken(taken) => return Asked::Taken(taken),
                Tried::Cancelled => return Asked::Over(Outcome::Cancelled { code: None }, None),
                Tried::Unrecorded(error) => return Asked::Over(Outcome::refused(&error), None),
                Tried::Hangs(error) => {
                    self.record_passed_over(PassedOver::new(candidate.name(), &error)).await;
                    hanging.push_back(candidate);
                }
                Tried::Refused(error) => {
                    let last = queue.is_empty() && hanging.is_empty();
                    match verdict(error.kind(), &self.settings.fallback_on, last) {
                        Verdict::PassOver => {
                            self.record_passed_over(PassedOver::new(candidate.name(), &error))
                                .await;
                        }
                        Verdict::Stop => {
                            return Asked::Over(Outcome::refused(&error), Some(candidate));
                        }
                    }
                }
            }
            if queue.is_empty() {
                queue.append(&mut hanging);
                may_pass = false;
            }
        }
        Asked::Nobody
    }

    /// Does what must precede the first call of a runner.
    async fn prepare(&mut self, candidates: &[Arc<Candidate>]) -> Result<(), Outcome> {
        directory::check(&self.spec).await.map_err(|error| Outcome::refused(&error))?;
        if self.spec.container.is_none()
            || !candidates.iter().any(|candidate| candidate.runs_containers())
        {
            return Ok(());
        }
        // A credential helper may take a while.
        let found = tokio::select! {
            biased;
            () = self.canceller.token().cancelled() => {
                return Err(Outcome::Cancelled { code: None });
            }
            found = self.credentials.find(&self.spec) => {
                found.map_err(|error| Outcome::refused(&error))?
            }
        };
        for message in &found.warnings {
            self.sink.send(JobEvent::Warning { message: message.clone() });
        }
        self.login = found;
        Ok(())
    }

    pub(crate) fn nobody_took_it(&self) -> Outcome {
        let reasons =
            self.search.passed_over.iter().map(|p| format!("{}: {}", p.runner, p.message));
        let message = format!("no runner took it: {}", reasons.collect::<Vec<_>>().join("; "));
        Outcome::NotRun { reason: NotRunReason::NoRunner, message }
    }

    pub(crate) async fn end_without_start(
        &mut self,
        outcome: Outcome,
        due_to: Option<&Arc<Candidate>>,
    ) {
        let mut result = self.result(Report::new(outcome));
        result.runner = due_to.map(|candidate| candidate.name().clone());
        let recorded = self.record_outcome(&result).await;
        self.logs = None;
        self.finish(recorded).await;
    }

    /// Continues with an attempt that has started or may have started.
    async fn started(self, taken: Taken) {
        self.record_start(&taken).await;
        let runs = matches!(taken.found, Found::Started(_));
        if self.manner == Manner::Detached && runs && !self.canceller.token().is_cancelled() {
            // Release the claim before reporting, since a process that reads the report may want to
            // take the job up.
            let Self { claim, state, sink, .. } = self;
            drop(claim);
            let (runner, attempt) = (taken.candidate.name().clone(), taken.attempt);
            sink.announce(&JobEvent::Left { runner, attempt });
            state.send_replace(State::Left);
            return;
        }
        self.follow_to_end(taken).await;
    }

    /// Follows the attempt to its end, passes its output on, and removes it.
    pub(crate) async fn follow_to_end(mut self, mut taken: Taken) {
        let ended = CancellationToken::new();
        let running = taken.candidate.tally.runs();
        let separate = taken.candidate.runner.capabilities().separate_streams && !self.spec.tty;
        let logs = self.logs.take();
        let input = std::mem::take(&mut self.input);
        let client = taken.client.clone();
        let output = async {
            if let Some(reader) = logs {
                forward_output(&client, separate, reader, LogPosition::START, ended.clone()).await;
            }
        };
        let to_the_end = async {
            let following = self.follow(&mut taken);
            let (followed, stdin_error) = Feed::during(&client, input, following).await;
            drop(running);
            let (Followed::Ended(report) | Followed::OutOfReach(report)) = &followed;
            let mut result = self.result_of(&taken, report.clone());
            result.stdin_error = stdin_error;
            let recorded = self.record_outcome(&result).await;
            ended.cancel();
            // An attempt that may still run is not removed, since that would kill it unnoticed.
            recorded && matches!(followed, Followed::Ended(_))
        };
        let ((), removable) = tokio::join!(output, to_the_end);
        let wanted = removable && self.manner == Manner::Attached;
        let removed = wanted && taken.client.remove().await;
        self.finish(removed).await;
    }

    async fn follow(&self, taken: &mut Taken) -> Followed {
        match &taken.found {
            Found::Ended(report) => Followed::Ended(report.clone()),
            Found::Unknown => {
                let message = format!(
                    "{} did not report for {:?} (lostAfter) whether it started; it may still run",
                    taken.candidate.name(),
                    self.settings.lost_after.get(),
                );
                Followed::OutOfReach(Report::new(Outcome::Lost { message }))
            }
            Found::Started(_) | Found::MayHaveStarted => {
                let patience = Patience {
                    connect_timeout: self.settings.connect_timeout.get(),
                    lost_after: self.settings.lost_after.get(),
                    timeout: self.spec.timeout.map(HumanDuration::get),
                    grace: self.spec.effective_grace_period().get(),
                };
                let client = taken.client.clone();
                let (on_start, start) = oneshot::channel();
                let on_start = matches!(taken.found, Found::MayHaveStarted).then_some(on_start);
                let recorded = async {
                    // No start: it is on record, or the attempt ended without one.
                    let Ok(at) = start.await else { return };
                    taken.found = Found::Started(Started::new(client.handle.clone(), at, None));
                    self.record_start(taken).await;
                };
                let followed = follow(&client, self.canceller.graces(), patience, on_start);
                let (followed, ()) = tokio::join!(followed, recorded);
                followed
            }
        }
    }

    /// Removes what was fenced, and reports that everything is done. `removed` is whether the
    /// outcome is recorded and nothing else of the job is left.
    async fn finish(&mut self, removed: bool) {
        let mut clean = removed;
        for fenced in std::mem::take(&mut self.search.fenced) {
            clean &= fenced.remove().await;
        }
        if clean {
            self.record_removal().await;
        }
        self.tell_done();
    }
}
