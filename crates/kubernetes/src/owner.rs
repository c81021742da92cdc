//! To which command's Pod a job belongs.

use std::collections::HashMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use longshore_core::{Error, ErrorKind, Result};

use crate::client::Cluster;
use crate::config::KubernetesConfig;
use crate::owner_pod::{API_VERSION, KIND, OwnerPod};

/// Checks that Kubernetes would not remove a job of `config` as soon as it is created: it does so if
/// the owner does not exist in the job's namespace
/// (<https://kubernetes.io/docs/concepts/architecture/garbage-collection/#owners-dependents>).
pub(crate) async fn ensure(
    cluster: &Cluster,
    namespace: &str,
    config: &KubernetesConfig,
) -> Result<()> {
    let (owner, name, uid) = match &config.owner_pod {
        OwnerPod { namespace: None, name: None, uid: None } => return Ok(()),
        OwnerPod { namespace: Some(owner), name: Some(name), uid: Some(uid) } => (owner, name, uid),
        _ => {
            let message = "job.kubernetes.ownerPod needs all of namespace, name and uid";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
    };
    if owner != namespace {
        let message = "job.kubernetes.ownerPod is in another namespace than the jobs, where it can \
                       own none of them";
        let error = Error::new(ErrorKind::Unsupported, message);
        return Err(error.with("ownerPod", format!("{owner}/{name}")).with("namespace", namespace));
    }
    match cluster.pod_in(namespace, name).await? {
        Some(pod) if pod.metadata.uid.as_ref() == Some(uid) => Ok(()),
        _ => {
            let message = "job.kubernetes.ownerPod does not exist, so Kubernetes would remove jobs \
                           at once";
            Err(Error::new(ErrorKind::Unavailable, message)
                .with("ownerPod", format!("{owner}/{name}"))
                .with("uid", uid))
        }
    }
}

/// Returns the Pod that owns `job`: its name and its uid.
fn owner_of(job: &Job) -> Option<(&str, &str)> {
    let owners = job.metadata.owner_references.as_deref().unwrap_or_default();
    let owner = owners.iter().find(|it| it.kind == KIND && it.api_version == API_VERSION)?;
    Some((&owner.name, &owner.uid))
}

/// Who may act on the Jobs of one installation, which several commands may share.
pub(crate) struct Owners<'a> {
    cluster: &'a Cluster,
    namespace: &'a str,
    /// The Pod of this command.
    own: Option<&'a str>,
    /// Why an owner is over, by its uid; `None` if it is not over.
    over: HashMap<String, Option<String>>,
}

impl<'a> Owners<'a> {
    pub(crate) fn new(
        cluster: &'a Cluster,
        namespace: &'a str,
        config: &'a KubernetesConfig,
    ) -> Self {
        let own = config.owner_pod.uid.as_deref();
        Self { cluster, namespace, own, over: HashMap::new() }
    }

    /// Returns whether `job` belongs to the command in another Pod.
    pub(crate) fn is_foreign(&self, job: &Job) -> bool {
        owner_of(job).is_some_and(|(_, uid)| Some(uid) != self.own)
    }

    /// Returns why `job` is abandoned, if the command that it belongs to runs in another Pod and has
    /// ended.
    pub(crate) async fn abandoned(&mut self, job: &Job) -> Result<Option<String>> {
        let Some((name, uid)) = owner_of(job).filter(|_| self.is_foreign(job)) else {
            return Ok(None);
        };
        if let Some(known) = self.over.get(uid) {
            return Ok(known.clone());
        }
        let found = self.cluster.pod_in(self.namespace, name).await?;
        let found = found.filter(|pod| pod.metadata.uid.as_deref() == Some(uid));
        let over = match found.as_ref().map(phase) {
            None => Some(format!("its command's Pod {name} does not exist any more")),
            // Neither phase ever changes again.
            Some(phase @ ("Succeeded" | "Failed")) => {
                Some(format!("its command's Pod {name} has ended ({phase})"))
            }
            Some(_) => None,
        };
        self.over.insert(uid.to_owned(), over.clone());
        Ok(over)
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}
