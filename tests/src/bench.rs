//! The test bench of a case: its own folders, a backend, and the command.

use std::sync::Arc;

use anyhow::{Context, Result};
use longshore_conformance::{Pushed, TestRegistry};

use crate::backend::Backend;
use crate::clock::Clock;
use crate::command::Longshore;
use crate::folders::Folders;
use crate::lab::Lab;
use crate::leftovers::{self, Trace};
use crate::programs;
use crate::running::Ran;

/// The test bench of one case.
pub(crate) struct Bench {
    pub(crate) lab: Arc<Lab>,
    pub(crate) backend: Backend,
    pub(crate) folders: Folders,
    /// The case's name, which also names what it creates.
    pub(crate) name: String,
    /// The clock of the command, if it is not the machine's.
    pub(crate) clock: Option<Clock>,
}

impl Bench {
    pub(crate) fn new(lab: Arc<Lab>, backend: Backend, name: &str) -> Result<Self> {
        let volume = lab.volume.as_deref().filter(|_| backend == Backend::Kubernetes);
        let folders = Folders::new(volume)?;
        Ok(Self { lab, backend, folders, name: name.to_owned(), clock: None })
    }

    /// Returns the command with its own state directory and home, and no reachable backend.
    pub(crate) fn bare(&self) -> Result<Longshore> {
        self.program(&programs::longshore()?)
    }

    /// Returns any program, in the same environment.
    pub(crate) fn program(&self, path: &std::path::Path) -> Result<Longshore> {
        let nowhere = self.folders.root().join("nowhere");
        let command = Longshore::new(path)
            .env("HOME", self.folders.home())
            .env("JOB_STATEDIRECTORY", self.folders.state())
            .env("KUBECONFIG", &nowhere)
            .env("DOCKER_HOST", format!("unix://{}", nowhere.display()));
        Ok(match &self.clock {
            Some(clock) => clock.give(command),
            None => command,
        })
    }

    /// Returns the command with the named backends reachable.
    pub(crate) fn with(&self, backends: &[Backend]) -> Result<Longshore> {
        let names: Vec<_> = backends.iter().map(|backend| backend.name()).collect();
        let command = self.bare()?.env("JOB_RUNNERS", names.join(","));
        Ok(backends.iter().fold(command, |command, backend| self.reaching(command, *backend)))
    }

    /// Sets the variables with which `command` reaches `backend`.
    pub(crate) fn reaching(&self, command: Longshore, backend: Backend) -> Longshore {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        match backend {
            Backend::Process => command,
            Backend::Docker => command.env("DOCKER_HOST", text(&self.lab.docker_host)),
            Backend::Kubernetes => command
                .env("KUBECONFIG", text(&self.lab.kubeconfig))
                .env("JOB_KUBERNETES_NAMESPACE", text(&self.lab.namespace))
                .env("JOB_KUBERNETES_PERSISTENTVOLUMECLAIMNAME", text(&self.lab.claim))
                .env("JOB_DIRECTORY", self.lab.volume.clone().unwrap_or_default()),
        }
    }

    /// Returns the command with only this backend reachable.
    pub(crate) fn longshore(&self) -> Result<Longshore> {
        self.with(&[self.backend])
    }

    /// Returns `longshore run FLAGS -- ARGV` for this backend, with a result file.
    pub(crate) fn job(&self, flags: &[&str], argv: &[&str]) -> Result<Longshore> {
        let command = self.longshore()?.arg("run").result(self.folders.result()).args(flags);
        Ok(command.args(self.way()?).arg("--").args(argv))
    }

    /// Returns `longshore run FLAGS -- sh -c SCRIPT`.
    pub(crate) fn script(&self, flags: &[&str], script: &str) -> Result<Longshore> {
        self.job(flags, &["sh", "-c", script])
    }

    /// Runs `longshore run FLAGS -- sh -c SCRIPT` to its end.
    pub(crate) fn run(&self, flags: &[&str], script: &str) -> Result<Ran> {
        self.script(flags, script)?.run()
    }

    /// Removes all jobs of this case. A case that fails leaves some behind, which would fail the check
    /// for leftovers too.
    pub(crate) fn remove_jobs(&self, backends: &[Backend]) -> Result<()> {
        let listed = self.with(backends)?.args(["ps", "--all", "--quiet"]).run()?.text();
        if listed.is_empty() {
            return Ok(());
        }
        self.with(backends)?.args(["rm", "--force"]).args(listed.lines()).run()?.exits(0)
    }

    /// Returns the flags that make a job suitable for this backend.
    pub(crate) fn way(&self) -> Result<Vec<String>> {
        Ok(match self.backend {
            Backend::Process => Vec::new(),
            Backend::Docker | Backend::Kubernetes => {
                vec!["--image".to_owned(), self.image()?.to_owned()]
            }
        })
    }

    /// Returns an image with a busybox.
    pub(crate) fn image(&self) -> Result<&str> {
        self.lab.image.as_deref().context("LONGSHORE_LAB_IMAGE is not set")
    }

    /// Returns the installation that this case's commands belong to, once one exists.
    fn installation(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.folders.state().join("installation")).ok()?;
        Some(text.trim().to_owned())
    }

    /// Returns what this case's commands currently have on this backend, one line each.
    pub(crate) fn on_backend(&self) -> Result<Vec<String>> {
        leftovers::look(&self.lab, &[self.backend], &[self.trace()])
    }

    /// Returns the trace by which everything that belongs to this case is found.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            case: self.name.clone(),
            root: self.folders.root().to_owned(),
            installation: self.installation(),
        }
    }

    /// Pushes an image whose `/version` contains `version`, as `tag` of this case's repository.
    pub(crate) fn push(&self, tag: &str, version: &str) -> Result<Pushed> {
        let registry = TestRegistry::from_env().map_err(|e| anyhow::anyhow!("{e}"))?;
        let repository = self.repository();
        runtime()?
            .block_on(registry.push(&repository, tag, version))
            .map_err(|e| anyhow::anyhow!("{e}"))
    }

    /// Returns a repository name for this case, on this backend, in this run.
    pub(crate) fn repository(&self) -> String {
        let own = self.folders.root().file_name().unwrap_or_default().to_string_lossy();
        let own: String = own.chars().filter(char::is_ascii_alphanumeric).collect();
        format!("longshore-e2e/{}/{}", self.backend, own.to_lowercase())
    }
}

/// Returns a runtime for direct requests to a backend, without the command.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start a runtime")
}
