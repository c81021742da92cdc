//! Runs commands in recorded jobs, whichever process submitted them.

use longshore_core::{Capability, Error, Exec, ExecSpec, JobId};

use crate::dispatcher::Dispatcher;

impl Dispatcher {
    /// Runs a command in a job that runs, whichever process owns the job, as `docker exec` does:
    /// with the job's environment, working directory and user. The job's outcome and output do not
    /// change. The command ends with the job at the latest.
    ///
    /// The command's output is not part of the job's. To limit how long the command may take, limit
    /// the time for which its events are polled, and let the command end itself: nothing else ends
    /// it before the job.
    ///
    /// # Cancel safety
    /// If the future is dropped, the command may have started or not.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded or does not run, with its outcome; `InvalidSpec` if
    /// `spec` is invalid or the job's runner is not configured; `Unsupported` if the runner
    /// cannot run commands in a job, or not such a command; any error of the runner.
    pub async fn exec(&self, job: &JobId, spec: &ExecSpec) -> Result<Exec, Error> {
        spec.validate()?;
        self.in_running(job, Capability::Exec, async |client| {
            client.runner.exec(&client.handle, spec).await
        })
        .await
    }
}
