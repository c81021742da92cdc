//! The container of a job that runs.

use longshore_core::{Error, ErrorKind, Result};

use crate::backend::Backend;
use crate::fault::Fault;
use crate::location::Location;
use crate::outcome::Phase;

impl Backend {
    /// Returns the id of an attempt's container. `failed` says what cannot be done without it.
    ///
    /// # Errors
    /// `NotFound` if the job does not run.
    pub(crate) async fn running(
        &self,
        location: &Location,
        failed: &'static str,
    ) -> Result<String> {
        let found = self.inspect(location).await;
        let found = found.map_err(|fault| self.error(fault, failed, location))?;
        let runs = |phase: &Phase| matches!(phase, Phase::Running { .. } | Phase::Restarted { .. });
        Ok(found.filter(|container| runs(&container.phase)).ok_or_else(not_running)?.id)
    }

    /// Returns the error for a request that needs the container to run.
    pub(crate) fn not_running_or(
        &self,
        fault: Fault,
        failed: &'static str,
        location: &Location,
    ) -> Error {
        match &fault {
            // It has ended in the meantime, or is paused.
            Fault::Answered { status: 404 | 409, message } => {
                not_running().caused_by(message.trim().to_owned())
            }
            _ => self.error(fault, failed, location),
        }
    }
}

fn not_running() -> Error {
    Error::new(ErrorKind::NotFound, "the job does not run")
}
