//! Sends signals on behalf of the job's owner.
//!
//! A signal of another client makes the end of a job doubtful; see [`Signals`]. So each signal that
//! Longshore sends has a mark, which every process finds.

use std::time::Duration;

use longshore_core::{Result, Signal};

use crate::backend::Backend;
use crate::client::Answer;
use crate::labels::{Decision, Mark};
use crate::location::Location;
use crate::marks::{read_mark, write_mark};
use crate::signals::Signals;

impl Backend {
    /// Sends `signal` to the main process of an attempt that runs.
    pub(crate) async fn signal(&self, location: &Location, signal: Signal) -> Result<()> {
        const FAILED: &str = "failed to send the job a signal";
        let container = self.running(location, FAILED).await?;
        let mark = Mark { decision: Decision::Signalled, grace: Duration::ZERO };
        let name = location.signal_name(signal.number());
        let written = write_mark(&self.engine, location, &name, mark).await;
        written.map_err(|fault| self.error(fault, FAILED, location))?;
        let signalled = self.engine.signal(&container, signal.name()).await;
        signalled.map_err(|fault| self.not_running_or(fault, FAILED, location))
    }

    /// Returns the signal of another client that may have caused an end with `code`.
    pub(crate) async fn foreign_cause(
        &self,
        location: &Location,
        mut signals: Signals,
        code: i32,
    ) -> Answer<Option<u32>> {
        while let Some(signal) = signals.cause(code) {
            let name = location.signal_name(i32::try_from(signal).unwrap_or_default());
            if read_mark(&self.engine, location, &name).await?.is_none() {
                return Ok(Some(signal));
            }
            signals = signals.without(signal);
        }
        Ok(None)
    }
}
