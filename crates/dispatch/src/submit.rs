//! Submits a job: from the first write on, the work belongs to a task.

use std::collections::BTreeMap;
use std::sync::Arc;

use longshore_core::{Error, ErrorKind, JobId, JobSpec, Secret};
use longshore_journal::{Claim, NewJob, Submitted};
use tokio::sync::{oneshot, watch};
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Instrument;

use crate::cancel::Canceller;
use crate::candidate::Candidate;
use crate::credentials::Credentials;
use crate::dispatcher::{Dispatcher, closed};
use crate::event_sink::JobEventSink;
use crate::fail_point::FailPoint;
use crate::input::Input;
use crate::job::{Job, JobEvents, JobLogs, State, Submission};
use crate::job_event::JobEvent;
use crate::secrets;
use crate::spans;
use crate::spec_policy::{PolicyViolation, SpecPolicy};
use crate::standing::Standing;
use crate::store::Held;
use crate::task::{JobTask, Manner, Search};

/// A submission that was checked and has a place, or a turn in the queue for one. Nothing of it is recorded.
struct Checked {
    new: NewJob,
    /// The spec with the configured values.
    spec: JobSpec,
    candidates: Vec<Arc<Candidate>>,
    secret_env: BTreeMap<String, Secret>,
    credentials: Credentials,
    manner: Manner,
    logs: bool,
    input: Input,
    standing: Standing,
    tracked: TaskTrackerToken,
}

/// A job on record.
enum Recorded {
    /// This process runs it.
    Here(Box<JobTask>, Job, Held, TaskTrackerToken),
    /// An earlier submission with the same key began it.
    Known(Job),
}

