//! Follows all unfinished jobs, such as after a restart of a service.

use longshore_core::{Error, JobId};
use longshore_journal::Filter;

use crate::{Dispatcher, Job};

impl Dispatcher {
    /// Follows each recorded job that has not ended, as [`attach`](Self::attach) does. Returns the
    /// jobs, newest first, each with the reason if it cannot be followed.
    ///
    /// A service calls it when it starts. It takes up the jobs of a process that was killed, and
    /// waits for those that another process still has, such as the one that the service replaces.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the jobs are followed, as if their [`Job`] had been dropped.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn attach_all(&self) -> Result<Vec<(JobId, Result<Job, Error>)>, Error> {
        let mut jobs = Vec::new();
        let mut filter = Filter::default().not_ended();
        loop {
            let page = self.records(filter.clone()).await?;
            let Some(last) = page.last() else { return Ok(jobs) };
            filter = filter.after(last.cursor());
            for record in page {
                let job = self.attach(&record.id).await;
                jobs.push((record.id, job));
            }
        }
    }
}
