//! The location of an attempt on a cluster, which is the content of its handle.

use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, Handle, InstallationId, Result, RunnerName,
};
use serde::Deserialize;

/// The version of the serialized form of [`Location`].
const VERSION: u32 = 1;

/// The location of an attempt on a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Location {
    /// The configured namespace; `None` is the one of the kubeconfig's context.
    #[serde(default)]
    pub(crate) namespace: Option<String>,
    /// The name of the Job and of the Secret.
    pub(crate) job: String,
    /// The attempt.
    pub(crate) attempt: String,
    /// The installation.
    pub(crate) installation: InstallationId,
}

impl Location {
    /// Returns the location of `attempt`.
    pub(crate) fn of(attempt: &Attempt, namespace: Option<&str>) -> Self {
        Self {
            namespace: namespace.map(str::to_owned),
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
        Handle::new(runner.clone(), VERSION, attempt.clone(), opaque)
    }

    /// Returns the location that `handle` names.
    ///
    /// # Errors
    /// `Internal` for a handle that this version did not write.
    pub(crate) fn read(handle: &Handle) -> Result<Self> {
        let refuse = || Error::new(ErrorKind::Internal, "failed to read a handle");
        if handle.version != VERSION {
            return Err(refuse().with("version", handle.version).with("known", VERSION));
        }
        serde_json::from_value(handle.opaque.clone()).map_err(|e| refuse().caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::{JobId, JobSpec};

    #[test]
    fn a_handle_is_read_back_and_one_of_another_version_refused() {
        let spec = JobSpec::container("busybox".parse().unwrap());
        let attempt = Attempt::new(InstallationId::random(), JobId::random(), 1, spec);
        let location = Location::of(&attempt, Some("jobs"));
        let mut handle = location.handle(&RunnerName::kubernetes()).unwrap();
        assert_eq!(handle.attempt, attempt.id);
        assert_eq!(Location::read(&handle).unwrap(), location);
        handle.version = 2;
        assert!(Location::read(&handle).unwrap_err().to_string().contains("version: 2"));
    }
}
