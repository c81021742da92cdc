//! Connects to recorded jobs that run: to their output from now on, and to their terminals.

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use longshore_core::{
    AttachOutput, AttachSpec, Attachment, Capability, ErrorKind, JobId, LogChunk, LogPosition,
    Result,
};

use crate::attempt_client::AttemptClient;
use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::logs::follow_logs;
use crate::running::running;

impl Dispatcher {
    /// Connects to a job that runs, whichever process owns it: to its output from now on, and to its
    /// terminal. Waits while this process or another is still launching the job.
    ///
    /// Several processes may be connected at once. Unlike [`attach`](Self::attach), this does not
    /// follow the job.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing changes, except that a job that no process launches any more may be
    /// settled in the background.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded or does not run; `Unsupported` if the job has a terminal
    /// and its runner has no longer that capability; `InvalidSpec` if its runner is not configured;
    /// any error of its runner.
    pub async fn attach_to(&self, job: &JobId, spec: AttachSpec) -> Result<Attachment> {
        let record = self.begun(job).await?;
        let attempt = running(&record)?;
        let tty = record.spec.tty;
        let client = match tty {
            true => self.able_client(&record, &attempt.handle, Capability::Tty).await?,
            false => {
                let candidate = self.runner_of(&record, &attempt.handle).await?;
                candidate.client(&attempt.handle, JobEventSink::discarding())
            }
        };
        let mut wanted = AttachSpec::default();
        wanted.output = spec.output;
        wanted.stdin = spec.stdin && tty && record.spec.stdin;
        match client.runner.attach(&client.handle, &wanted).await {
            Err(error) if error.kind() == ErrorKind::Unsupported && !tty => {
                let wanted = spec.output == AttachOutput::FromNow;
                let output = if wanted { Some(from_now(client).await?) } else { None };
                Ok(Attachment::new(output))
            }
            attached => attached.map_err(|error| error.on(client.runner.name())),
        }
    }
}

/// Returns the output from now on, by reading all that is before.
async fn from_now(client: AttemptClient) -> Result<BoxStream<'static, Result<LogChunk>>> {
    let mut end = LogPosition::START;
    let mut chunks = client.runner.logs(&client.handle, end, false);
    while let Some(chunk) = chunks.next().await {
        end.advance(&chunk?);
    }
    Ok(follow_logs(client, end))
}
