//! Removes the attempts of other processes of the installation that have ended.

use std::sync::Arc;

use longshore_core::{Error, Handle};
use longshore_journal::{Journal, JournalError};
use tokio::time::timeout;

use crate::adopt::job_and_number;
use crate::attempt_client::CALL;
use crate::candidate::Candidate;
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::leftover::{Fate, Leftover};
use crate::reaper::Reaped;
use crate::unrecorded::unrecorded;

impl Dispatcher {
    /// Ends and removes the attempts that a backend ties to a process of this installation that has
    /// ended ([`Runner::abandoned`](longshore_core::Runner::abandoned)), as [`gc`](Self::gc) does
    /// too. For an installation whose processes have journals of their own: an attempt that is on
    /// record here stays.
    ///
    /// # Cancel safety
    /// If the future is dropped after its first poll, the work goes on in the background to its end.
    ///
    /// # Errors
    /// If the journal cannot be read. A runner that cannot be queried is not an error.
    pub async fn remove_abandoned(&self) -> Result<Reaped, Error> {
        let dispatcher = self.clone();
        self.complete(async move {
            let mut reaped = Reaped::default();
            for candidate in &dispatcher.setup().candidates {
                dispatcher.reap_abandoned(candidate, false, &mut reaped).await?;
            }
            Ok(reaped)
        })
        .await
    }

    /// Removes what is abandoned on a runner; with `dry_run`, only reports it.
    pub(crate) async fn reap_abandoned(
        &self,
        candidate: &Arc<Candidate>,
        dry_run: bool,
        reaped: &mut Reaped,
    ) -> Result<(), Error> {
        let asking = candidate.runner.abandoned(self.installation());
        let found = match timeout(CALL, asking).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                reaped.unasked.push((candidate.name().clone(), error.to_string()));
                return Ok(());
            }
            Err(_) => {
                let why = format!("no answer within {CALL:?}");
                reaped.unasked.push((candidate.name().clone(), why));
                return Ok(());
            }
        };
        for (handle, why) in found {
            if is_recorded(self.journal().await?, &handle).await? {
                continue;
            }
            let client = candidate.client(&handle, JobEventSink::discarding());
            reaped.leftovers.push(match dry_run {
                true => Leftover::of(&client, why, Fate::Remove),
                false => Leftover::removed(&client, why).await,
            });
        }
        Ok(())
    }
}

/// Returns whether the job of an attempt has a record, which then decides about the attempt.
async fn is_recorded(journal: &Journal, handle: &Handle) -> Result<bool, Error> {
    let Some((job, _)) = job_and_number(&handle.attempt) else { return Ok(false) };
    match journal.record(&job).await {
        Ok(_) => Ok(true),
        Err(JournalError::NoSuchJob(_)) => Ok(false),
        Err(error) => Err(unrecorded(error)),
    }
}
