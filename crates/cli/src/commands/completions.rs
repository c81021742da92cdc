//! `longshore completions`.

use clap_complete::Shell;
use clap_complete::env::Shells;

use crate::error::CliError;
use crate::{complete, output};

/// Prints the script with which `shell` asks this command for candidates.
pub fn print(shell: Shell) -> Result<u8, CliError> {
    let shells = Shells::builtins();
    let name = shell.to_string();
    let mut script = Vec::new();
    shells
        .completer(&name)
        .ok_or_else(|| std::io::Error::other("the shell is not known"))
        .and_then(|it| {
            let program = "longshore";
            it.write_registration(complete::VARIABLE, program, program, program, &mut script)
        })
        .map_err(|error| CliError::failed(format!("no completion for {name}: {error}")))?;
    output::print(&String::from_utf8_lossy(&script))
}
