//! Errors that end the command.

use std::fmt;

/// Longshore could not run the job (the code that `docker run`, `timeout` and `env` use).
pub const COULD_NOT_RUN: u8 = 125;
/// The command line is wrong.
pub const USAGE: u8 = 2;

/// Why the command cannot continue, and its exit code.
#[derive(Debug)]
pub struct CliError {
    message: String,
    exit_code: u8,
}

impl CliError {
    /// The command line is wrong: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: USAGE }
    }

    /// Longshore cannot do it: exit code 125.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: COULD_NOT_RUN }
    }

    /// Returns the exit code of the command.
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

impl From<longshore::Error> for CliError {
    fn from(error: longshore::Error) -> Self {
        Self::failed(error.to_string())
    }
}

impl From<longshore::job::Stopped> for CliError {
    fn from(stopped: longshore::job::Stopped) -> Self {
        Self::failed(stopped.to_string())
    }
}

impl From<longshore::config::ConfigError> for CliError {
    fn from(error: longshore::config::ConfigError) -> Self {
        Self::failed(error.to_string())
    }
}
