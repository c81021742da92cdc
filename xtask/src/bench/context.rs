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
}

impl Bench<'_> {
    /// Returns an optimised `longshore run` on the lab's cluster.
    pub(crate) fn longshore(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--runners", "kubernetes"])
            .env("KUBECONFIG", self.lab.kubeconfig())
            .env("JOB_KUBERNETES_NAMESPACE", NAMESPACE)
            .env("JOB_STATEDIRECTORY", &self.state);
        command
    }
}
