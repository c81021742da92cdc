//! Ctrl-C, Ctrl-\ (QUIT), TERM and the end of the terminal (HUP). In a command that runs a job, the
//! first signal cancels the job, the second kills it, and the third ends the command. In a command that
//! only waits for a job, a signal stops the waiting.

use longshore::job::Canceller;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::CliError;
use crate::{output, raw_mode};

/// Passes signals on to a job until dropped.
#[derive(Debug)]
pub struct Signals(tokio::task::JoinHandle<()>);

impl Signals {
    /// Passes on what `asked` has received since its creation, and will receive, to `canceller`.
    pub fn pass_on(mut asked: Interruption, canceller: Canceller) -> Self {
        let task = tokio::spawn(async move {
            asked.seen().await;
            output::say("cancelling the job (once more to kill it)");
            canceller.cancel();
            asked.seen().await;
            output::say("killing the job");
            canceller.kill();
            // Its output may have a reader that reads no more, and does not end either.
            let code = asked.seen().await;
            output::say("leaving: the job may not have ended yet");
            raw_mode::leave();
            std::process::exit(code.into());
        });
        Self(task)
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Receives Ctrl-C, Ctrl-\, TERM and HUP sent to this command from its creation on.
#[derive(Debug)]
pub struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if this command was started to ignore it, as by a script in the background.
    quit: Option<Signal>,
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
        let ignored = Ignored::now();
        let unless_ignored = |kind: SignalKind| match ignored.has(kind) {
            true => Ok(None),
            false => signal(kind).map(Some).map_err(failed),
        };
        let quit = unless_ignored(SignalKind::quit())?;
        let hangup = unless_ignored(SignalKind::hangup())?;
        Ok(Self { interrupt, terminate, quit, hangup })
    }

    /// Waits for the next signal. Returns the exit code that a shell reports for a command killed
    /// by it.
    pub async fn seen(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => 130,
            _ = self.terminate.recv() => 143,
            Some(_) = next(self.quit.as_mut()) => 131,
            Some(_) = next(self.hangup.as_mut()) => 129,
        }
    }
}

/// Waits for the next signal. Without a `signal` to wait for, returns at once.
async fn next(signal: Option<&mut Signal>) -> Option<()> {
    signal?.recv().await
}

/// The signals that this process ignores. To handle a signal is to stop ignoring it, so this is read
/// before.
#[derive(Clone, Copy, Debug)]
pub struct Ignored(u64);

impl Ignored {
    /// Reads them from the system.
    pub fn now() -> Self {
        // The line `SigIgn` is a mask in which the lowest bit is signal 1 (proc_pid_status(5)).
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
        Self(mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default())
    }

    /// Returns whether the signal `kind` is ignored.
    pub fn has(self, kind: SignalKind) -> bool {
        let bit = u32::try_from(kind.as_raw_value().saturating_sub(1)).ok();
        let bit = bit.and_then(|bit| 1_u64.checked_shl(bit)).unwrap_or_default();
        self.0 & bit != 0
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn ctrl_backslash_asks_for_the_end_and_does_not_kill_the_command() {
        // The standard library ignores it.
        let ignored = Ignored::now();
        assert!(ignored.has(SignalKind::pipe()) && !ignored.has(SignalKind::child()));
        if ignored.has(SignalKind::quit()) {
            println!("unsupported: this test was started in the background");
            return;
        }
        let mut asked = Interruption::watch().unwrap();
        kill_process(getpid(), Signal::QUIT).unwrap();
        assert_eq!(asked.seen().await, 131);
    }
}
