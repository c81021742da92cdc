//! Tries one runner. Each of its pull policies is tried in turn, as a separate attempt.

use std::sync::Arc;

use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, ImageReason, JobSpec, PullPolicy, Started,
};
use tokio::time::Instant;
use tracing::Instrument;

use crate::attempt_client::AttemptClient;
use crate::candidate::{Candidate, NotAdmitted};
use crate::job_event::JobEvent;
use crate::launch::{Launched, Limits, Task, launch};
use crate::launches::Slot;
use crate::outages::soon;
use crate::pin::Pin;
use crate::report::LoginName;
use crate::settle::{Settlement, settle};
use crate::spans;
use crate::taken::{Found, Taken, Tried};
use crate::task::JobTask;

/// One pull policy of a list.
#[derive(Clone, Copy)]
struct Turn {
    policy: PullPolicy,
    is_last: bool,
    after_no_answer: bool,
}

impl JobTask {
    /// Tries `candidate`. If it `may_pass`, the job does not wait for a runner that hangs.
    pub(crate) async fn try_runner(&mut self, candidate: &Arc<Candidate>, may_pass: bool) -> Tried {
        if let Err(unsupported) = candidate.supports(&self.spec) {
            return Tried::Refused(unsupported);
        }
        let cancelled = self.canceller.token().clone();
        let admitted = async {
            // Pin first: a job that waits for another job's digest must not occupy a launch slot.
            let pin = self.pin(candidate).await?;
            Ok::<_, NotAdmitted>((pin, candidate.admit(&self.sink, may_pass).await?))
        };
        let (mut pin, (mut slot, _kept)) = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Tried::Cancelled,
            admitted = admitted => match admitted {
                Ok(admitted) => admitted,
                Err(NotAdmitted::Refused(error)) => return Tried::Refused(error),
                Err(NotAdmitted::Hangs(error)) => return Tried::Hangs(error),
            },
        };
        let tried = self.try_policies(candidate, &pin, &mut slot).await;
        if let Tried::Taken(taken) = &tried
            && let Found::Started(Started { image: Some(image), .. }) = &taken.found
        {
            pin.resolve(image.resolved.as_deref());
        }
        tried
    }

    /// Returns how to treat the digest of the image on this runner.
    async fn pin(&self, candidate: &Candidate) -> Result<Pin, Error> {
        match &self.spec.container {
            Some(container) if self.settings.pin_digest && candidate.runs_containers() => {
                let patience = self.settings.launch_timeout();
                self.pins.pin(&container.image, patience).await.map_err(|e| e.on(candidate.name()))
            }
            _ => Ok(Pin::AsNamed),
        }
    }

    /// Tries the effective pull policies in turn for as long as the registry does not answer.
    async fn try_policies(
        &mut self,
        candidate: &Arc<Candidate>,
        pin: &Pin,
        slot: &mut Slot,
    ) -> Tried {
        let spec = pinned(&self.spec, pin);
        let effective = candidate.pull_policy(Some(&self.spec), &self.settings);
        let mut policies = effective.policies.iter().peekable();
        let mut unanswered = None;
        while let Some(policy) = policies.next() {
            let is_last = policies.peek().is_none();
            let turn = Turn { policy, is_last, after_no_answer: unanswered.is_some() };
            match self.try_policy(candidate, &spec, turn, slot).await {
                Tried::Refused(error) if !is_last && got_no_answer(&error) => {
                    self.sink.trouble(candidate.name(), &error);
                    unanswered = Some((policy, error));
                }
                Tried::Refused(error) => {
                    return Tried::Refused(match &unanswered {
                        Some(before) => both(before, policy, error, candidate),
                        None => error,
                    });
                }
                tried => return tried,
            }
        }
        // A list of policies is never empty.
        Tried::Refused(
            Error::new(ErrorKind::Internal, "no pull policy to try").on(candidate.name()),
        )
    }

    /// Makes one attempt with one pull policy.
    async fn try_policy(
        &mut self,
        candidate: &Arc<Candidate>,
        spec: &Arc<JobSpec>,
        turn: Turn,
        slot: &mut Slot,
    ) -> Tried {
        tokio::select! {
            biased;
            regained = slot.regain() => if let Err(error) = regained {
                return Tried::Refused(error.on(candidate.name()));
            },
            () = self.canceller.token().cancelled() => return Tried::Cancelled,
        }
        let mut attempt = self.next_attempt(spec, turn.policy);
        attempt.target = soon(candidate.runner.target()).await;
        let attempt = Arc::new(attempt);
        let span = spans::attempt(&attempt.id, candidate.name());
        self.make_attempt(candidate, attempt, turn, slot).instrument(span).await
    }

    async fn make_attempt(
        &mut self,
        candidate: &Arc<Candidate>,
        attempt: Arc<Attempt>,
        turn: Turn,
        slot: &mut Slot,
    ) -> Tried {
        let client = candidate.client(&candidate.runner.handle(&attempt), self.sink.clone());
        if let Err(error) = self.record_intent(candidate, &attempt, &client.handle).await {
            return Tried::Unrecorded(error);
        }
        let (runner, id) = (&candidate.runner, attempt.id.clone());
        let limits = Limits {
            start_timeout: self.settings.start_timeout.get(),
            pull_timeout: self.settings.pull_timeout.get(),
            deadline: Instant::now() + self.settings.launch_timeout(),
            retry_pull: turn.is_last,
        };
        let task = Task {
            cancel: self.canceller.token(),
            sink: &self.sink,
            reads_output: self.logs.is_some(),
            terminal_size: self.input.terminal_size(),
        };
        let launched = launch(runner, attempt, limits, task, slot).await;
        let found = match launched {
            Launched::Started(started) => Found::Started(started),
            Launched::Refused(error) => return self.refused(candidate, error).await,
            Launched::Unclear { error, answered } => {
                // Settling may take long, and is no launch.
                slot.release();
                if answered {
                    candidate.tally.failed(&error);
                } else {
                    candidate.refused(&error).await;
                }
                match self.settle(&client, &id, &error).await {
                    Settlement::NeverStarted => {
                        // Removing an attempt while its launch still runs could undo the fence.
                        if answered {
                            self.search.fenced.push(client);
                        }
                        return self.refused(candidate, error).await;
                    }
                    Settlement::MayHaveStarted => Found::MayHaveStarted,
                    Settlement::Ended(report) => Found::Ended(report),
                    Settlement::Unknown => Found::Unknown,
                }
            }
        };
        let after_no_answer = turn.after_no_answer;
        let (candidate, number) = (Arc::clone(candidate), self.search.attempts);
        Tried::Taken(Box::new(Taken {
            candidate,
            attempt: id,
            number,
            client,
            found,
            after_no_answer,
        }))
    }

    fn next_attempt(&mut self, spec: &Arc<JobSpec>, policy: PullPolicy) -> Attempt {
        self.search.attempts += 1;
        let mut attempt = Attempt::new(
            self.installation.clone(),
            self.id.clone(),
            self.search.attempts,
            Arc::clone(spec),
        );
        attempt.pull_policy = policy;
        attempt.secret_env.clone_from(&self.secret_env);
        attempt.registry_auth.clone_from(&self.login.auth);
        attempt
    }

    pub(crate) async fn settle(
        &self,
        client: &AttemptClient,
        attempt: &AttemptId,
        error: &Error,
    ) -> Settlement {
        self.sink.send(JobEvent::Settling {
            runner: client.runner.name().clone(),
            attempt: attempt.clone(),
            message: error.to_string(),
        });
        settle(client, self.canceller.graces(), self.settings.lost_after.get()).await
    }

    /// Adds to a registry's denial which login the registry was shown.
    fn with_login(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::ImageUnavailable(ImageReason::Denied) {
            return error;
        }
        match LoginName::of(&self.login) {
            Some(login) => error.with("login", login),
            None => error.with("login", "none configured"),
        }
    }

    async fn refused(&self, candidate: &Arc<Candidate>, error: Error) -> Tried {
        let error = self.with_login(error);
        if let Err(unrecorded) = self.record_refusal(&error).await {
            return Tried::Unrecorded(unrecorded);
        }
        if self.canceller.token().is_cancelled() {
            return Tried::Cancelled;
        }
        candidate.refused(&error).await;
        Tried::Refused(error)
    }
}

