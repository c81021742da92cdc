//! Follows a job that was submitted before, whichever process owns it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use longshore_core::{Error, JobId, JobResult, LogChunk, LogPosition};
use longshore_journal::{Attended, Journal, JournalError};
use tokio::sync::{mpsc, watch};

use crate::attempt_client::backoff;
use crate::cancel::Canceller;
use crate::event_sink::JobEventSink;
use crate::input::Incomplete;
use crate::job::State;
use crate::job_event::JobEvent;
use crate::task::Manner;
use crate::{Dispatcher, Stopped};

/// A job that is followed from its record.
pub(crate) struct Attached {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) journal: Journal,
    pub(crate) id: JobId,
    pub(crate) canceller: Canceller,
    pub(crate) sink: JobEventSink,
    /// Where the job's output goes if this process takes the job up.
    pub(crate) logs: Option<mpsc::Sender<LogChunk>>,
    /// Set if another task of this process gives the job its stdin.
    pub(crate) stdin: Option<Incomplete>,
    pub(crate) state: watch::Sender<State>,
    pub(crate) manner: Manner,
}

impl Attached {
    /// Waits for the process that owns the job. Takes the job up if that process ends first.
    pub(crate) async fn run(self) {
        let attended = {
            let mut cancel = std::pin::pin!(self.ask_to_cancel(self.canceller.graces()));
            tokio::select! {
                biased;
                never = &mut cancel => match never {},
                attended = self.journal.attend(&self.id) => attended,
            }
        };
        let taken_up = match attended {
            Ok(Attended::Ended(record)) => match record.result {
                Some(result) => {
                    if record.detached {
                        self.forward_stored_output().await;
                    }
                    return self.tell(result);
                }
                None => return,
            },
            Ok(Attended::Claimed(claim)) => self.dispatcher.clone().recover(self, claim).await,
            Err(error) => Err((self, error.into())),
            Ok(_) => return,
        };
        if let Err((attached, error)) = taken_up {
            attached.give_up(&error);
        }
    }

    /// Asks the process that owns the job to cancel it. Never returns.
    async fn ask_to_cancel(&self, mut graces: watch::Receiver<Option<Duration>>) -> Infallible {
        loop {
            let asked = *graces.borrow_and_update();
            if let Some(grace) = asked {
                let mut backoff = backoff(&self.id);
                while let Err(error) = self.journal.request_cancel(&self.id, grace).await {
                    if matches!(error, JournalError::NoSuchJob(_)) {
                        break;
                    }
                    tracing::warn!(job = %self.id, %error, "failed to ask for a cancel");
                    tokio::time::sleep(backoff.next_pause()).await;
                }
            }
            if graces.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Sends the job's stored output to the reader. The owner of a detached job passes its output
    /// on to no reader.
    async fn forward_stored_output(&self) {
        let Some(reader) = &self.logs else { return };
        let failed = |error: &Error| {
            tracing::warn!(job = %self.id, %error, "failed to read the job's output");
        };
        let read = self.dispatcher.logs(&self.id, LogPosition::START, false).await;
        let mut chunks = match read {
            Ok(chunks) => chunks,
            Err(error) => return failed(&error),
        };
        while let Some(chunk) = chunks.next().await {
            let sent = match chunk {
                Ok(chunk) => reader.send(chunk).await,
                Err(error) => return failed(&error),
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn tell(&self, result: JobResult) {
        self.state.send_replace(State::Done(Arc::new(result)));
    }

    /// Reports that the job cannot be followed from this process. Records nothing.
    pub(crate) fn give_up(&self, error: &Error) {
        self.sink.announce(&JobEvent::Stopped { message: error.to_string() });
        let stopped = Stopped::new(&self.id, error.to_string());
        self.state.send_replace(State::Stopped(stopped));
    }
}
