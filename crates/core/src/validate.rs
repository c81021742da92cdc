//! Checks of a job that do not depend on the runner.

// No input may cause a panic.
#![cfg_attr(
    not(test),
    warn(clippy::arithmetic_side_effects, clippy::expect_used, clippy::indexing_slicing)
)]

use crate::template::asks_for_job_directory;
use crate::{Error, ErrorKind, ExecSpec, JobDirectoryView, JobSpec, Result, volume};

/// The prefix of labels that are reserved for Longshore.
pub const RESERVED_LABEL_PREFIX: &str = "longshore.dev/";

/// The most characters of a job's name.
const LONGEST_NAME: usize = 255;

impl JobSpec {
    /// Checks everything that needs no backend, so that every runner refuses a job for the same
    /// reason.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the key and what is allowed there.
    pub fn validate(&self) -> Result<()> {
        self.validate_name()?;
        self.validate_ways()?;
        self.validate_env()?;
        self.validate_labels()?;
        self.validate_security()?;
        let directory = self.job_directory.as_ref().map(|_| JobDirectoryView::IN_CONTAINER);
        volume::check(&self.volumes, directory).map_err(invalid)?;
        self.validate_limits()
    }

    /// Checks what Kubernetes would refuse. The job's profile is checked with
    /// [`effective_security_context`](Self::effective_security_context), when it is known.
    fn validate_security(&self) -> Result<()> {
        let context = &self.security_context;
        if context.run_as_non_root == Some(true) && context.run_as_user == Some(0) {
            return Err(invalid(
                "`securityContext.runAsNonRoot` is true and `securityContext.runAsUser` is 0, root",
            ));
        }
        let added = context.capabilities.add.iter().map(|it| it.as_str());
        let admin = added.into_iter().any(|name| matches!(name, "SYS_ADMIN" | "ALL"));
        if admin && context.allow_privilege_escalation == Some(false) {
            return Err(invalid(
                "`securityContext.allowPrivilegeEscalation` is false, and \
                 `securityContext.capabilities.add` has SYS_ADMIN, which allows it",
            ));
        }
        Ok(())
    }

    fn validate_name(&self) -> Result<()> {
        let length = self.name.as_deref().map_or(0, |name| name.chars().count());
        if length > LONGEST_NAME {
            return Err(invalid(format!(
                "`name` has {length} characters: at most {LONGEST_NAME} are allowed"
            )));
        }
        Ok(())
    }

    fn validate_ways(&self) -> Result<()> {
        if self.container.is_none() && self.process.is_none() {
            return Err(invalid("the job names nothing to run: give `container` or `process`"));
        }
        if let Some(process) = &self.process {
            let program = process.command.first().or_else(|| process.args.first());
            if program.is_none_or(String::is_empty) {
                return Err(invalid("`process.command` is empty: name a program"));
            }
        }
        for (key, args) in self.arguments() {
            if args.iter().any(|arg| arg.contains('\0')) {
                return Err(invalid(format!("`{key}` has an argument with a NUL character")));
            }
            if self.job_directory.is_none() && asks_for_job_directory(args) {
                return Err(invalid(format!(
                    "`{key}` asks for {{jobDir}}, but the job has no jobDirectory"
                )));
            }
        }
        match &self.job_directory {
            Some(path) if !path.is_absolute() => {
                Err(invalid("`jobDirectory` is not an absolute path").with("path", path.display()))
            }
            _ => Ok(()),
        }
    }

    fn arguments(&self) -> impl Iterator<Item = (&'static str, &[String])> {
        let container = self.container.iter().flat_map(|c| {
            [("container.command", c.command.as_slice()), ("container.args", c.args.as_slice())]
        });
        let process = self.process.iter().flat_map(|p| {
            [("process.command", p.command.as_slice()), ("process.args", p.args.as_slice())]
        });
        container.chain(process)
    }

