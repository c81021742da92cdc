//! Gives a job its stdin from another process than the one that submitted it.

use longshore_core::{Error, ErrorKind, JobId};
use tokio::io::AsyncRead;

use crate::dispatcher::Dispatcher;
use crate::event_sink::JobEventSink;
use crate::job::Job;
use crate::stdin::Late;
use crate::task::Manner;

impl Dispatcher {
    /// As [`attach`](Self::attach), and gives the job what `source` returns as stdin, and then end
    /// of file. The job was submitted with
    /// [`with_stdin_later`](crate::Submission::with_stdin_later) and has started. Once this returns,
    /// the stdin is open, and the process that submitted the job may end.
    ///
    /// # Cancel safety
    /// If the future is dropped, the job may have received an empty stdin.
    ///
    /// # Errors
    /// As [`attach`](Self::attach); `InvalidSpec` if the job has not started or has no stdin; an
    /// error if its runner cannot open the stdin, for example because another process has.
    pub async fn attach_with_stdin(
        &self,
        job: &JobId,
        source: impl AsyncRead + Send + Unpin + 'static,
    ) -> Result<Job, Error> {
        let record = self.journal().await?.record(job).await?;
        let (Some(attempt), Some(candidate), true) =
            (record.committed(), self.candidate_of(&record).await?, record.spec.stdin)
        else {
            let message = "the job has not started, or it has no stdin";
            return Err(Error::new(ErrorKind::InvalidSpec, message));
        };
        let client = candidate.client(&attempt.handle, JobEventSink::discarding());
        let late = Late::open(client, Box::new(source)).await?;
        self.attach_and_feed(&record, Manner::Kept, false, Some(late)).await
    }
}
