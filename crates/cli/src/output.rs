//! The command's own messages on stdout and stderr.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::error::CliError;

/// Prints `text` on stdout. A reader that has gone away is not an error: it has read what it needs.
pub fn print(text: &str) -> Result<u8, CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(format!("failed to write to stdout: {error}")))
        }
        _ => Ok(0),
    }
}

/// Prints `text` on stderr. Each line is prefixed with the command's name.
pub fn say(text: &str) {
    let mut stderr = io::stderr().lock();
    for line in text.lines() {
        // If stderr is closed, the error cannot be reported anywhere.
        let _ = writeln!(stderr, "longshore: {line}");
    }
}

/// Reports why the command cannot continue.
pub fn complain(error: &dyn Display) {
    say(&format!("error: {error}"));
}

/// Reports something that was accepted but is probably not intended.
pub fn warn(text: &str) {
    say(&format!("warning: {text}"));
}

/// Sends diagnostics to stderr: errors, or more with `-v`. LONGSHORE_LOG overrides both.
pub fn log_to_stderr(verbose: u8) {
    let default = match verbose {
        // A failed request is reported as the reason why a runner was passed over.
        0 => "error,kube_client=off",
        1 => "info,longshore=debug",
        _ => "debug",
    };
    let mut filter =
        EnvFilter::try_from_env("LONGSHORE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    // At `debug`, the Docker client logs whole answers of the engine, which contain the environment
    // of containers with the job's secrets.
    if let Ok(quiet) = "bollard=info".parse() {
        filter = filter.add_directive(quiet);
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
}
