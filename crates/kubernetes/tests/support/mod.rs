//! The cluster that the tests run against.

use std::env;
use std::path::PathBuf;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use longshore_core::{ImageRef, InstallationId, JobSpec, RunnerName};
use longshore_kubernetes::{KubernetesConfig, KubernetesRunner};

/// A real cluster, an image that its nodes can pull, and optionally a claim.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) image: ImageRef,
    pub(crate) claim: Option<(String, PathBuf)>,
}

impl Lab {
    /// Returns the cluster that the environment names.
    pub(crate) async fn find() -> Result<Self, String> {
        if env::var_os("KUBECONFIG").is_none() {
            return Err("set KUBECONFIG".to_owned());
        }
        let image = env::var("LONGSHORE_LAB_IMAGE")
            .map_err(|_| "set LONGSHORE_LAB_IMAGE to an image with a busybox".to_owned())?;
        let image = image.parse().map_err(|e| format!("LONGSHORE_LAB_IMAGE: {e}"))?;
        let claim = env::var("LONGSHORE_LAB_CLAIM").ok();
        let volume = env::var_os("LONGSHORE_LAB_VOLUME").map(PathBuf::from);
        let namespace = env::var("LONGSHORE_LAB_NAMESPACE");
        let client = Client::try_default().await.map_err(|e| e.to_string())?;
        Ok(Self {
            client,
            namespace: namespace.unwrap_or_else(|_| "default".to_owned()),
            image,
            claim: claim.zip(volume),
        })
    }

    pub(crate) fn config(&self) -> KubernetesConfig {
        let (claim, root) = self.claim.clone().unzip();
        let mut config = KubernetesConfig::default();
        config.namespace = Some(self.namespace.clone());
        config.persistent_volume_claim_name = claim;
        config.job_directory_root = root;
        config
    }

    pub(crate) fn runner(&self) -> KubernetesRunner {
        KubernetesRunner::new(RunnerName::kubernetes(), self.config())
    }

    /// Returns a job that runs `sh -c SCRIPT`.
    pub(crate) fn job(&self, script: &str) -> JobSpec {
        let mut job = JobSpec::container(self.image.clone());
        if let Some(container) = &mut job.container {
            container.command = vec!["sh".to_owned(), "-c".to_owned()];
            container.args = vec![script.to_owned()];
        }
        job
    }

    pub(crate) fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Returns the objects of `installations`, except for tombstones that Kubernetes will remove:
    /// the runner must not remove those, because they keep the fence up against requests in flight.
    pub(crate) async fn leftovers(
        &self,
        installations: &[InstallationId],
    ) -> Result<Vec<String>, kube::Error> {
        let mut left = Vec::new();
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        for installation in installations {
            let ours = format!("longshore.dev/installation={installation}");
            let params = ListParams::default().labels(&ours);
            let jobs = self.jobs().list(&params).await?.items;
            left.extend(
                jobs.iter()
                    .filter(|job| !expires_by_itself(job))
                    .map(|job| format!("job {}", job.name_any())),
            );
            let pods = self.pods().list(&params).await?.items;
            left.extend(pods.iter().map(|pod| format!("pod {}", pod.name_any())));
            let secrets = secrets.list(&params).await?.items;
            left.extend(secrets.iter().map(|secret| format!("secret {}", secret.name_any())));
        }
        Ok(left)
    }
}

/// Returns whether `job` is a tombstone that the TTL controller will remove within the hour. The
/// controller removes a finished Job `ttlSecondsAfterFinished` after its end. A Job that is not
/// finished would stay forever.
fn expires_by_itself(job: &Job) -> bool {
    let spec = job.spec.clone().unwrap_or_default();
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_deref());
    let finished = conditions.unwrap_or_default().iter().any(|condition| {
        ["Complete", "Failed"].contains(&condition.type_.as_str()) && condition.status == "True"
    });
    job.labels().contains_key("longshore.dev/tombstone")
        && finished
        && spec.ttl_seconds_after_finished.is_some_and(|seconds| seconds <= 3600)
}
