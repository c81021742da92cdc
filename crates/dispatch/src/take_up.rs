//! Continues a job whose process has ended.

use std::sync::Arc;
use std::time::Duration;

use longshore_core::{AttemptId, Error, ErrorKind, Event, NotRunReason, Outcome, Settled, Started};
use longshore_journal::{AttemptRecord, AttemptState, Record};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, Span};

use crate::attempt_client::{AttemptClient, EventStream};
use crate::candidate::Candidate;
use crate::dispatcher::Dispatcher;
use crate::settle::Settlement;
use crate::spans;
use crate::taken::{Found, Taken};
use crate::task::JobTask;

impl JobTask {
    /// Sees the job of `record` to its end. Its last attempt, if any, is on `candidate`. Never
    /// launches the job again if it may have started. If it had not, the attempt is fenced, and the
    /// job is over unless it is to be relaunched.
    pub(crate) async fn take_up(
        self,
        record: Record,
        candidate: Option<Arc<Candidate>>,
        dispatcher: &Dispatcher,
    ) {
        let span = record.committed().map_or_else(Span::current, |attempt| {
            spans::attempt(&attempt.handle.attempt, &attempt.handle.runner)
        });
        Box::pin(self.finish_attempt(record, candidate, dispatcher)).instrument(span).await;
    }

    async fn finish_attempt(
        mut self,
        record: Record,
        candidate: Option<Arc<Candidate>>,
        dispatcher: &Dispatcher,
    ) {
        self.restore(&record);
        let (Some(attempt), Some(candidate)) = (record.committed(), candidate) else {
            return self.not_started(&record, dispatcher).await;
        };
        let client = candidate.client(&attempt.handle, self.sink.clone());
        let id = attempt.handle.attempt.clone();
        let found = match &attempt.state {
            AttemptState::Started { .. } => started(attempt),
            _ => match self.settle(&client, &id, &left_behind()).await {
                Settlement::NeverStarted => {
                    if self.never_started(client).await {
                        self.not_started(&record, dispatcher).await;
                    }
                    return;
                }
                Settlement::MayHaveStarted => Found::MayHaveStarted,
                Settlement::Ended(report) => Found::Ended(report),
                Settlement::Unknown => Found::Unknown,
            },
        };
        let taken = taken(&record, attempt, &candidate, client, found);
        self.follow_to_end(taken).await;
    }

    /// Records what can be determined about the job of `record` within about `patience`, and
    /// releases it.
    pub(crate) async fn look(
        mut self,
        record: Record,
        candidate: Option<Arc<Candidate>>,
        patience: Duration,
    ) {
        self.restore(&record);
        let (Some(attempt), Some(candidate)) = (record.committed(), candidate) else {
            return self.over_unless_relaunched(&record).await;
        };
        let client = candidate.client(&attempt.handle, self.sink.clone());
        if !matches!(attempt.state, AttemptState::Started { .. }) {
            match client.settle(patience).await {
                Ok(Settled::NeverStarted) => {
                    if self.never_started(client).await {
                        self.over_unless_relaunched(&record).await;
                    }
                    return;
                }
                Ok(_) => {}
                Err(error) => return client.trouble(&error),
            }
        }
        match first_news(&client, patience).await {
            Some(Event::Ended(report)) => {
                let taken = taken(&record, attempt, &candidate, client, started(attempt));
                let result = self.result_of(&taken, report);
                self.record_outcome(&result).await;
            }
            Some(Event::Started(at)) if !matches!(attempt.state, AttemptState::Started { .. }) => {
                self.heed(self.claim.started(attempt.number, at, None).await);
            }
            _ => {}
        }
    }

    /// Restores the progress of the process before.
    fn restore(&mut self, record: &Record) {
        self.search.attempts = record.next_number().saturating_sub(1);
        self.search.last_attempt = record.attempts.last().map(|a| a.handle.attempt.clone());
        self.search.passed_over.clone_from(&record.passed_over);
        if let Some(cancel) = &record.cancel {
            self.canceller.cancel_within(cancel.grace);
        }
    }

    /// Records that the attempt of `client` never started. Returns false if that failed: the next
    /// process that takes the job up then finds the same state.
    async fn never_started(&mut self, client: AttemptClient) -> bool {
        let recorded = self.record_refusal(&left_behind()).await.is_ok();
        if recorded {
            self.search.fenced.push(client);
        }
        recorded
    }

    /// Ends a job of which nothing has started, unless another process goes on with it.
    async fn over_unless_relaunched(&mut self, record: &Record) {
        if self.relaunch_of(record).is_none() {
            self.end_without_start(self.interrupted(), None).await;
        }
    }

    pub(crate) fn interrupted(&self) -> Outcome {
        if self.canceller.token().is_cancelled() {
            return Outcome::Cancelled { code: None };
        }
        let message = left_behind().to_string();
        Outcome::NotRun { reason: NotRunReason::Interrupted, message }
    }
}

fn left_behind() -> Error {
    Error::new(
        ErrorKind::Internal,
        "the process that submitted the job ended before the job started; the job will never start",
    )
}

fn started(attempt: &AttemptRecord) -> Found {
    match &attempt.state {
        AttemptState::Started { started_at, image } => {
            Found::Started(Started::new(attempt.handle.clone(), *started_at, image.clone()))
        }
        _ => Found::MayHaveStarted,
    }
}

fn taken(
    record: &Record,
    attempt: &AttemptRecord,
    candidate: &Arc<Candidate>,
    client: AttemptClient,
    found: Found,
) -> Taken {
    let id: AttemptId = attempt.handle.attempt.clone();
    // A runner is called again only under the next pull policy of a list.
    let unanswered = |before: &AttemptRecord| {
        before.number < attempt.number && before.handle.runner == attempt.handle.runner
    };
    Taken {
        candidate: Arc::clone(candidate),
        attempt: id,
        number: attempt.number,
        client,
        found,
        after_no_answer: record.attempts.iter().any(unanswered),
    }
}

/// Returns the first event that shows whether the attempt runs or how it ended: `Started` once it is known
/// to run, or `Ended`. If neither is known within `patience`, returns `Started` for an attempt that has
/// started, and otherwise `None`.
pub(crate) async fn first_news(client: &AttemptClient, patience: Duration) -> Option<Event> {
    let mut feed = EventStream::open(client);
    let until = Instant::now() + patience;
    let mut started = None;
    loop {
        match timeout_at(until, feed.next()).await {
            Ok(Ok(event @ Event::Ended(_))) => return Some(event),
            Ok(Ok(event @ Event::Started(_))) => started = Some(event),
            Ok(Ok(Event::Running)) | Err(_) => return started,
            Ok(Ok(_)) => {}
            Ok(Err(error)) => client.trouble(&error),
        }
    }
}
