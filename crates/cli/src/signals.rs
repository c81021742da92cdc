//! Ctrl-C and TERM: the first cancels the job, the second kills it.

use longshore::Canceller;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::CliError;
use crate::output;

/// Watches for signals and passes them on to `canceller`, until dropped.
#[derive(Debug)]
pub struct Signals(tokio::task::JoinHandle<()>);

impl Signals {
    /// Begins to watch.
    ///
    /// # Errors
    /// If the handlers cannot be installed; then nothing may be started, for it could not be
    /// cancelled.
    pub fn watch(canceller: Canceller) -> Result<Self, CliError> {
        let failed = |e| CliError::failed(format!("failed to watch for signals: {e}"));
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let task = tokio::spawn(async move {
            let mut seen = false;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if seen {
                    output::say("killing the job");
                    canceller.kill();
                } else {
                    output::say("cancelling the job (once more to kill it)");
                    canceller.cancel();
                }
                seen = true;
            }
        });
        Ok(Self(task))
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.0.abort();
    }
}
