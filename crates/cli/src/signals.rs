//! Ctrl-C, TERM and the end of the terminal (HUP). In a command that runs a job, the first signal
//! cancels the job and the second kills it. In a command that only waits for a job, a signal stops
//! the waiting.

use longshore::job::Canceller;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;
use crate::output;

/// Passes signals on to a job until dropped.
#[derive(Debug)]
pub struct Signals(tokio::task::JoinHandle<()>);

impl Signals {
    /// Passes on what `asked` has received since its creation, and will receive, to `canceller`.
    pub fn pass_on(mut asked: Interruption, canceller: Canceller) -> Self {
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
        Self(task)
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
    /// `None` if this command was started to ignore it, as by nohup.
    hangup: Option<Signal>,
}

impl Interruption {
    /// Begins to watch. To run a job, this must precede its submission: a signal during the
    /// submission would end this command and leave the job.
    ///
    /// # Errors
    /// If the handlers cannot be installed. Then nothing may be started, since it could not be
    /// cancelled.
    pub fn watch() -> Result<Self, CliError> {
        let failed = |e| CliError::failed(format!("failed to watch for signals: {e}"));
        let interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let hangup = match ignores_hangup() {
            true => None,
            false => Some(signal(SignalKind::hangup()).map_err(failed)?),
        };
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Waits for the next signal. Returns the exit code that a shell reports for a command killed
    /// by it.
    pub async fn seen(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            Some(_) = next(self.hangup.as_mut()) => 129,
        }
    }
}

/// Waits for the next signal. Without a `signal` to wait for, returns at once.
async fn next(signal: Option<&mut Signal>) -> Option<()> {
    signal?.recv().await
}

/// Whether this process ignores HUP. To handle a signal is to stop ignoring it, so this is asked
/// before.
pub fn ignores_hangup() -> bool {
    // The line `SigIgn` is a mask in which the lowest bit is signal 1, HUP (proc_pid_status(5)).
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 == 1)
}
