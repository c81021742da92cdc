//! The terminal of this command, while it is the terminal of a job.

use std::io::{self, IsTerminal};

use longshore::job::{TerminalSize, TerminalSizes};
use longshore::runner::JobStdin;
use rustix::termios::tcgetwinsize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};

use crate::detach_keys::{DetachKeys, Watch};
use crate::error::CliError;
use crate::output;
use crate::raw_mode::RawMode;
use crate::stdin::Input;

/// How much is read at once.
const BUFFER_BYTES: usize = 4096;

/// Checks that this command's stdin is a terminal, as that of a job is to be.
///
/// # Errors
/// If it is not.
pub fn check_input() -> Result<(), CliError> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(CliError::failed(
        "the input device is not a TTY: without --tty, --interactive passes on a pipe or a file",
    ))
}

/// Returns the size of this command's terminal, if it has one.
pub fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(io::stdout()).or_else(|_| tcgetwinsize(io::stdin())).ok()?;
    Some(TerminalSize::new(size.ws_col, size.ws_row)).filter(|it| it.width > 0 && it.height > 0)
}

/// What this command does with its terminal.
#[derive(Debug)]
pub struct Manner<'a> {
    /// Whether what is typed goes to the job.
    pub interactive: bool,
    /// The keys that end the connection.
    pub keys: &'a DetachKeys,
    /// Whether the job was there before, so that its programs must draw again what they show.
    pub redraw: bool,
}

/// The connection of this command's terminal to that of a job.
pub struct Session<'a> {
    sizes: Option<TerminalSizes>,
    stdin: Option<JobStdin>,
    manner: Manner<'a>,
    raw: Option<RawMode>,
}

impl<'a> Session<'a> {
    /// Connects this command's terminal to one whose size `sizes` changes and that takes input by
    /// `stdin`.
    ///
    /// # Errors
    /// If the mode of this command's terminal cannot be changed.
    pub fn begin(
        sizes: Option<TerminalSizes>,
        stdin: Option<JobStdin>,
        manner: Manner<'a>,
    ) -> Result<Self, CliError> {
        let stdin = stdin.filter(|_| manner.interactive);
        let raw = stdin.is_some() && io::stdin().is_terminal();
        let raw = raw.then(RawMode::enter).transpose().map_err(|error| {
            CliError::failed(format!("failed to change the mode of the terminal: {error}"))
        })?;
        Ok(Self { sizes, stdin, manner, raw })
    }

    /// Passes on what is typed, and the size of the terminal. Returns once the keys to detach were
    /// typed, and the terminal is as before.
    ///
    /// # Errors
    /// If no signal can be received.
    pub async fn until_detached(self) -> Result<(), CliError> {
        let Self { sizes, stdin, manner, raw } = self;
        let resized = signal(SignalKind::window_change())
            .map_err(|e| CliError::failed(format!("failed to watch for signals: {e}")))?;
        tokio::select! {
            biased;
            () = type_to(stdin, manner.keys) => {}
            () = follow_size(sizes, resized, manner.redraw) => {}
        }
        drop(raw);
        Ok(())
    }
}

/// Passes on each size of the terminal. Never returns.
async fn follow_size(
    sizes: Option<TerminalSizes>,
    mut resized: tokio::signal::unix::Signal,
    redraw: bool,
) {
    let Some(sizes) = sizes else { return std::future::pending().await };
    if let Some(size) = size()
        && redraw
    {
        // As docker: programs draw again only if the size changes.
        sizes.set(TerminalSize::new(size.width, size.height.saturating_add(1)));
        tokio::task::yield_now().await;
    }
    loop {
        if let Some(size) = size() {
            sizes.set(size);
        }
        if resized.recv().await.is_none() {
            return std::future::pending().await;
        }
    }
}

/// Passes on what is typed. Returns once the `keys` were typed.
async fn type_to(stdin: Option<JobStdin>, keys: &DetachKeys) {
    let (Some(mut stdin), Some(input)) = (stdin, Input::own()) else {
        return std::future::pending().await;
    };
    let mut reader = input.reader();
    let mut watch = Watch::new(keys);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let typed = match reader.read(&mut buffer).await {
            Ok(count) if count > 0 => buffer.get(..count).unwrap_or_default(),
            // The job may still show something.
            _ => return std::future::pending().await,
        };
        let Some(passed) = watch.take(typed) else { return };
        let written = async {
            stdin.write_all(&passed).await?;
            stdin.flush().await
        };
        match written.await {
            Ok(()) => {}
            // The job has ended.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return std::future::pending().await;
            }
            Err(error) => {
                output::warn(&format!("what is typed no longer reaches the job: {error}"));
                return std::future::pending().await;
            }
        }
    }
}
