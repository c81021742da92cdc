//! One backend on which the cells are played, with dispatchers that have only this backend.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bollard::query_parameters::RemoveImageOptionsBuilder;
use futures::StreamExt;
use longshore::job::LogChunk;
use longshore::{Config, Dispatcher, Job, JobResult, JobSpec};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::shop::Shop;
use crate::backend::Backend;
use crate::lab::Lab;
use crate::leftovers::Trace;

/// The pull timeout for registries that give no answer: each such cell takes this long.
const SHORT: &str = "8s";
/// The pull timeout for all others, on a busy machine.
const LONG: &str = "90s";
/// How many layers stall concurrently on one backend. An engine and containerd each download three
/// at a time (`max-concurrent-downloads`, `max_concurrent_downloads`), for all jobs together: a
/// stalled layer keeps others waiting.
const STALLS: usize = 2;
/// How long one job may take, on a busy backend on which a cell hangs.
const PATIENCE: Duration = Duration::from_secs(240);

/// The backends on which the cells are played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ContainerBackend {
    Docker,
    Docker29,
    Kubernetes,
}

impl ContainerBackend {
    pub(crate) const ALL: [Self; 3] = [Self::Docker, Self::Docker29, Self::Kubernetes];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Docker29 => "docker29",
            Self::Kubernetes => "kubernetes",
        }
    }

    pub(crate) const fn backend(self) -> Backend {
        match self {
            Self::Docker | Self::Docker29 => Backend::Docker,
            Self::Kubernetes => Backend::Kubernetes,
        }
    }

    /// Returns `lab` with this engine as its engine.
    fn lab(self, lab: &Lab) -> Lab {
        let docker29 = || std::env::var("LONGSHORE_LAB_DOCKER29_HOST").ok();
        let docker_host = if self == Self::Docker29 { docker29() } else { lab.docker_host.clone() };
        Lab { docker_host, ..lab.clone() }
    }

    /// Returns how many cells are played concurrently. An engine starts a container in a fifth of a
    /// second and is busy all that time; a cluster waits for its own timers most of the time.
    const fn room(self) -> usize {
        match self {
            Self::Docker | Self::Docker29 => 8,
            Self::Kubernetes => 16,
        }
    }
}

/// A backend, reached as a service would reach it.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) place: ContainerBackend,
    pub(crate) lab: Lab,
    /// The dispatcher for jobs whose registry answers.
    patient: Dispatcher,
    /// The dispatcher for the other jobs.
    hasty: Dispatcher,
    room: Semaphore,
    stalls: Semaphore,
    state: TempDir,
}

impl Station {
    /// Returns why `place` is not available, or `None` if it is.
    pub(crate) fn missing(place: ContainerBackend, lab: &Lab) -> Option<String> {
        let missing = place.lab(lab).missing(place.backend())?;
        Some(if place == ContainerBackend::Docker29 {
            "no second engine here: set LONGSHORE_LAB_DOCKER29_HOST (cargo xtask lab env)"
                .to_owned()
        } else {
            missing
        })
    }

    /// Creates a station. Starts nothing.
    pub(crate) fn new(place: ContainerBackend, lab: &Lab) -> Result<Self> {
        let lab = place.lab(lab);
        let state = tempfile::Builder::new().prefix("longshore-e2e-").tempdir()?;
        let patient = dispatcher(place, &lab, state.path(), LONG)?;
        let hasty = dispatcher(place, &lab, state.path(), SHORT)?;
        Ok(Self {
            place,
            lab,
            patient,
            hasty,
            room: Semaphore::new(place.room()),
            stalls: Semaphore::new(STALLS),
            state,
        })
    }