/// Returns `spec` with the image that `pin` specifies.
fn pinned(spec: &Arc<JobSpec>, pin: &Pin) -> Arc<JobSpec> {
    let Some(image) = pin.image() else { return Arc::clone(spec) };
    let mut spec = JobSpec::clone(spec);
    if let Some(container) = &mut spec.container {
        container.image = image.clone();
    }
    Arc::new(spec)
}

/// Whether the registry did not answer, so that the next pull policy of the list may be tried.
fn got_no_answer(error: &Error) -> bool {
    error.kind() == ErrorKind::ImageUnavailable(ImageReason::Unreachable)
}

/// Combines two failures of a list of pull policies: the registry did not answer `before`, and then
/// the attempt under `policy` failed with `error`.
///
/// A missing local copy is not the cause: had the registry answered, there would have been a copy.
/// The combined error is therefore `Unreachable`, a reason that may pass. Any other `error` is more
/// specific than the missing answer and is returned unchanged.
fn both(
    before: &(PullPolicy, Error),
    policy: PullPolicy,
    error: Error,
    candidate: &Candidate,
) -> Error {
    if error.kind() != ErrorKind::ImageUnavailable(ImageReason::NotPresent) {
        return error;
    }
    let (first, unanswered) = before;
    let message = format!(
        "the registry gave no answer, and there is no local copy: under {first}: {unanswered}; \
         under {policy}: {error}"
    );
    Error::new(ErrorKind::ImageUnavailable(ImageReason::Unreachable), message).on(candidate.name())
}
