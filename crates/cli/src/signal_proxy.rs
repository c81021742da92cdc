//! Passes the signals that this command receives on to a job, as `docker attach` does.

use futures::stream::{FuturesUnordered, StreamExt};
use longshore::job::{Canceller, Signal};
use longshore::{Dispatcher, ErrorKind, JobId};
use tokio::signal::unix::{self, SignalKind};

use crate::error::CliError;
use crate::output;
use crate::signals::Ignored;

/// The signals that are passed on.
const PASSED_ON: [&str; 6] = ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"];

/// Receives signals from its creation on.
#[derive(Debug)]
pub struct SignalProxy {
    dispatcher: Dispatcher,
    job: JobId,
    listeners: Vec<(Signal, unix::Signal)>,
}

/// Passes signals on until dropped.
#[derive(Debug)]
pub struct PassingOn(tokio::task::JoinHandle<()>);

impl SignalProxy {
    /// Begins to receive signals for `job`.
    ///
    /// # Errors
    /// If the handlers cannot be installed.
    pub fn watch(dispatcher: &Dispatcher, job: &JobId) -> Result<Self, CliError> {
        let ignored = Ignored::now();
        let mut listeners = Vec::new();
        for name in PASSED_ON {
            let Ok(signal) = name.parse::<Signal>() else { continue };
            let kind = SignalKind::from_raw(signal.number());
            if name == "HUP" && ignored.has(kind) {
                continue;
            }
            let listener = unix::signal(kind)
                .map_err(|e| CliError::failed(format!("failed to watch for signals: {e}")))?;
            listeners.push((signal, listener));
        }
        Ok(Self { dispatcher: dispatcher.clone(), job: job.clone(), listeners })
    }

    /// Passes on what has arrived and will arrive. On a runner that cannot send signals, the first
    /// that asks for the job's end cancels the job through `canceller`, and the second kills it.
    pub fn pass_on(self, canceller: Canceller) -> PassingOn {
        let Self { dispatcher, job, listeners } = self;
        PassingOn(tokio::spawn(async move {
            let mut arriving: FuturesUnordered<_> = listeners.into_iter().map(next).collect();
            let mut cancelled = false;
            while let Some((signal, listener)) = arriving.next().await {
                arriving.push(next((signal, listener)));
                match dispatcher.signal(&job, signal).await {
                    Ok(()) => {}
                    Err(error)
                        if error.kind() == ErrorKind::Unsupported && asks_for_the_end(signal) =>
                    {
                        let what = if cancelled { "killing" } else { "cancelling" };
                        output::say(&format!("{error}: {what} the job"));
                        if cancelled {
                            canceller.kill()
                        } else {
                            canceller.cancel()
                        }
                        cancelled = true;
                    }
                    // The job's end is reported by itself.
                    Err(error) if error.kind() == ErrorKind::NotFound => {}
                    Err(error) => output::warn(&format!("the job does not get {signal}: {error}")),
                }
            }
        }))
    }
}

impl Drop for PassingOn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn next((signal, mut listener): (Signal, unix::Signal)) -> (Signal, unix::Signal) {
    if listener.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
    (signal, listener)
}

fn asks_for_the_end(signal: Signal) -> bool {
    matches!(signal.name(), "HUP" | "INT" | "QUIT" | "TERM")
}
