//! The reader of the command line, for the fuzz targets (`fuzz`). Not part of the interface: it may
//! change at any time.

use longshore::JobSpec;

use crate::args::Command;
use crate::{command_line, output, spec};

/// Returns the job that `words`, which follow the program's name, describe, or the error as it is
/// printed. Returns `None` for a command without a job, and for one that reads a file.
#[must_use]
pub fn job(words: impl IntoIterator<Item = String>) -> Option<Result<JobSpec, String>> {
    let program = std::iter::once("longshore".to_owned());
    let words = program.chain(words).map(Into::into).collect();
    let printed = |text: &str| output::printable(text).into_owned();
    let job = match command_line::parse(words) {
        Ok(cli) => match cli.command {
            Command::Run(run) => run.0.job,
            Command::Plan(job) => *job.0,
            _ => return None,
        },
        Err(error) => return Some(Err(printed(&error.to_string()))),
    };
    if job.file.is_some() || !job.env_file.is_empty() {
        return None;
    }
    Some(spec::build(&job).map_err(|error| printed(&error.to_string())))
}
