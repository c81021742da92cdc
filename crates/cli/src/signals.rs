//! Ctrl-C and TERM: where a job is run, the first cancels the job, the second kills it; where it is
//! only waited for, they end the waiting.

use longshore::Canceller;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
        let mut asked = Interruption::watch()?;
        let task = tokio::spawn(async move {
            let mut seen = false;
            loop {
                asked.seen().await;
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

/// Ctrl-C and TERM to this command, from now on.
#[derive(Debug)]
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruption {
    /// Begins to watch.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn watch() -> Result<Self, CliError> {
        let failed = |e| CliError::failed(format!("failed to watch for signals: {e}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        Ok(Self { interrupt, terminate })
    }

    /// Waits for the next one; what a shell says of a command that it ended.
    pub async fn seen(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
        }
    }
}
