//! The location of an attempt on a cluster, which is the content of its handle.

use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, Handle, InstallationId, Result, RunnerName,
};
use serde::Deserialize;

use crate::target::{ClusterId, Target};

/// The version of the serialized form of [`Location`].
const VERSION: u32 = 2;
/// The version without a cluster.
const WITHOUT_CLUSTER: u32 = 1;

/// The location of an attempt on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Location {
    /// The namespace. `None`, without a cluster, is the one of the kubeconfig's context.
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    /// The cluster. `None`, in handles of version 1, is whichever the kubeconfig names.
    #[serde(default)]
    pub(crate) cluster: Option<ClusterId>,
    /// The name of the Job and of the Secret.
    pub(crate) job: String,
    /// The attempt.
    pub(crate) attempt: String,
    /// The installation.
    pub(crate) installation: InstallationId,
}

impl Location {
    /// Returns the location of `attempt`: the target that is recorded for it, or else `namespace`, the
    /// configured one.
    pub(crate) fn of(attempt: &Attempt, namespace: Option<&str>) -> Self {
        let target =
            attempt.target.clone().and_then(|it| serde_json::from_value::<Target>(it).ok());
        let (own, cluster) = target.map(|it| (it.namespace, it.cluster)).unzip();
        Self {
            namespace: own.or_else(|| namespace.map(str::to_owned)),
            cluster,
            job: attempt.object_name(),
            attempt: attempt.id.to_string(),
            installation: attempt.installation.clone(),
        }
    }

    /// Returns the handle of this location.
    ///
    /// # Errors
    /// `Internal` if the attempt's name is not a valid ID.
    pub(crate) fn handle(&self, runner: &RunnerName) -> Result<Handle> {
        let bad = |e: longshore_core::InvalidId| {
            Error::new(ErrorKind::Internal, "failed to read an attempt's label").caused_by(e)
        };
        let attempt = self.attempt.parse().map_err(bad)?;
        Ok(self.handle_of(runner, &attempt))
    }

    /// Returns the handle of this location, which is the location of `attempt`.
    pub(crate) fn handle_of(&self, runner: &RunnerName, attempt: &AttemptId) -> Handle {
        let mut opaque = serde_json::json!({
            "job": self.job, "attempt": self.attempt, "installation": self.installation.as_str(),
        });
        if let Some(namespace) = &self.namespace {
            opaque["namespace"] = namespace.as_str().into();
        }
        let version = match &self.cluster {
            Some(cluster) => {
                opaque["cluster"] = serde_json::json!(cluster);
                VERSION
            }
            None => WITHOUT_CLUSTER,
        };
        Handle::new(runner.clone(), version, attempt.clone(), opaque)
    }

    /// Returns the location that `handle` names.
    ///
    /// # Errors
    /// `Internal` for a handle that this version did not write.
    pub(crate) fn read(handle: &Handle) -> Result<Self> {
        let refuse = || Error::new(ErrorKind::Internal, "failed to read a handle");
        if ![WITHOUT_CLUSTER, VERSION].contains(&handle.version) {
            return Err(refuse().with("version", handle.version).with("known", VERSION));
        }
        serde_json::from_value(handle.opaque.clone()).map_err(|e| refuse().caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{JobId, JobSpec};
    use serde_json::json;

    use super::*;

    fn attempt() -> Attempt {
        let spec = JobSpec::container("busybox".parse().unwrap());
        Attempt::new(InstallationId::random(), JobId::random(), 1, spec)
    }

    #[test]
    fn a_handle_is_read_back_and_one_of_another_version_refused() {
        let attempt = attempt();
        let location = Location::of(&attempt, Some("jobs"));
        let mut handle = location.handle(&RunnerName::kubernetes()).unwrap();
        assert_eq!(handle.attempt, attempt.id);
        assert_eq!(Location::read(&handle).unwrap(), location);
        handle.version = 3;
        assert!(Location::read(&handle).unwrap_err().to_string().contains("version: 3"));
    }

    /// A handle without a configured namespace meant whatever the kubeconfig named when it was used.
    #[test]
    fn a_handle_did_not_name_its_cluster_and_namespace() {
        let mut attempt = attempt();
        let cluster = json!({"server": "https://a", "name": "a", "authorities": ["0a"]});
        attempt.target = Some(json!({"namespace": "jobs", "cluster": cluster}));
        for configured in [None, Some("other")] {
            let location = Location::of(&attempt, configured);
            assert_eq!(location.namespace.as_deref(), Some("jobs"));
            let handle = location.handle(&RunnerName::kubernetes()).unwrap();
            assert_eq!((handle.version, &handle.opaque["cluster"]), (2, &cluster));
            assert_eq!(Location::read(&handle).unwrap(), location);
        }
    }

    #[test]
    fn a_handle_of_version_1_is_in_the_namespace_and_cluster_of_the_kubeconfig() {
        let attempt = attempt();
        let handle = Location::of(&attempt, None).handle(&RunnerName::kubernetes()).unwrap();
        assert_eq!((handle.version, handle.opaque.get("namespace")), (1, None));
        let location = Location::read(&handle).unwrap();
        assert_eq!((location.namespace, location.cluster), (None, None));
    }
}
