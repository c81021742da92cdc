//! What processes with the same journal share about runners that were ready.

use longshore_core::RunnerName;

use crate::error::Result;
use crate::journal::Journal;
use crate::runner_record::Access;

impl Journal {
    /// Returns what is on record about `runner`, however old it is.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn access(&self, runner: &RunnerName) -> Result<Option<Access>> {
        let runner = runner.clone();
        self.0.store.read(move |store| store.access(&runner)).await
    }

    /// Puts on record that `runner` was ready, in place of an earlier record.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn record_access(&self, runner: &RunnerName, access: Access) -> Result<()> {
        let runner = runner.clone();
        self.0.store.write(move |store| store.record_access(&runner, &access)).await
    }

    /// Deletes what is on record about `runner`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn forget_access(&self, runner: &RunnerName) -> Result<()> {
        let runner = runner.clone();
        self.0.store.write(move |store| store.forget_access(&runner)).await
    }
}
