//! Jobs on a runner that is no longer configured, or is configured for another backend: to see them,
//! and to give them up.

use std::fmt;
use std::sync::Arc;

use longshore_core::{Capability, Error, ErrorKind, Handle, JobId, JobResult, Outcome, RunnerName};
use longshore_journal::{AttemptRecord, Record};
use tokio::time::timeout;

use crate::attempt_client::AttemptClient;
use crate::candidate::Candidate;
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::job_event::JobEvent;
use crate::leftover::{Fate, Leftover};
use crate::outages::SOON;
use crate::unrecorded::unrecorded;

impl Dispatcher {
    /// Returns the runner that something of the job may be on, if it is not configured, or is
    /// configured for another backend ([`Runner::reach`](longshore_core::Runner::reach)). Then the job
    /// can neither be followed nor removed, only [given up](Self::give_up).
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    pub async fn stranded_on(&self, record: &Record) -> Option<RunnerName> {
        let stranded = self.stranded(record).await.into_iter().next();
        stranded.map(|(attempt, _)| attempt.handle.runner.clone())
    }

    /// Gives up a job that is [stranded](Self::stranded_on): removes what is left of it on other
    /// runners, and deletes its record. If the job has not ended, the callers that wait for it
    /// receive [`Outcome::Lost`]. Returns the attempts that may be left: they may still run.
    ///
    /// To finish the job instead, configure its runner again.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the work goes on in the background to its end.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded; `InvalidSpec` if another process owns it or it is
    /// [on no such runner](Self::stranded_on); any error of another runner.
    pub async fn give_up(&self, job: &JobId) -> Result<Vec<Leftover>, Error> {
        let (dispatcher, job) = (self.clone(), job.clone());
        self.complete(async move { dispatcher.give_up_to_the_end(&job).await }).await
    }

    async fn give_up_to_the_end(&self, job: &JobId) -> Result<Vec<Leftover>, Error> {
        let refused = |why: &'static str| Error::new(ErrorKind::InvalidSpec, why).with("job", job);
        let Some(claim) = self.journal().await?.claim(job).await? else {
            return Err(refused("another process owns the job: wait for the job to end"));
        };
        let record = claim.record().await?;
        let left = self.out_of_reach(&record).await;
        let Some(first) = left.first() else {
            return Err(refused(
                "the job's runner is configured: cancel or remove the job instead",
            ));
        };
        for attempt in &record.attempts {
            if let Ok(candidate) = self.runner_of(&record, &attempt.handle).await {
                candidate.client(&attempt.handle, JobEventSink::discarding()).remove_once().await?;
            }
        }
        if record.result.is_none() {
            let message = format!("the job was given up: {}", first.why);
            let mut result = JobResult::new(job.clone(), Outcome::Lost { message });
            result.runner = record.committed().map(|attempt| attempt.handle.runner.clone());
            result.attempt = record.attempts.last().map(|a| a.handle.attempt.clone());
            result.passed_over.clone_from(&record.passed_over);
            claim.outcome(&result).await.map_err(unrecorded)?;
            let ended = JobEvent::Ended(Box::new(result));
            JobEventSink::unread(self.feed(), job).announce(&ended);
        }
        claim.removed().await.map_err(unrecorded)?;
        claim.forget().await.map_err(unrecorded)?;
        Ok(left)
    }

    /// Returns what may be left of the job of `record` where no runner reaches.
    pub(crate) async fn out_of_reach(&self, record: &Record) -> Vec<Leftover> {
        let state = if record.result.is_some() { "is over" } else { "has not ended" };
        let left = self.stranded(record).await.into_iter().map(|(attempt, why)| Leftover {
            runner: attempt.handle.runner.clone(),
            attempt: attempt.handle.attempt.clone(),
            why: format!("the job {state}, and {why}"),
            fate: Fate::Kept,
        });
        left.collect()
    }

    /// Returns the attempts that may be left where no runner reaches, and why none does. Of a job that
    /// has not ended, only the last attempt counts: the earlier ones provably never started.
    async fn stranded<'a>(&self, record: &'a Record) -> Vec<(&'a AttemptRecord, String)> {
        let attempts = match (&record.result, record.removed_at) {
            (_, Some(_)) => &[],
            (Some(_), None) => &record.attempts[..],
            (None, None) => record.committed().map_or(&[][..], std::slice::from_ref),
        };
        let mut stranded = Vec::new();
        for attempt in attempts {
            if let Err(unreached) = self.find(&attempt.handle).await {
                stranded.push((attempt, unreached.to_string()));
            }
        }
        stranded
    }

    /// Returns the runner for `handle`, if it is configured for the backend of the handle.
    async fn find(&self, handle: &Handle) -> Result<Arc<Candidate>, Unreached> {
        let candidate = self.candidate(&handle.runner).map_err(|_| Unreached::NotConfigured)?;
        match timeout(SOON, candidate.runner.reach(handle)).await {
            Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => {
                Err(Unreached::Elsewhere(error))
            }
            // Without such an answer, a call of the runner reports what fails.
            Ok(_) | Err(_) => Ok(candidate),
        }
    }

    /// Returns the runner of an attempt of the job of `record`.
    ///
    /// # Errors
    /// `InvalidSpec`, with what to do, if it is not configured, or is configured for another backend.
    pub(crate) async fn runner_of(
        &self,
        record: &Record,
        handle: &Handle,
    ) -> Result<Arc<Candidate>, Error> {
        self.find(handle).await.map_err(|unreached| {
            let advice = "to finish the job, or give the job up with `rm --force`";
            let error = match unreached {
                Unreached::NotConfigured => {
                    let setup = self.setup();
                    let names: Vec<_> =
                        setup.candidates.iter().map(|c| c.name().as_str()).collect();
                    let message = format!(
                        "the job is on the runner `{}`, which is not configured: configure it again \
                         {advice}",
                        handle.runner
                    );
                    Error::new(ErrorKind::InvalidSpec, message)
                        .with("configured", names.join(", "))
                }
                Unreached::Elsewhere(error) => {
                    let message = format!("{error}: choose that one again {advice}");
                    Error::new(ErrorKind::InvalidSpec, message)
                }
            };
            error.with("job", &record.id)
        })
    }

    /// Returns the client of an attempt of the job of `record`, whose runner has `capability`.
    ///
    /// # Errors
    /// `Unsupported` if the runner lacks it; as [`runner_of`](Self::runner_of).
    pub(crate) async fn able_client(
        &self,
        record: &Record,
        handle: &Handle,
        capability: Capability,
    ) -> Result<AttemptClient, Error> {
        let candidate = self.runner_of(record, handle).await?;
        if !candidate.runner.capabilities().has(capability) {
            let message = format!("the job's runner does not support {capability}");
            return Err(Error::new(ErrorKind::Unsupported, message).on(candidate.name()));
        }
        Ok(candidate.client(handle, JobEventSink::discarding()))
    }
}

/// Why an attempt cannot be reached.
#[derive(Debug)]
enum Unreached {
    /// Its runner is not configured.
    NotConfigured,
    /// Its runner is configured for another backend.
    Elsewhere(Error),
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => f.write_str("its runner is not configured"),
            Self::Elsewhere(error) => error.fmt(f),
        }
    }
}