    fn validate_env(&self) -> Result<()> {
        for (name, value) in &self.env {
            validate_env_name("env", name)?;
            if value.contains('\0') {
                return Err(invalid(format!("the value of `env.{name}` has a NUL character")));
            }
        }
        for name in self.secret_env.keys() {
            validate_env_name("secretEnv", name)?;
            if self.env.contains_key(name) {
                return Err(invalid(format!("`{name}` is set in both `env` and `secretEnv`")));
            }
        }
        Ok(())
    }

    /// Checks Kubernetes' rules for labels, so that a job is not refused on one runner only
    /// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>).
    fn validate_labels(&self) -> Result<()> {
        for (key, value) in &self.labels {
            if key.starts_with(RESERVED_LABEL_PREFIX) {
                return Err(invalid(format!(
                    "the label `{key}` is Longshore's own: choose another prefix than `{RESERVED_LABEL_PREFIX}`"
                )));
            }
            let (prefix, name) =
                key.split_once('/').map_or((None, key.as_str()), |(p, n)| (Some(p), n));
            let prefix_fits = prefix
                .is_none_or(|p| !p.is_empty() && p.len() <= 253 && p.split('.').all(is_dns_label));
            if !prefix_fits || name.is_empty() || !is_label_text(name) {
                return Err(invalid(format!(
                    "`{key}` is not a label key: [prefix/]name, the name of 1 to 63 letters, digits, '-', '_' and '.'"
                )));
            }
            if !is_label_text(value) {
                return Err(invalid(format!(
                    "`{value}` is not a value for the label `{key}`: at most 63 letters, digits, '-', '_' and '.', a letter or digit first and last"
                )));
            }
        }
        Ok(())
    }

    fn validate_limits(&self) -> Result<()> {
        if self.resources.limits.pids == Some(0) {
            return Err(invalid("`resources.limits.pids` is 0: no process could start"));
        }
        if self.resources.limits.gpus == Some(0) {
            return Err(invalid("`resources.limits.gpus` is 0: leave it out"));
        }
        if self.timeout.is_some_and(|timeout| timeout.get().is_zero()) {
            return Err(invalid("`timeout` is zero: leave it out, or give the job some time"));
        }
        match &self.runners {
            Some(runners) if runners.is_empty() => {
                Err(invalid("`runners` is empty: leave it out, or name at least one"))
            }
            Some(runners) => {
                match runners
                    .iter()
                    .enumerate()
                    .find(|(i, r)| runners.iter().take(*i).any(|e| e == *r))
                {
                    Some((_, runner)) => Err(invalid(format!("`runners` names {runner} twice"))),
                    None => Ok(()),
                }
            }
            None => Ok(()),
        }
    }
}

impl ExecSpec {
    /// Checks what every runner would refuse.
    ///
    /// # Errors
    /// `InvalidSpec`. The error shows no value of the environment.
    pub fn validate(&self) -> Result<()> {
        if self.command.first().is_none_or(String::is_empty) {
            return Err(invalid("no command is given"));
        }
        let texts = self.command.iter().chain(&self.working_dir).chain(&self.user);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(invalid("the command has a NUL character"));
        }
        for (name, value) in &self.env {
            validate_env_name("env", name)?;
            if value.contains('\0') {
                return Err(invalid(format!("the value of `env.{name}` has a NUL character")));
            }
        }
        Ok(())
    }
}

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidSpec, message)
}

fn validate_env_name(key: &str, name: &str) -> Result<()> {
    // Kubernetes accepts any printable ASCII except '='. POSIX accepts any character except '=' and
    // NUL. This accepts what both accept.
    let fits = !name.is_empty() && name.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'=');
    if fits {
        return Ok(());
    }
    Err(invalid(format!(
        "`{}` is not a name for a variable in `{key}`: printable ASCII without '='",
        name.escape_default()
    )))
}

fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().next_back())
}

