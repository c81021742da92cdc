//! Finds and removes what is left of jobs that no process will return to: on the backends, by
//! label, and in the journal.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::adopt::job_and_number;
use crate::candidate::Candidate;
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::leftover::{Fate, Leftover};
use crate::take_up::first_news;
use crate::unrecorded::unrecorded;
use jiff::{SignedDuration, Timestamp};
use longshore_core::{Error, ErrorKind, Event, Handle, JobId, Outcome, RunnerName, Settled};
use longshore_journal::{Journal, JournalError, Record};
use serde::{Deserialize, Serialize};

/// What the reaper found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Reaped {
    /// What is or was left on backends.
    pub leftovers: Vec<Leftover>,
    /// Runners that could not be queried, and why.
    pub unasked: Vec<(RunnerName, String)>,
    /// Jobs whose record was deleted.
    pub forgotten: Vec<JobId>,
}

/// The options of one run of the reaper.
#[derive(Clone, Copy, Debug)]
struct Manner {
    /// Jobs that ended before this time are removed.
    before: Timestamp,
    dry_run: bool,
}

/// What the journal knows about an attempt on a backend.
enum Standing {
    /// A process owns it, it still runs, or it is still kept.
    Expected,
    /// It has no record.
    Unrecorded,
    /// It is on record as lost.
    Lost,
    /// It is over and no longer needed, for this reason.
    Over(String),
}

impl Dispatcher {
    /// Removes what this installation has left on its runners and no process will return to: jobs
    /// that ended longer than `older_than` ago (`None`: `job.retention`), and attempts that never
    /// started. First [looks](Self::look) at each job that no process owns, and [adopts](Self::adopt)
    /// jobs that have no record: their age counts from now. Jobs of other processes of the
    /// installation that have ended are [ended and removed](Self::remove_abandoned). With `dry_run`,
    /// nothing changes.
    ///
    /// What may be left on a runner that is not configured stays, and is reported as
    /// [`Fate::Kept`]. Attempts of other installations are never found, and so never touched. Several processes may
    /// call this at once: a job that another one forgets meanwhile is passed over.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the work goes on in the background to its end.
    ///
    /// # Errors
    /// If the journal cannot be read or written. A runner that cannot be queried is not an error.
    pub async fn gc(&self, older_than: Option<Duration>, dry_run: bool) -> Result<Reaped, Error> {
        let dispatcher = self.clone();
        self.complete(async move { dispatcher.collect(older_than, dry_run).await }).await
    }

    async fn collect(&self, older_than: Option<Duration>, dry_run: bool) -> Result<Reaped, Error> {
        let journal = self.journal().await?;
        let age = older_than.unwrap_or_else(|| self.setup().settings.retention.get());
        if !dry_run {
            for job in journal.unfinished().await.map_err(unrecorded)? {
                // Not found: another process has forgotten it meanwhile.
                if let Err(error) = self.look(&job).await
                    && error.kind() != ErrorKind::NotFound
                {
                    return Err(error);
                }
            }
        }
        let age_signed = SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX);
        // After the looks, so that an age of zero includes the ends that they have just recorded.
        let before = Timestamp::now().checked_sub(age_signed).unwrap_or(Timestamp::MIN);
        let manner = Manner { before, dry_run };
        let mut reaped = Reaped::default();
        let mut seen = HashMap::new();
        for candidate in &self.setup().candidates {
            let handles = match self.attempts_on(candidate).await {
                Ok(handles) => handles,
                Err(why) => {
                    reaped.unasked.push((candidate.name().clone(), why));
                    continue;
                }
            };
            let adopted = match dry_run {
                true => Vec::new(),
                false => self.adopt_on(journal, candidate, &handles).await?,
            };
            let recorded =
                |handle: &Handle| adopted.iter().all(|left| left.attempt != handle.attempt);
            for handle in handles.into_iter().filter(recorded) {
                let reaping = reap(journal, candidate, &handle, manner, &mut seen);
                reaped.leftovers.extend(reaping.await?);
            }
            reaped.leftovers.extend(adopted);
            self.reap_abandoned(candidate, dry_run, &mut reaped).await?;
        }
        self.report_stranded(journal, &mut reaped).await?;
        if !dry_run {
            if reaped.unasked.is_empty() {
                journal.complete().map_err(unrecorded)?;
            }
            self.forget_removed(journal, manner, &mut reaped).await?;
            reaped.forgotten = journal.sweep(age, Timestamp::now()).await.map_err(unrecorded)?;
        }
        Ok(reaped)
    }

    /// Reports what may be left on runners that are not configured.
    async fn report_stranded(&self, journal: &Journal, reaped: &mut Reaped) -> Result<(), Error> {
        for job in journal.unfinished().await.map_err(unrecorded)? {
            // The owner cleans up.
            if journal.is_claimed(&job).map_err(unrecorded)? {
                continue;
            }
            match journal.record(&job).await {
                Ok(record) => reaped.leftovers.extend(self.out_of_reach(&record).await),
                // Another process has forgotten it meanwhile.
                Err(JournalError::NoSuchJob(_)) => {}
                Err(error) => return Err(unrecorded(error)),
            }
        }
        Ok(())
    }

    /// Records which jobs have left nothing behind: jobs that have ended, if every runner that they
    /// were on answered and has nothing of them any more.
    async fn forget_removed(
        &self,
        journal: &Journal,
        manner: Manner,
        reaped: &mut Reaped,
    ) -> Result<(), Error> {
        for job in journal.unfinished().await.map_err(unrecorded)? {
            let claim = match journal.claim(&job).await {
                Ok(Some(claim)) => claim,
                // Another process holds it, or has forgotten it meanwhile.
                Ok(None) | Err(JournalError::NoSuchJob(_)) => continue,
                Err(error) => return Err(unrecorded(error)),
            };
            let record = claim.record().await.map_err(unrecorded)?;
            let over = record.ended_at.is_some_and(|at| at < manner.before);
            if over && self.clear(&record, manner, reaped).await {
                claim.removed().await.map_err(unrecorded)?;
            }
        }
        Ok(())
    }

    /// Removes what is left of an ended job. Returns whether nothing is.
    async fn clear(&self, record: &Record, manner: Manner, reaped: &mut Reaped) -> bool {
        let mut clear = true;
        for attempt in &record.attempts {
            clear &= self.clear_attempt(record, &attempt.handle, manner, reaped).await;
        }
        clear
    }

    /// Removes an attempt of an ended job. Returns whether nothing is left of it. An attempt that
    /// lost its labels is only found by its handle.
    async fn clear_attempt(
        &self,
        record: &Record,
        handle: &Handle,
        manner: Manner,
        reaped: &mut Reaped,
    ) -> bool {
        let Ok(candidate) = self.candidate(&handle.runner) else { return false };
        if reaped.unasked.iter().any(|(runner, _)| *runner == handle.runner) {
            return false;
        }
        if let Some(known) = reaped.leftovers.iter().find(|l| l.attempt == handle.attempt) {
            return known.fate == Fate::Removed;
        }
        let why = if is_lost(record) {
            stray(&candidate, handle, manner).await
        } else {
            Ok("the job is over, and this may have been left behind".to_owned())
        };
        let left = remove(&candidate, handle, manner, why).await;
        let clear = left.fate == Fate::Removed;
        // Most often, there was nothing to remove.
        reaped.leftovers.extend((!clear).then_some(left));
        clear
    }
}

