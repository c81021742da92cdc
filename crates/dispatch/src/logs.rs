//! The output of recorded jobs, whichever process submitted them.

use std::convert::Infallible;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::{
    Capability, Error, ErrorKind, Event, JobId, LogChunk, LogPosition, TimedChunk,
};
use longshore_journal::Record;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::attempt_client::{AttemptClient, EventStream};
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::job::CHUNKS_KEPT;
use crate::log_window::LogWindow;
use crate::output::{Piece, forward_output};

impl Dispatcher {
    /// Returns the output of a recorded job, from `since` on. With `follow`, the stream ends when
    /// the job has ended and all output has arrived; without it, the stream ends after the output
    /// that exists now.
    ///
    /// With `follow`, this waits while this process or another is still launching the job.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes, except that a job that no process launches any more may be
    /// settled in the background.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded, has not started, or was removed from its runner;
    /// `InvalidSpec` if its runner is not configured.
    pub async fn logs(
        &self,
        job: &JobId,
        since: LogPosition,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<LogChunk, Error>>, Error> {
        let client = self.client_of_output(job, follow).await?;
        if !follow {
            return Ok(client.runner.logs(&client.handle, since, false));
        }
        Ok(follow_logs(client, since))
    }

    /// Returns the output of a recorded job, from `since` on, with its times: the lines whose time
    /// is in `window`. With `follow`, the stream ends when the job has ended and all output has
    /// arrived, or two seconds after the end of the window if nothing more of it has arrived.
    ///
    /// # Cancel safety
    /// As [`logs`](Self::logs).
    ///
    /// # Errors
    /// As [`logs`](Self::logs); `Unsupported` if the job's runner does not know the times. If it
    /// knows those of some output only, such as that of an older version of it, the stream ends
    /// with `Unsupported` there.
    pub async fn timed_logs(
        &self,
        job: &JobId,
        since: LogPosition,
        window: LogWindow,
        follow: bool,
    ) -> Result<BoxStream<'static, Result<TimedChunk, Error>>, Error> {
        let client = self.client_of_output(job, follow).await?;
        if !client.runner.capabilities().log_times {
            let words = Capability::LogTimes.words();
            let message = format!("the job's runner does not support {words}");
            return Err(Error::new(ErrorKind::Unsupported, message).on(client.runner.name()));
        }
        // A window that has ended has all its output now.
        if !follow || window.is_over() {
            let chunks = client.runner.timed_logs(&client.handle, since, false);
            return Ok(window.filter(chunks, false));
        }
        Ok(window.filter(follow_logs(client, since), true))
    }

    /// Returns the runner with the output of `job`.
    async fn client_of_output(&self, job: &JobId, follow: bool) -> Result<AttemptClient, Error> {
        let record =
            if follow { self.begun(job).await? } else { self.journal().await?.record(job).await? };
        let none = |why: String| Error::new(ErrorKind::NotFound, why).with("job", job);
        let Some(attempt) = record.committed() else {
            return Err(none(match &record.result {
                Some(result) => format!("the job has no output: it {}", result.outcome),
                None => "the job has not started, and so has no output".to_owned(),
            }));
        };
        if record.removed_at.is_some() {
            return Err(none("the job's output was removed together with the job".to_owned()));
        }
        let candidate = self.runner_of(&record, &attempt.handle).await?;
        Ok(candidate.client(&attempt.handle, JobEventSink::discarding()))
    }

    /// Returns the record of a job once it has started or ended. A job that no process launches any
    /// more is settled first. If it cannot be settled, returns its record unchanged.
    pub(crate) async fn begun(&self, job: &JobId) -> Result<Record, Error> {
        loop {
            let record = self.journal().await?.until_begun(job).await?;
            if record.has_begun() {
                return Ok(record);
            }
            let record = self.look(job).await?;
            if record.has_begun() || !self.is_in_hand(job).await? {
                return Ok(record);
            }
        }
    }
}

/// Returns the output of an attempt from `since` to its end.
pub(crate) fn follow_logs<P: Piece>(
    client: AttemptClient,
    since: LogPosition,
) -> BoxStream<'static, Result<P, Error>> {
    let (sender, chunks) = mpsc::channel(CHUNKS_KEPT);
    let separate = client.runner.capabilities().separate_streams;
    tokio::spawn(async move {
        let ended = CancellationToken::new();
        let to_the_end = async {
            has_ended(&client).await;
            ended.cancel();
            std::future::pending::<Infallible>().await
        };
        let output = forward_output(&client, separate, sender, since, ended.clone());
        // The output has an end of its own. Events that never report the job's end do not delay it.
        tokio::select! {
            () = output => {}
            never = to_the_end => match never {},
        }
    });
    futures_util::stream::unfold(chunks, |mut chunks| async {
        let chunk = chunks.recv().await?;
        Some((Ok(chunk), chunks))
    })
    .boxed()
}

async fn has_ended(client: &AttemptClient) {
    let mut feed = EventStream::open(client);
    loop {
        match feed.next().await {
            Ok(Event::Ended(_)) => return,
            Ok(_) => {}
            Err(error) => client.trouble(&error),
        }
    }
}
