//! `cargo xtask`: Longshore's development tasks.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::lab::{self, Group, Lab, UpOptions};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Longshore's development tasks")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// A real Docker, a real registry and a real Kubernetes on this machine.
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
    /// Bring the lab up; what is up already stays as it is.
    Up {
        /// Only these parts (kubernetes brings the registry along).
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
    /// Stop what the lab started and remove its mounts, bridges and cgroups.
    Down {
        /// Remove the images, certificates, volume and logs too.
        #[arg(long)]
        purge: bool,
    },
    /// List the components.
    Status,
    /// Print `export` lines for a shell: eval "$(cargo xtask lab env)".
    Env,
    /// Start one component again.
    Start {
        /// As `status` lists it.
        component: String,
    },
    /// Stop one component.
    Stop {
        /// As `status` lists it.
        component: String,
        /// Kill it at once instead of asking it to end.
        #[arg(long)]
        kill: bool,
    },
}

#[expect(clippy::print_stderr, reason = "a development command talks to a person")]
fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Task::Lab { dir, task } = Cli::parse().task;
    let lab = Lab::open(dir)?;
    match task {
        LabTask::Up { only, use_existing, replace } => {
            lab::up(&lab, &UpOptions { only, use_existing, replace })
        }
        LabTask::Down { purge } => lab::down(&lab, purge),
        LabTask::Status => lab::status(&lab),
        LabTask::Env => lab::print_env(&lab),
        LabTask::Start { component } => lab::start(&lab, &component),
        LabTask::Stop { component, kill } => lab::stop(&lab, &component, kill),
    }
}
