//! The conformance suite against a real Kubernetes cluster.
//!
//! Reads `KUBECONFIG` (the cluster), `LONGSHORE_LAB_IMAGE` (an image with a busybox, in a registry
//! that accepts pushes over plain HTTP and that the nodes can pull from), and for job directories
//! `LONGSHORE_LAB_NAMESPACE`, `LONGSHORE_LAB_CLAIM` and `LONGSHORE_LAB_VOLUME`. The cases about
//! images also need the node's containerd, `LONGSHORE_LAB_DIR/run/containerd/containerd.sock`.

mod support;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use longshore_conformance::{Failure, Fixture, Images, TestRegistry, Unsupported};
use longshore_core::{ImageRef, InstallationId, JobSpec, Runner};
use support::Lab;
use tokio::time::Instant;

struct Kubernetes {
    lab: Lab,
    registry: TestRegistry,
    containerd: Option<PathBuf>,
    folder: Option<tempfile::TempDir>,
}

#[async_trait]
impl Fixture for Kubernetes {
    async fn runner(&self) -> Result<Arc<dyn Runner>, Failure> {
        Ok(Arc::new(self.lab.runner()))
    }

    fn job(&self, script: &str) -> JobSpec {
        self.lab.job(script)
    }

    async fn leftovers(&self, installations: &[InstallationId]) -> Result<Vec<String>, Failure> {
        // A Job is gone at once. Kubernetes then deletes its Secret and, once the container has
        // ended, its Pod.
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let left = self.lab.leftovers(installations).await?;
            if left.is_empty() || Instant::now() > deadline {
                return Ok(left);
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn job_directory_root(&self) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.path().to_owned())
    }

    fn images(&self) -> Option<&dyn Images> {
        self.containerd.is_some().then_some(self)
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(40)
    }
}

#[async_trait]
impl Images for Kubernetes {
    fn registry(&self) -> &TestRegistry {
        &self.registry
    }

    async fn forget(&self, image: &ImageRef) -> Result<(), Failure> {
        let repository = format!("{}/{}", image.registry(), image.repository());
        let listed = self
            .ctr(&["images".to_owned(), "list".to_owned(), format!("name~=^{repository}[:@]")])
            .await?;
        // A reference by name, one by digest, and one by the ID of the configuration, which all
        // name the same image.
        let lines = listed.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace();
            Some((words.next()?.to_owned(), words.nth(1)?.to_owned()))
        });
        let (names, digests): (Vec<String>, Vec<String>) = lines.unzip();
        let every = self.ctr(&["images", "list"]).await?;
        let ids = every.lines().skip(1).filter_map(|line| {
            let mut words = line.split_whitespace();
            let (name, digest) = (words.next()?, words.nth(1)?);
            (name.starts_with("sha256:") && digests.iter().any(|d| d == digest))
                .then(|| name.to_owned())
        });
        for name in names.iter().cloned().chain(ids) {
            self.ctr(&["images", "rm", "--sync", &name]).await?;
        }
        Ok(())
    }
}

impl Kubernetes {
    /// Returns the output of `ctr` for the containerd namespace that the kubelet uses.
    async fn ctr<S: AsRef<str>>(&self, arguments: &[S]) -> Result<String, Failure> {
        let socket = self.containerd.as_ref().ok_or_else(|| Failure::new("no containerd"))?;
        let output = tokio::process::Command::new("ctr")
            .arg("--address")
            .arg(socket)
            .args(["--namespace", "k8s.io"])
            .args(arguments.iter().map(AsRef::as_ref))
            .output()
            .await?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Failure::new(format!("ctr failed: {}", String::from_utf8_lossy(&output.stderr))))
    }
}

fn main() -> ExitCode {
    longshore_conformance::main("kubernetes", || async {
        let lab = Lab::find().await.map_err(Unsupported::new)?;
        let registry = TestRegistry::from_env()?;
        let folder = match &lab.claim {
            Some((_, root)) => Some(
                tempfile::Builder::new()
                    .prefix("conformance-")
                    .tempdir_in(root)
                    .map_err(|e| Unsupported::new(e.to_string()))?,
            ),
            None => None,
        };
        let containerd = std::env::var_os("LONGSHORE_LAB_DIR")
            .map(|folder| PathBuf::from(folder).join("run/containerd/containerd.sock"))
            .filter(|socket| socket.exists());
        Ok(Kubernetes { lab, registry, containerd, folder })
    })
}
