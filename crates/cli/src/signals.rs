//! Ctrl-C, TERM, and HUP, which a terminal sends when it is closed. In a command that runs a job, the
//! first signal cancels the job and the second kills it. In a command that only waits for a job, a
//! signal stops the waiting.

use std::sync::OnceLock;

use longshore::Canceller;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;
use crate::output;

/// Watches for signals and passes them on to `canceller` until dropped.
#[derive(Debug)]
pub struct Signals(tokio::task::JoinHandle<()>);

impl Signals {
    /// Begins to watch.
    ///
    /// # Errors
    /// If the handlers cannot be installed. Then nothing may be started, since it could not be
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

/// Receives Ctrl-C, TERM and HUP sent to this command from its creation on.
#[derive(Debug)]
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    /// `None` under nohup(1), which the command respects.
    hangup: Option<Signal>,
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
        let hangup = (!ignores_hangup())
            .then(|| signal(SignalKind::hangup()))
            .transpose()
            .map_err(failed)?;
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Waits for the next signal. Returns the exit code that a shell reports for a command killed
    /// by it.
    pub async fn seen(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            () = received(&mut self.hangup) => 129,
        }
    }
}

/// Waits for `signal`, for ever if there is none.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether HUP was ignored when this command was started, as under nohup(1). Cannot be determined
/// once it is watched, so the first answer counts.
fn ignores_hangup() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
        // The lowest bit is that of signal 1, which is HUP.
        mask.is_some_and(|mask| mask & 1 == 1)
    })
}
