//! What processes with the same journal share about runners that do not answer.

use jiff::Timestamp;
use longshore_core::RunnerName;

use crate::error::Result;
use crate::journal::Journal;
use crate::runner_record::Outage;

impl Journal {
    /// Returns what is on record about `runner`, however old it is.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn outage(&self, runner: &RunnerName) -> Result<Option<Outage>> {
        let runner = runner.clone();
        self.0.store.read(move |store| store.outage(&runner)).await
    }

    /// Puts an outage of `runner` on record, in place of an earlier one.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn record_outage(&self, runner: &RunnerName, outage: Outage) -> Result<()> {
        let runner = runner.clone();
        self.0.store.write(move |store| store.record_outage(&runner, &outage)).await
    }

    /// Extends `outage` to `until`. Returns false if another process has changed it meanwhile. Of
    /// several processes that find the same outage, exactly one can extend it.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn extend_outage(
        &self,
        runner: &RunnerName,
        outage: &Outage,
        until: Timestamp,
    ) -> Result<bool> {
        let (runner, known) = (runner.clone(), outage.until);
        self.0.store.write(move |store| store.extend_outage(&runner, known, until)).await
    }

    /// Deletes what is on record about `runner`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn forget_outage(&self, runner: &RunnerName) -> Result<()> {
        let runner = runner.clone();
        self.0.store.write(move |store| store.forget_outage(&runner)).await
    }
}
