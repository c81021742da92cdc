//! The names of an attempt on the engine.

use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, Handle, InstallationId, Result, RunnerName,
};
use serde::{Deserialize, Serialize};

use crate::labels;
use crate::target::Target;

/// The version of the handle's opaque part.
const VERSION: u32 = 1;

/// The handle's opaque part.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opaque {
    name: String,
    installation: InstallationId,
    #[serde(default)]
    tty: bool,
    /// Not in the handles of earlier versions.
    #[serde(default)]
    target: Option<Target>,
}

/// The name of an attempt's container; see [`Attempt::object_name`].
pub(crate) fn object_name(attempt: &str) -> String {
    format!("longshore-{attempt}")
}

/// Identifies an attempt's container and marks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) attempt: AttemptId,
    pub(crate) installation: InstallationId,
    /// The name of its container, or of its mark if it is fenced.
    pub(crate) name: String,
    /// Whether it has a terminal: then its output is one stream without headers.
    pub(crate) tty: bool,
    /// The engine that it is on, if that was recorded.
    pub(crate) target: Option<Target>,
}

impl Location {
    pub(crate) fn of(attempt: &Attempt) -> Self {
        Self {
            attempt: attempt.id.clone(),
            installation: attempt.installation.clone(),
            name: attempt.object_name(),
            tty: attempt.spec.tty,
            target: attempt.target.as_ref().and_then(|target| Target::read(target).ok()),
        }
    }

    pub(crate) fn new(attempt: AttemptId, installation: InstallationId, name: String) -> Self {
        Self { attempt, installation, name, tty: false, target: None }
    }

    /// The location of a container that has a terminal if `tty`.
    pub(crate) fn with_tty(mut self, tty: bool) -> Self {
        self.tty = tty;
        self
    }

    /// The location of a container on the engine at `target`.
    pub(crate) fn at(mut self, target: Option<Target>) -> Self {
        self.target = target;
        self
    }

    pub(crate) fn read(handle: &Handle) -> Result<Self> {
        let unknown = |what: &'static str| {
            Error::new(ErrorKind::Internal, what).with("attempt", &handle.attempt)
        };
        if handle.version != VERSION {
            return Err(unknown("the handle is of a version that this runner does not know"));
        }
        let opaque: Opaque = serde_json::from_value(handle.opaque.clone()).map_err(|error| {
            unknown("the handle is not one of a Docker runner").caused_by(error)
        })?;
        let Opaque { name, installation, tty, target } = opaque;
        Ok(Self::new(handle.attempt.clone(), installation, name).with_tty(tty).at(target))
    }

    pub(crate) fn handle(&self, runner: &RunnerName) -> Handle {
        let mut opaque = serde_json::json!({
            "name": self.name,
            "installation": self.installation.as_str(),
        });
        if self.tty {
            opaque["tty"] = true.into();
        }
        if let Some(target) = &self.target {
            opaque["target"] = serde_json::json!(target);
        }
        Handle::new(runner.clone(), VERSION, self.attempt.clone(), opaque)
    }

    /// The name of the mark about its end.
    pub(crate) fn end_name(&self) -> String {
        format!("{}-end", self.name)
    }

    /// The name of the mark about Longshore's own signals with this number.
    pub(crate) fn signal_name(&self, number: i32) -> String {
        format!("{}-signal-{number}", self.name)
    }

    /// The labels that find its container under any name.
    pub(crate) fn labels(&self) -> Vec<String> {
        let label = |key, value: &str| format!("{key}={value}");
        vec![
            label(labels::ATTEMPT, self.attempt.as_str()),
            label(labels::INSTALLATION, self.installation.as_str()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{JobId, JobSpec};

    use super::*;

    #[test]
    fn a_handle_is_pure_and_leads_back_to_its_location() {
        for tty in [false, true] {
            let mut job = JobSpec::default();
            job.tty = tty;
            let attempt = Attempt::new(InstallationId::random(), JobId::random(), 2, job);
            let location = Location::of(&attempt);
            let runner = RunnerName::docker();
            let handle = location.handle(&runner);
            assert_eq!(handle, Location::of(&attempt).handle(&runner));
            let text = serde_json::to_string(&handle).unwrap();
            let again: Handle = serde_json::from_str(&text).unwrap();
            assert_eq!(Location::read(&again).unwrap(), location);
        }
    }

    #[test]
    fn a_handle_of_another_version_or_form_is_refused() {
        let attempt =
            Attempt::new(InstallationId::random(), JobId::random(), 2, JobSpec::default());
        let runner = RunnerName::docker();
        let mut handle = Location::of(&attempt).handle(&runner);
        handle.version = 99;
        assert_eq!(Location::read(&handle).unwrap_err().kind(), ErrorKind::Internal);
        handle.version = VERSION;
        handle.opaque = serde_json::json!({"pid": 1});
        assert_eq!(Location::read(&handle).unwrap_err().kind(), ErrorKind::Internal);
    }
}
