//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use longshore_lab::{self as lab, Group, Lab, UpOptions};

use crate::bench::{self, BenchOptions};
use crate::test::TestOptions;
use crate::{api, chart, codegen, test, tidy};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Longshore's development tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run every test, on a lab that is brought up for the tests and taken down again.
    Test(TestOptions),
    /// Measure Longshore on the lab, compared with what people use today.
    Bench(BenchOptions),
    /// Check what no compiler checks: dependencies between crates, files, documents.
    Tidy {
        /// Skip the checks that need a build: whether generated files are up to date.
        #[arg(long)]
        no_build: bool,
    },
    /// Regenerate the reference configuration, the schemas in conf, and what `api` regenerates.
    Codegen {
        /// Fail if a file was stale; a second run passes.
        #[arg(long)]
        check: bool,
    },
    /// Regenerate the listing of the public interface in api, and check its rules.
    Api {
        /// Fail if a listing was stale; a second run passes.
        #[arg(long)]
        check: bool,
    },
    /// Check what the chart and the Kubernetes runner create against the API of each supported
    /// version of Kubernetes. Downloads their schemas.
    Chart,
    /// Manage the lab: a real Docker, registry and Kubernetes on this machine.
    Lab {
        /// The lab's folder [default: target/lab of this checkout].
        #[arg(long, global = true)]
        dir: Option<PathBuf>,
        #[command(subcommand)]
        task: LabTask,
    },
}

#[derive(Subcommand)]
enum LabTask {
    /// Bring the lab up; components that are up stay as they are.
    Up {
        /// Only these parts (kubernetes also brings up the registry).
        #[arg(long, value_delimiter = ',', value_enum)]
        only: Vec<Group>,
        /// Use the Docker that DOCKER_HOST names and the Kubernetes that
        /// KUBECONFIG names instead of starting them.
        #[arg(long)]
        use_existing: bool,
        /// Take down another checkout's lab if it holds the lab's ports.
        #[arg(long)]
        replace: bool,
    },
    /// Stop everything that the lab started and remove its mounts, bridges and cgroups.
    Down {
        /// Also remove the images, certificates, volume and logs.
        #[arg(long)]
        purge: bool,
    },
    /// List the components.
    Status,
    /// Print `export` lines for a shell: eval "$(cargo xtask lab env)".
    Env,
    /// Start one component.
    Start {
        /// The component's name, as listed by `status`.
        component: String,
    },
    /// Stop one component.
    Stop {
        /// The component's name, as listed by `status`.
        component: String,
        /// Kill it at once instead of asking it to end.
        #[arg(long)]
        kill: bool,
    },
}

/// Runs the task that the command line names.
#[expect(clippy::print_stderr, reason = "a development command talks to a person")]
pub(crate) fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns an error if `words`, which begin with `xtask`, are not a valid command line.
pub(crate) fn check<I: Into<OsString> + Clone>(
    words: impl IntoIterator<Item = I>,
) -> Result<(), String> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayVersion};
    match Cli::try_parse_from(words) {
        Err(error) if !matches!(error.kind(), DisplayHelp | DisplayVersion) => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Err(first.trim_start_matches("error: ").to_owned())
        }
        _ => Ok(()),
    }
}

/// Returns true on success; problems have already been printed.
fn run(task: Task) -> Result<bool> {
    match task {
        Task::Test(options) => test::test(&options),
        Task::Bench(options) => bench::bench(&options),
        Task::Tidy { no_build } => tidy::tidy(!no_build),
        Task::Codegen { check } => Ok(codegen::codegen(check)? & api::api(check)?),
        Task::Api { check } => api::api(check),
        Task::Chart => chart::chart(),
        Task::Lab { dir, task } => run_lab(&Lab::open(dir)?, task).map(|()| true),
    }
}

fn run_lab(lab: &Lab, task: LabTask) -> Result<()> {
    match task {
        LabTask::Up { only, use_existing, replace } => {
            lab::up(lab, &UpOptions { only, use_existing, replace })
        }
        LabTask::Down { purge } => lab::down(lab, purge),
        LabTask::Status => lab::status(lab),
        LabTask::Env => lab::print_env(lab),
        LabTask::Start { component } => lab::start(lab, &component),
        LabTask::Stop { component, kill } => lab::stop(lab, &component, kill),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_told_from_a_right_one() {
        assert_eq!(check(["xtask", "lab", "up", "--only", "docker,registry"]), Ok(()));
        assert_eq!(check(["xtask", "test", "--help"]), Ok(()));
        let error = check(["xtask", "test", "--quickly"]).unwrap_err();
        assert!(error.contains("--quickly"), "{error}");
    }
}
