//! Calls about recorded jobs that run, whichever process submitted them.

use longshore_core::{Capability, Error, ErrorKind, JobId, Result};
use longshore_journal::{AttemptRecord, Record};

use crate::attempt_client::AttemptClient;
use crate::dispatcher::Dispatcher;

impl Dispatcher {
    /// Makes `call` to the runner of a job that runs, if the runner has `capability`.
    ///
    /// A job that is on record as running is not looked at first: the call fails if it has ended, and
    /// then the look says how.
    ///
    /// # Errors
    /// `NotFound` if the job is not recorded or does not run, with its outcome; as
    /// [`able_client`](Self::able_client); any error of `call`.
    pub(crate) async fn in_running<T>(
        &self,
        job: &JobId,
        capability: Capability,
        call: impl AsyncFnOnce(AttemptClient) -> Result<T>,
    ) -> Result<T> {
        let mut record = self.recorded(job).await?;
        if !record.has_begun() {
            record = self.look(job).await?;
        }
        let attempt = running(&record)?;
        let client = self.able_client(&record, &attempt.handle, capability).await?;
        match call(client).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                running(&self.look(job).await?)?;
                Err(error)
            }
            answer => answer,
        }
    }
}

/// Returns the attempt of `record` that runs, as far as is on record.
///
/// # Errors
/// `NotFound` if none does.
pub(crate) fn running(record: &Record) -> Result<&AttemptRecord> {
    let not_running = |why: String| Error::new(ErrorKind::NotFound, why).with("job", &record.id);
    if let Some(result) = &record.result {
        return Err(not_running(format!("the job has ended: it {}", result.outcome)));
    }
    record.committed().ok_or_else(|| not_running("the job has not started".to_owned()))
}
