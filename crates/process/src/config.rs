//! Settings of the process backend.

use std::path::PathBuf;

#[cfg(feature = "schema")]
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use longshore_core::{Error, ErrorKind, HumanDuration, Memory, Result};

/// Settings of the process backend: the subtree `job.process` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(JsonSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProcessConfig {
    /// The directory for the records and output of attempts, created with mode 0700. None: `$XDG_STATE_HOME/longshore/process`, else `~/.local/state/longshore/process`,
    /// else, as root without a home, `/var/lib/longshore/process`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(extend("x-path" = true)))]
    pub state_directory: Option<PathBuf>,
    /// Variables that a job gets from Longshore's own environment, in addition to `PATH`, `HOME`,
    /// `USER`, `LOGNAME`, `LANG`, `LANGUAGE`, `LC_*`, `TZ` and `TMPDIR`. A `*` at the end of a name
    /// matches any rest. `*` alone passes on every variable.
    pub inherit_env: Vec<String>,
    /// The maximum number of concurrent jobs of one Longshore process. A further job is refused as
    /// `Saturated`, and so is one for which the process has too few file descriptors (ulimit -n): a
    /// job takes up to three. Each job has its own supervisor process.
    pub slots: usize,
    /// How much output of a job is kept, both streams together. If a job writes more, the oldest
    /// output is removed, in eighths of this size, and a reader that has not read it yet receives a
    /// gap. At least 64Ki; `0` is no bound. Docker's `max-size` and `max-file` have the same purpose.
    pub log_max_size: Memory,
    /// How long a supervisor without a job is kept for the next job.
    pub idle_timeout: HumanDuration,
    /// Whether the start and the end of an attempt are forced to disk before they are reported.
    /// Without it, they survive the death of every process, but not a power failure. A job that a
    /// power failure ended may then be unknown, and could be run again.
    pub fsync: bool,
}

impl Default for ProcessConfig {
    fn default() -> Self {
        Self {
            state_directory: None,
            inherit_env: Vec::new(),
            log_max_size: Memory::from_bytes(1 << 30),
            slots: 1000,
            idle_timeout: HumanDuration::from_secs(2),
            fsync: false,
        }
    }
}

impl ProcessConfig {
    /// Returns the effective state directory. `env` looks up an environment variable.
    ///
    /// Follows the XDG Base Directory Specification 0.8: a relative `XDG_STATE_HOME` is ignored.
    pub(crate) fn resolve_state_directory(
        &self,
        env: impl Fn(&str) -> Option<PathBuf>,
        is_root: bool,
    ) -> Result<PathBuf> {
        let found = match &self.state_directory {
            Some(path) => Some(path.clone()),
            None => default_state_directory(env, is_root),
        };
        let path = found.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "there is no state directory: set job.process.stateDirectory, XDG_STATE_HOME or HOME",
            )
        })?;
        let refuse = |why: &'static str| {
            Error::new(ErrorKind::Unavailable, why).with("stateDirectory", path.display())
        };
        if !path.is_absolute() {
            return Err(refuse("job.process.stateDirectory is not an absolute path"));
        }
        if path.to_str().is_none() {
            return Err(refuse("the state directory's path is not UTF-8"));
        }
        Ok(path)
    }

    /// Returns the bound on the kept output of a job in bytes. `None`: no bound.
    pub(crate) fn log_max_bytes(&self) -> Option<u64> {
        Some(self.log_max_size.bytes()).filter(|bytes| *bytes > 0)
    }

    /// Whether a job inherits the variable `name`.
    pub(crate) fn inherits(&self, name: &str) -> bool {
        const ALWAYS: [&str; 9] =
            ["PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR"];
        let matches = |pattern: &str| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        };
        ALWAYS.into_iter().any(matches) || self.inherit_env.iter().any(|p| matches(p))
    }
}

fn default_state_directory(
    env: impl Fn(&str) -> Option<PathBuf>,
    is_root: bool,
) -> Option<PathBuf> {
    let absolute = |name: &str| env(name).filter(|path| path.is_absolute());
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .map(|base| base.join("longshore/process"))
        .or_else(|| is_root.then(|| PathBuf::from("/var/lib/longshore/process")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(env: &[(&str, &str)], is_root: bool) -> Result<PathBuf> {
        let lookup =
            |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| PathBuf::from(v));
        ProcessConfig::default().resolve_state_directory(lookup, is_root)
    }

    #[test]
    fn the_state_directory_follows_the_xdg_specification() {
        let both = [("XDG_STATE_HOME", "/s"), ("HOME", "/h")];
        assert_eq!(resolved(&both, false).unwrap(), PathBuf::from("/s/longshore/process"));
        let relative = [("XDG_STATE_HOME", "s"), ("HOME", "/h")];
        let home = PathBuf::from("/h/.local/state/longshore/process");
        assert_eq!(resolved(&relative, true).unwrap(), home);
        assert_eq!(resolved(&[], true).unwrap(), PathBuf::from("/var/lib/longshore/process"));
        let said = resolved(&[], false).unwrap_err();
        assert_eq!(said.kind(), ErrorKind::Unavailable);
        assert!(said.to_string().contains("stateDirectory"), "{said}");
    }

    #[test]
    fn a_relative_state_directory_is_refused() {
        let config =
            ProcessConfig { state_directory: Some("here".into()), ..ProcessConfig::default() };
        let said = config.resolve_state_directory(|_| None, true).unwrap_err().to_string();
        assert!(said.contains("not an absolute path"), "{said}");
    }

    #[test]
    fn a_job_inherits_the_allow_list_and_what_is_configured() {
        let config = ProcessConfig {
            inherit_env: vec!["HTTP_PROXY".into(), "AWS_*".into()],
            ..ProcessConfig::default()
        };
        for name in ["PATH", "LC_ALL", "HTTP_PROXY", "AWS_REGION"] {
            assert!(config.inherits(name), "{name}");
        }
        for name in ["SECRET", "LD_PRELOAD", "HTTP_PROXY_2", "AW", "PATHS"] {
            assert!(!config.inherits(name), "{name}");
        }
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let said = serde_json::from_str::<ProcessConfig>(r#"{"slot": 1}"#).unwrap_err();
        assert!(said.to_string().contains("unknown field `slot`"), "{said}");
    }
}
