//! Gives jobs that are on a runner, but not in the journal, a record again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use longshore_core::{AttemptId, Error, Handle, JobId, PullPolicy, RunnerName, Settled};
use longshore_journal::{Claim, Journal, NewAttempt};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::attempt_client::CALL;
use crate::candidate::Candidate;
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::leftover::{Fate, Leftover};
use crate::unrecorded::unrecorded;

/// The jobs that were found on runners without a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Adopted {
    /// What was found.
    pub leftovers: Vec<Leftover>,
    /// Runners that could not be queried, and why. They may have further jobs.
    pub unasked: Vec<(RunnerName, String)>,
}

impl Dispatcher {
    /// Returns whether jobs may be on runners without a record, because the journal is new and
    /// replaces a lost one. [`adopt`](Self::adopt) finds them.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes.
    ///
    /// # Errors
    /// If the journal cannot be opened.
    pub async fn is_incomplete(&self) -> Result<bool, Error> {
        Ok(self.journal().await?.is_incomplete())
    }

    /// Finds this installation's jobs on its runners that have no record, and records them. What was
    /// submitted stays unknown: such a job has an empty specification
    /// ([`Record::is_adopted`](longshore_journal::Record::is_adopted)). Its output, its outcome and
    /// the ways to end and remove it are those of any other job.
    ///
    /// An attempt that never started is fenced and removed.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the work goes on in the background to its end.
    ///
    /// # Errors
    /// If the journal cannot be read or written. A runner that cannot be queried is not an error.
    pub async fn adopt(&self) -> Result<Adopted, Error> {
        let dispatcher = self.clone();
        self.complete(async move { dispatcher.adopt_all().await }).await
    }

    async fn adopt_all(&self) -> Result<Adopted, Error> {
        let journal = self.journal().await?;
        let mut adopted = Adopted::default();
        for candidate in &self.setup().candidates {
            match self.attempts_on(candidate).await {
                Ok(handles) => {
                    adopted.leftovers.extend(self.adopt_on(journal, candidate, &handles).await?);
                }
                Err(why) => adopted.unasked.push((candidate.name().clone(), why)),
            }
        }
        if adopted.unasked.is_empty() {
            journal.complete().map_err(unrecorded)?;
        }
        Ok(adopted)
    }

    /// Returns the attempts of this installation on a runner. An error says why it did not answer.
    pub(crate) async fn attempts_on(&self, candidate: &Candidate) -> Result<Vec<Handle>, String> {
        match timeout(CALL, candidate.runner.adopt(self.installation())).await {
            Ok(handles) => handles.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {CALL:?}")),
        }
    }

    /// Records the jobs of those of `handles` that have no record. Returns what was found about
    /// them.
    pub(crate) async fn adopt_on(
        &self,
        journal: &Journal,
        candidate: &Arc<Candidate>,
        handles: &[Handle],
    ) -> Result<Vec<Leftover>, Error> {
        // Ids of another form are not Longshore's.
        let ids =
            handles.iter().filter_map(|handle| Some((job_and_number(&handle.attempt)?, handle)));
        let mut unknown: BTreeMap<JobId, BTreeMap<Reverse<u32>, &Handle>> = BTreeMap::new();
        for ((job, number), handle) in ids {
            unknown.entry(job).or_default().insert(Reverse(number), handle);
        }
        let mut claims = Vec::new();
        for (job, attempts) in unknown {
            if let Some(claim) = journal.claim_unrecorded(&job).await.map_err(unrecorded)? {
                claims.push((claim, attempts));
            }
        }
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        // Another process may have removed a job and deleted its record after the list was made.
        // From the claims on, none can.
        let Ok(present) = self.attempts_on(candidate).await else { return Ok(Vec::new()) };
        let present: HashSet<_> = present.into_iter().map(|handle| handle.attempt).collect();
        let mut found = Vec::new();
        for (claim, attempts) in claims {
            let mut adopted = false;
            // The last attempt of a job is the one that may have started.
            for (Reverse(number), handle) in attempts {
                if present.contains(&handle.attempt) {
                    let attempt = NewAttempt::new(number, handle.clone(), PullPolicy::default());
                    let left = self.adopt_attempt(candidate, &claim, attempt, adopted).await?;
                    adopted |= left.fate == Fate::Adopted;
                    found.push(left);
                }
            }
            let job = claim.job().clone();
            drop(claim);
            if adopted {
                // Records its outcome if it has ended.
                self.look(&job).await?;
            }
        }
        Ok(found)
    }

    /// Records the job of `claim` with `attempt`, unless the attempt never started or the job was
    /// `adopted` before.
    async fn adopt_attempt(
        &self,
        candidate: &Arc<Candidate>,
        claim: &Claim,
        attempt: NewAttempt,
        adopted: bool,
    ) -> Result<Leftover, Error> {
        let client = candidate.client(&attempt.handle, JobEventSink::discarding());
        let left = |why: String, fate| Leftover::of(&client, why, fate);
        match client.settle(self.setup().settings.connect_timeout.get()).await {
            Ok(Settled::NeverStarted) => {
                Ok(Leftover::removed(&client, "it never started, and has no record").await)
            }
            Ok(_) if adopted => {
                Ok(left("a later attempt of its job was adopted".to_owned(), Fate::Kept))
            }
            Ok(_) => {
                claim.adopt(self.installation().clone(), attempt).await.map_err(unrecorded)?;
                Ok(left(format!("it had no record, and is now job {}", claim.job()), Fate::Adopted))
            }
            Err(error) => {
                Ok(left(format!("it has no record and may be running: {error}"), Fate::Kept))
            }
        }
    }
}

/// Returns the job of an attempt, whose id is `JOB-NUMBER`, and the number. Returns `None` for an id
/// that no attempt has.
pub(crate) fn job_and_number(attempt: &AttemptId) -> Option<(JobId, u32)> {
    let (job, number) = attempt.as_str().rsplit_once('-')?;
    let (job, number): (JobId, u32) = (job.parse().ok()?, number.parse().ok()?);
    (number > 0 && job.attempt(number) == *attempt).then_some((job, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_names_its_job_and_its_number() {
        let job: JobId = "a-b-2".parse().unwrap();
        assert_eq!(job_and_number(&job.attempt(13)), Some((job, 13)));
        for foreign in ["a-0", "a-007", "a-b", "7", "a-99999999999"] {
            assert_eq!(job_and_number(&foreign.parse().unwrap()), None, "{foreign}");
        }
    }
}
