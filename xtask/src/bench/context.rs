//! What every bench needs.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use longshore_lab::{Lab, NAMESPACE};

/// The time limit for each wait.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// The context that every bench needs.
#[derive(Clone)]
pub(crate) struct Bench<'a> {
    pub lab: &'a Lab,
    pub rounds: u32,
    pub image: String,
    pub program: PathBuf,
    pub state: PathBuf,
    /// The address of the lab's Docker engine.
    pub docker_host: String,
}

impl Bench<'_> {
    /// Returns the optimised command, with the lab's backends.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        self.reach(&mut command).env("JOB_STATEDIRECTORY", &self.state);
        command
    }

    /// Sets the variables with which `command` reaches the lab's backends.
    pub(crate) fn reach<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("DOCKER_HOST", &self.docker_host)
            .env("KUBECONFIG", self.lab.kubeconfig())
            .env("JOB_KUBERNETES_NAMESPACE", NAMESPACE)
    }

    /// Returns an optimised `longshore run` on the lab's cluster.
    pub(crate) fn longshore(&self) -> Command {
        let mut command = self.command();
        command.args(["run", "--runners", "kubernetes"]);
        command
    }

    /// Returns kubectl, in the namespace of the benches.
    pub(crate) fn kubectl(&self) -> Command {
        let mut command = Command::new(self.lab.bin("kubectl"));
        command.env("KUBECONFIG", self.lab.kubeconfig()).args(["--namespace", NAMESPACE]);
        command
    }
}