    /// Waits until one more cell may be played.
    pub(crate) async fn room(&self) -> Result<SemaphorePermit<'_>> {
        Ok(self.room.acquire().await?)
    }

    /// Waits until one more layer may stall.
    pub(crate) async fn stall(&self) -> Result<SemaphorePermit<'_>> {
        Ok(self.stalls.acquire().await?)
    }

    /// Runs `spec` to its end, and returns its result and its output.
    pub(crate) async fn run(&self, spec: JobSpec) -> Result<(JobResult, String)> {
        run(&self.patient, spec).await
    }

    /// Does the same with the short timeout, for a registry that gives no answer.
    pub(crate) async fn run_in_vain(&self, spec: JobSpec) -> Result<(JobResult, String)> {
        run(&self.hasty, spec).await
    }

    /// Pulls the image that all others are built on.
    pub(crate) async fn warm(&self, shop: &Shop) -> Result<()> {
        let mut spec = JobSpec::container(format!("{}/{}", shop.open().host, shop.base).parse()?);
        let container = spec.container.as_mut().context("a job without a container")?;
        container.command = vec!["true".to_owned()];
        let (result, _) = self.run(spec).await?;
        let place = self.place.name();
        ensure!(result.outcome.is_success(), "a first job on {place} {}", result.outcome);
        Ok(())
    }

    /// Returns the trace by which everything launched here is found.
    pub(crate) fn trace(&self) -> Trace {
        Trace {
            case: format!("pull policy on {}", self.place.name()),
            root: self.state.path().to_owned(),
            installation: Some(self.patient.installation().to_string()),
        }
    }

    /// Removes the images `references` from the engine. Does nothing on a cluster.
    pub(crate) async fn forget(&self, references: &[String]) -> Result<()> {
        if self.place.backend() == Backend::Kubernetes {
            return Ok(());
        }
        let host = self.lab.docker_host.as_deref().unwrap_or_default();
        let docker = bollard::Docker::connect_with_host(host)?.negotiate_version().await?;
        for reference in references {
            let options = RemoveImageOptionsBuilder::default().force(true).build();
            match docker.remove_image(reference, Some(options), None).await {
                Ok(_)
                | Err(bollard::errors::Error::DockerResponseServerError {
                    status_code: 404, ..
                }) => {}
                Err(error) => bail!("failed to remove {reference}: {error}"),
            }
        }
        Ok(())
    }

    /// Removes from the lab's node every image whose name contains `part`. Any other node keeps
    /// them until its kubelet needs space.
    pub(crate) async fn forget_all_with(&self, part: &str) -> Result<()> {
        let socket = self.lab.folder.as_ref().map(|it| it.join("run/containerd/containerd.sock"));
        let socket = socket.filter(|socket| socket.exists());
        let (Backend::Kubernetes, Some(socket)) = (self.place.backend(), socket) else {
            return Ok(());
        };
        let listed = ctr(&socket, &["images", "list"]).await?;
        let lines = || {
            listed.lines().skip(1).filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?, words.nth(1)?))
            })
        };
        let ours: Vec<_> = lines().filter(|(name, _)| name.contains(part)).collect();
        // The runtime lists each image a second time, by the id of its configuration.
        let again = lines().filter(|(name, digest)| {
            name.starts_with("sha256:") && ours.iter().any(|(_, own)| own == digest)
        });
        let names: Vec<&str> = ours.iter().copied().chain(again).map(|(name, _)| name).collect();
        for some in names.chunks(50) {
            ctr(&socket, &[&["images", "rm"], some].concat()).await?;
        }
        Ok(())
    }

    /// Stops accepting jobs, and returns when all are done.
    pub(crate) async fn close(self: Arc<Self>) -> Result<()> {
        let both = async { tokio::join!(self.patient.shutdown(), self.hasty.shutdown()) };
        let closed = tokio::time::timeout(PATIENCE, both).await;
        closed.map(drop).context("the dispatcher's jobs did not end")
    }
}

/// Creates a dispatcher with only `place`. Its installation is that of `state`.
fn dispatcher(
    place: ContainerBackend,
    lab: &Lab,
    state: &Path,
    pull_timeout: &str,
) -> Result<Dispatcher> {
    let own = match place.backend() {
        Backend::Kubernetes => json!({"kubeconfig": lab.kubeconfig, "namespace": lab.namespace}),
        _ => json!({"host": lab.docker_host}),
    };
    let config: Config = serde_json::from_value(json!({"job": {
        "runners": [place.backend().name()],
        "stateDirectory": state,
        "pullTimeout": pull_timeout,
        "startTimeout": "120s",
        "maxConcurrentLaunches": 64,
        place.backend().name(): own,
    }}))?;
    Ok(longshore::dispatcher(&config)?)
}

async fn run(dispatcher: &Dispatcher, spec: JobSpec) -> Result<(JobResult, String)> {
    let mut job = dispatcher.submit(spec).await?;
    let canceller = job.canceller();
    match tokio::time::timeout(PATIENCE, finish(&mut job)).await {
        Ok(output) => Ok((job.wait().await?, output?)),
        Err(_) => {
            canceller.kill();
            bail!("the job took longer than {PATIENCE:?}")
        }
    }
}

/// Returns all the output of `job`.
async fn finish(job: &mut Job) -> Result<String> {
    let mut logs = job.take_logs().context("the job has no output")?;
    let mut output = Vec::new();
    while let Some(chunk) = logs.next().await {
        match chunk {
            LogChunk::Data { bytes, .. } => output.extend_from_slice(&bytes),
            gap => bail!("the output has a gap: {gap:?}"),
        }
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

async fn ctr(socket: &Path, arguments: &[&str]) -> Result<String> {
    let mut command = tokio::process::Command::new("ctr");
    command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]).args(arguments);
    let output = command.kill_on_drop(true).output().await.context("failed to run ctr")?;
    ensure!(output.status.success(), "ctr: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
