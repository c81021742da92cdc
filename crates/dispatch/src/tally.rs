//! What is remembered about a runner for those who ask for its status.

use std::sync::Arc;

use jiff::Timestamp;
use longshore_core::Error;
use parking_lot::Mutex;

use crate::runner_status::{LastProbe, RunnerError};

/// Remembers what happened on a runner. It decides nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<Seen>);

/// What happened on a runner.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) running: u32,
    pub(crate) last_error: Option<RunnerError>,
    pub(crate) last_probe: Option<LastProbe>,
}

/// A job that runs, until this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Arc<Tally>);

impl Tally {
    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().clone()
    }

    /// Counts a job that runs until the returned value is dropped.
    pub(crate) fn runs(self: &Arc<Self>) -> Running {
        self.0.lock().running += 1;
        Running(Arc::clone(self))
    }

    /// Remembers a refusal of a launch or failure of a probe.
    pub(crate) fn failed(&self, error: &Error) {
        self.0.lock().last_error = Some(RunnerError::new(error, Timestamp::now()));
    }

    /// Remembers a probe, which failed with `error` if at all, and returns what it found.
    pub(crate) fn probed(&self, error: Option<&Error>) -> LastProbe {
        let at = Timestamp::now();
        let error = error.map(|error| RunnerError::new(error, at));
        let mut seen = self.0.lock();
        if error.is_some() {
            seen.last_error.clone_from(&error);
        }
        let probe = LastProbe { at, error };
        seen.last_probe = Some(probe.clone());
        probe
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.lock().running -= 1;
    }
}