impl Dispatcher {
    pub(crate) async fn begin(&self, submission: Submission, manner: Manner) -> Result<Job, Error> {
        let checked = self.check(submission, manner).await?;
        let (answer, answered) = oneshot::channel();
        let dispatcher = self.clone();
        // In a task, because a record without a task would be a job that nobody runs.
        let running = async move {
            match dispatcher.enter(checked).await {
                Ok(Recorded::Here(task, job, held, tracked)) => {
                    let span = spans::job(job.id());
                    // A submitter that has left is treated like one that has dropped the job.
                    drop(answer.send(Ok(job)));
                    Box::pin(task.run()).instrument(span).await;
                    drop((held, tracked));
                }
                Ok(Recorded::Known(job)) => drop(answer.send(Ok(job))),
                Err(error) => drop(answer.send(Err(error))),
            }
        };
        self.spawn(running.in_current_span());
        // No answer: the dispatcher has abandoned its jobs, or its runtime is shut down.
        answered.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Does everything that must precede the first write.
    async fn check(&self, submission: Submission, manner: Manner) -> Result<Checked, Error> {
        let relaunch = submission.how_to_relaunch()?;
        if relaunch.is_some() && self.forgets() {
            let message = "a job cannot be relaunched by another process: its record is in memory";
            return Err(Error::new(ErrorKind::InvalidSpec, message));
        }
        let Submission {
            mut spec,
            id,
            logs,
            key,
            keep,
            policy,
            secrets,
            registry_auths,
            when_full,
            priority,
            labels,
            input,
            ..
        } = submission;
        input.admit(&mut spec, manner == Manner::Detached)?;
        add_labels(&mut spec, &labels)?;
        let manner = if keep && manner == Manner::Attached { Manner::Kept } else { manner };
        let mut new = NewJob::new(self.installation().clone(), spec.clone());
        new.id = id.unwrap_or(new.id);
        new.idempotency_key = key;
        new.relaunch = relaunch;
        new.detached = manner == Manner::Detached;
        let mut candidates = self.prepare(&mut spec)?;
        if let Some(policy) = &policy {
            obeys(policy, &new.spec, &spec, &labels).await?;
            candidates.retain(|candidate| policy.allows_runner(candidate.name()));
            if candidates.is_empty() {
                let reason = "no allowed runner is configured";
                return Err(PolicyViolation::new("runners", "runners", reason).into());
            }
        }
        let mut credentials = match policy {
            Some(policy) if !policy.service_logins => Credentials::default(),
            _ => self.setup().credentials.clone(),
        };
        credentials.given = registry_auths;
        new.runners = candidates.iter().map(|candidate| candidate.name().clone()).collect();
        let mut secret_env = secrets::read(&spec).await?;
        secrets::add(&mut secret_env, &spec, secrets)?;
        let mut standing = self.stand(&spec, priority, when_full).await?;
        standing.closing = new.relaunch.is_some().then(|| self.closing().clone());
        let tracked = self.tracked()?;
        Ok(Checked {
            new,
            spec,
            candidates,
            secret_env,
            credentials,
            manner,
            logs,
            input,
            standing,
            tracked,
        })
    }

    /// Records the job, or finds the record of an earlier submission with the same key.
    async fn enter(&self, checked: Checked) -> Result<Recorded, Error> {
        let Checked {
            new,
            spec,
            candidates,
            secret_env,
            credentials,
            manner,
            logs,
            input,
            standing,
            tracked,
        } = checked;
        let journal = self.journal().await?;
        let submitted = Arc::clone(&new.spec);
        // Before the job is recorded, so that no request to cancel it is missed.
        let canceller = Canceller::new(spec.effective_grace_period().get());
        let held = self.hold(&new.id, &canceller);
        let (claim, attempts, held) = match journal.submit(new).await? {
            Submitted::New(claim) => (claim, 0, held),
            Submitted::Known(id) => match self.unstarted(&id, &canceller).await? {
                Some(unstarted) => unstarted,
                None => {
                    let job = self.attach_as(&journal.record(&id).await?, manner, logs).await?;
                    return Ok(Recorded::Known(job));
                }
            },
            _ => return Err(Error::new(ErrorKind::Internal, "the journal gave no clear answer")),
        };
        FailPoint::Submitted.reach();
        let id = claim.job().clone();
        let (sink, events) = JobEventSink::channel(self.feed(), &id);
        sink.announce(&JobEvent::Submitted { spec: submitted });
        let (state, state_seen) = watch::channel(State::Running);
        let (logs, logs_read) = JobLogs::channel(logs);
        let task = JobTask {
            secret_env,
            credentials,
            candidates,
            canceller: canceller.clone(),
            sink,
            logs,
            state,
            search: Search { attempts, ..Search::default() },
            manner,
            input,
            standing,
            ..self.task(spec, claim)
        };
        let events = Some(JobEvents(events));
        let job = Job { id, state: state_seen, canceller, events, logs: logs_read };
        Ok(Recorded::Here(Box::new(task), job, held, tracked))
    }

    /// Claims the job `id` if no other process owns it and nothing of it has started or can start.
    /// Returns the claim and the number of the last attempt. Applies an earlier request to cancel
    /// the job to `canceller`.
    async fn unstarted(
        &self,
        id: &JobId,
        canceller: &Canceller,
    ) -> Result<Option<(Claim, u32, Held)>, Error> {
        let Some(claim) = self.journal().await?.claim(id).await? else { return Ok(None) };
        // Before the record is read, so that no request to cancel the job is missed.
        let held = self.hold(id, canceller);
        let record = claim.record().await?;
        if record.result.is_some() || record.committed().is_some() {
            return Ok(None);
        }
        if let Some(cancel) = &record.cancel {
            canceller.cancel_within(cancel.grace);
        }
        Ok(Some((claim, record.next_number().saturating_sub(1), held)))
    }
}

/// Adds the `labels` of the submission to `spec`.
fn add_labels(spec: &mut JobSpec, labels: &BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in labels {
        if spec.labels.insert(key.clone(), value.clone()).is_some() {
            let twice = "a label is set by the job and by its submission";
            return Err(Error::new(ErrorKind::InvalidSpec, twice).with("label", key));
        }
    }
    Ok(())
}

/// Checks the spec that was `submitted` against `policy`, without the service's own `labels`, and
/// with what the configuration sets for what the spec leaves open in `effective`.
async fn obeys(
    policy: &Arc<SpecPolicy>,
    submitted: &JobSpec,
    effective: &JobSpec,
    labels: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut spec = submitted.clone();
    spec.labels.retain(|key, _| !labels.contains_key(key));
    spec.security_profile = effective.security_profile;
    spec.timeout = effective.timeout;
    let policy = Arc::clone(policy);
    // It may look at the file system.
    let checked = tokio::task::spawn_blocking(move || policy.check(&spec)).await;
    checked.map_err(|error| {
        Error::new(ErrorKind::Internal, "failed to check the policy").caused_by(error)
    })??;
    Ok(())
}