fn is_dns_label(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut JobSpec)) -> String {
        let mut job = JobSpec::process(["true"]);
        job.validate().unwrap();
        change(&mut job);
        let error = job.validate().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        error.to_string()
    }

    #[test]
    fn a_job_that_makes_no_sense_is_refused_with_the_key() {
        assert!(refused(|j| j.process = None).contains("names nothing to run"));
        assert!(refused(|j| *j = JobSpec::process([""])).contains("`process.command` is empty"));
        assert!(refused(|j| *j = JobSpec::process(["a\0"])).contains("NUL"));
        assert!(
            refused(|j| *j = JobSpec::process(["cat", "{jobDir}/x"]))
                .contains("has no jobDirectory")
        );
        assert!(refused(|j| j.name = Some("n".repeat(256))).contains("`name` has 256"));
        assert!(refused(|j| j.job_directory = Some("here".into())).contains("absolute"));
        assert!(refused(|j| j.resources.limits.pids = Some(0)).contains("pids"));
        assert!(refused(|j| j.resources.limits.gpus = Some(0)).contains("gpus"));
        assert!(refused(|j| j.timeout = Some("0s".parse().unwrap())).contains("timeout"));
        assert!(refused(|j| j.runners = Some(vec![])).contains("`runners` is empty"));
        let root = |j: &mut JobSpec| {
            j.security_context.run_as_non_root = Some(true);
            j.security_context.run_as_user = Some(0);
        };
        assert!(refused(root).contains("runAsNonRoot"));
        let admin = |j: &mut JobSpec| {
            j.security_context.allow_privilege_escalation = Some(false);
            j.security_context.capabilities.add = vec!["SYS_ADMIN".parse().unwrap()];
        };
        assert!(refused(admin).contains("SYS_ADMIN"));
        let twice = vec![crate::RunnerName::docker(), crate::RunnerName::docker()];
        assert!(refused(|j| j.runners = Some(twice)).contains("docker twice"));
    }

    #[test]
    fn an_environment_name_with_an_equals_sign_or_nul_is_refused() {
        for name in ["A=B", "A\0", "", "é"] {
            let said = refused(|j| drop(j.env.insert(name.to_owned(), String::new())));
            assert!(said.contains("printable ASCII"), "{said}");
        }
        assert!(refused(|j| drop(j.env.insert("A".to_owned(), "\0".to_owned()))).contains("env.A"));
    }

    #[test]
    fn a_command_in_a_job_that_makes_no_sense_is_refused_and_its_values_are_not_shown() {
        let refused = |change: fn(&mut ExecSpec)| {
            let mut spec = ExecSpec::new(["true"]);
            spec.validate().unwrap();
            change(&mut spec);
            spec.validate().unwrap_err().to_string()
        };
        assert!(refused(|s| s.command.clear()).contains("no command"));
        assert!(refused(|s| s.command = vec![String::new()]).contains("no command"));
        assert!(refused(|s| s.user = Some("a\0".to_owned())).contains("NUL"));
        let said = refused(|s| s.env.push(("A".to_owned(), "hunter2\0".to_owned())));
        assert!(said.contains("env.A") && !said.contains("hunter2"), "{said}");
        assert!(refused(|s| s.env.push(("A=B".to_owned(), String::new()))).contains("ASCII"));
    }

    #[test]
    fn labels_that_kubernetes_would_refuse_are_refused_everywhere() {
        let with = |key: &str, value: &str| {
            let (key, value) = (key.to_owned(), value.to_owned());
            refused(move |j| drop(j.labels.insert(key, value)))
        };
        assert!(with("longshore.dev/attempt", "x").contains("Longshore's own"));
        assert!(with("a b", "x").contains("not a label key"));
        assert!(with("/a", "x").contains("not a label key"));
        assert!(with("a", "-x").contains("not a value"));
        assert!(with("a", &"x".repeat(64)).contains("not a value"));
        let mut job = JobSpec::process(["true"]);
        job.labels.insert("example.org/team".to_owned(), String::new());
        job.validate().unwrap();
    }
}
