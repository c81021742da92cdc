//! `longshore man`.

use std::io::Error;

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::args::{Cli, ManArgs};
use crate::error::CliError;
use crate::output;

/// Prints the manual page of a command, or writes those of all commands.
pub fn man(args: &ManArgs) -> Result<u8, CliError> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    if let Some(directory) = &args.directory {
        let fail = |error: Error| {
            CliError::failed(format!("failed to write pages into {}: {error}", directory.display()))
        };
        clap_mangen::generate_to(root, directory).map_err(fail)?;
        return Ok(0);
    }
    let command = args.command.iter().try_fold(&root, |command, name| {
        command.find_subcommand(name).filter(|found| !found.is_hide_set()).ok_or_else(|| {
            let known: Vec<_> = visible(command).map(Command::get_name).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let parent = command.get_bin_name().unwrap_or(command.get_name());
            CliError::usage(format!("`{parent}` has no command `{name}`: it has {known}"))
        })
    })?;
    let mut page = Vec::new();
    Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| CliError::failed(format!("failed to write the page: {error}")))?;
    output::print(&String::from_utf8_lossy(&page))
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}
