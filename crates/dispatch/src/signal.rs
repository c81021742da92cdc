//! Sends signals to recorded jobs, whichever process submitted them.

use longshore_core::{Capability, Error, JobId, Signal};

use crate::dispatcher::Dispatcher;

impl Dispatcher {
    /// Sends a signal to the main process of a job that runs, whichever process owns the job.
    /// Unlike [`cancel`](Self::cancel), this does not end the job, unless the job ends because of the
    /// signal; then its outcome is its own.
    ///
    /// # Cancel safety
    /// If the future is dropped, the signal may have been sent or not.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded or does not run, with its outcome; `Unsupported` if its
    /// runner cannot send signals; `InvalidSpec` if its runner is not configured; any error of its
    /// runner.
    pub async fn signal(&self, job: &JobId, signal: Signal) -> Result<(), Error> {
        self.in_running(job, Capability::Signals, async |client| {
            client.runner.signal(&client.handle, signal).await
        })
        .await
    }
}