/// Decides about the attempt at `handle`. Returns `None` if it is where it should be.
async fn reap(
    journal: &Journal,
    candidate: &Arc<Candidate>,
    handle: &Handle,
    manner: Manner,
    seen: &mut HashMap<JobId, Option<Record>>,
) -> Result<Option<Leftover>, Error> {
    let why = match standing(journal, handle, manner, seen).await? {
        Standing::Expected => return Ok(None),
        Standing::Over(why) => Ok(why),
        Standing::Lost => stray(candidate, handle, manner).await,
        // Another process has just recorded it, or deleted its record.
        Standing::Unrecorded if !manner.dry_run => return Ok(None),
        Standing::Unrecorded => {
            Err("it has no record: it would be adopted, or removed if it never started".to_owned())
        }
    };
    Ok(Some(remove(candidate, handle, manner, why).await))
}

/// Removes the attempt at `handle`, unless `why` is an error that says why it stays.
async fn remove(
    candidate: &Arc<Candidate>,
    handle: &Handle,
    manner: Manner,
    why: Result<String, String>,
) -> Leftover {
    let client = candidate.client(handle, JobEventSink::discarding());
    match why {
        Err(why) => Leftover::of(&client, why, Fate::Kept),
        Ok(why) if manner.dry_run => Leftover::of(&client, why, Fate::Remove),
        Ok(why) => Leftover::removed(&client, why).await,
    }
}

async fn standing(
    journal: &Journal,
    handle: &Handle,
    manner: Manner,
    seen: &mut HashMap<JobId, Option<Record>>,
) -> Result<Standing, Error> {
    let Some((job, _)) = job_and_number(&handle.attempt) else { return Ok(Standing::Unrecorded) };
    if !seen.contains_key(&job) {
        let record = match journal.record(&job).await {
            Ok(record) => Some(record),
            Err(JournalError::NoSuchJob(_)) => None,
            Err(error) => return Err(unrecorded(error)),
        };
        seen.insert(job.clone(), record);
    }
    let Some(Some(record)) = seen.get(&job) else { return Ok(Standing::Unrecorded) };
    // The owner cleans up.
    if journal.is_claimed(&job).map_err(unrecorded)? {
        return Ok(Standing::Expected);
    }
    Ok(match record.ended_at {
        None => Standing::Expected,
        Some(at) if at < manner.before && is_lost(record) => Standing::Lost,
        Some(_) if record.removed_at.is_some() => {
            Standing::Over("the job is over, and this was left behind".to_owned())
        }
        Some(at) if at < manner.before => Standing::Over(format!("the job ended at {at}")),
        Some(_) => Standing::Expected,
    })
}

fn is_lost(record: &Record) -> bool {
    let outcome = record.result.as_ref().map(|result| &result.outcome);
    matches!(outcome, Some(Outcome::Lost { .. }))
}

/// Returns why an attempt that is on record as lost may be removed. An `Err` says why it may not.
async fn stray(
    candidate: &Arc<Candidate>,
    handle: &Handle,
    manner: Manner,
) -> Result<String, String> {
    const KNOWN: &str = "it is on record as lost";
    let client = candidate.client(handle, JobEventSink::discarding());
    match first_news(&client, candidate.connect_timeout()).await {
        Some(Event::Ended(_)) => Ok(format!("it has ended, and {KNOWN}")),
        Some(_) => Err(format!("it is running, although {KNOWN}")),
        None if manner.dry_run => Ok(format!("{KNOWN}; it is removed unless it has started")),
        None => match client.settle(candidate.connect_timeout()).await {
            Ok(Settled::NeverStarted) => Ok(format!("it never started, and {KNOWN}")),
            Ok(_) => Err(format!("it may be running, although {KNOWN}")),
            Err(error) => Err(format!("it may be running, although {KNOWN}: {error}")),
        },
    }
}
