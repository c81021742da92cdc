//! Translates a job into what the supervisor runs. Pure.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;

use longshore_core::{
    Attempt, Capabilities, Error, ErrorKind, JobDirectoryView, Plan, PlanFormat, Process,
    ResourceList, Result,
};

use crate::cgroup::{GroupPlan, Support};
use crate::config::ProcessConfig;
use crate::linux::ATTEMPT_VARIABLE;
use crate::wire::Environment;

/// The search path of a job whose caller has none: that of a container
/// (<https://github.com/moby/moby/blob/master/daemon/pkg/oci/defaults.go>).
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The terminal type of a job with a terminal: that of a container
/// (<https://github.com/moby/moby/blob/master/container/container.go>, `CreateDaemonEnvironment`).
pub(crate) const DEFAULT_TERM: &str = "xterm";

/// What to run, and how.
pub(crate) struct Submission {
    pub(crate) argv: Vec<String>,
    pub(crate) working_dir: PathBuf,
    pub(crate) job_directory: Option<PathBuf>,
    pub(crate) environment: Environment,
    pub(crate) cgroups: Vec<GroupPlan>,
}

/// Returns the process section of `attempt`'s job.
///
/// Fails with `Unsupported` for a job that cannot run as a local process, and with `InvalidSpec`
/// for an invalid job.
fn checked<'a>(
    attempt: &'a Attempt,
    capabilities: &Capabilities,
    support: &Support,
) -> Result<&'a Process> {
    attempt.spec.validate()?;
    attempt.spec.ensure_supported(capabilities, |it| support.remedy(it))?;
    attempt.spec.process.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, "the job does not say how to run as a local process")
    })
}

fn argv(attempt: &Attempt, process: &Process) -> Vec<String> {
    let words: Vec<String> = process.command.iter().chain(&process.args).cloned().collect();
    JobDirectoryView::in_process(&attempt.spec).expand(&words)
}

fn working_dir(attempt: &Attempt, process: &Process) -> Result<PathBuf> {
    let given = process.working_dir.as_ref().map(|dir| {
        let expanded =
            JobDirectoryView::in_process(&attempt.spec).expand(std::slice::from_ref(dir));
        PathBuf::from(expanded.concat())
    });
    let path = given.or_else(|| attempt.spec.job_directory.clone()).unwrap_or_else(|| "/".into());
    if path.is_absolute() {
        return Ok(path);
    }
    Err(Error::new(ErrorKind::InvalidSpec, "`process.workingDir` is not an absolute path")
        .with("path", path.display()))
}

/// Returns what to run for `attempt`. `host` is the environment of the caller.
///
/// The job's environment is clean. It contains a default `PATH`, what [`ProcessConfig::inherits`]
/// lets through, the `TERM` of a terminal, the job's own variables, its secrets, and the marker [`ATTEMPT_VARIABLE`]. Later
/// ones take precedence.
pub(crate) fn submission(
    attempt: &Attempt,
    capabilities: &Capabilities,
    support: &Support,
    config: &ProcessConfig,
    host: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Submission> {
    let process = checked(attempt, capabilities, support)?;
    let mut environment = std::collections::BTreeMap::new();
    environment.insert(OsString::from("PATH"), OsString::from(DEFAULT_PATH));
    if attempt.spec.tty {
        environment.insert(OsString::from("TERM"), OsString::from(DEFAULT_TERM));
    }
    let inherited = host
        .into_iter()
        .filter(|(name, _)| name.to_str().is_some_and(|name| config.inherits(name)));
    environment.extend(inherited);
    let own = JobDirectoryView::in_process(&attempt.spec).env(&attempt.spec);
    environment.extend(own.into_iter().map(|(name, value)| (name.into(), value.into())));
    let secrets = attempt.secret_env.iter();
    environment.extend(secrets.map(|(name, secret)| (name.into(), secret.expose().into())));
    environment.insert(ATTEMPT_VARIABLE.into(), attempt.id.as_str().into());
    Ok(Submission {
        argv: argv(attempt, process),
        working_dir: working_dir(attempt, process)?,
        job_directory: attempt.spec.job_directory.clone(),
        environment: environment.into_iter().collect(),
        cgroups: support.plan(&attempt.id, &attempt.spec.resources.limits),
    })
}

/// Returns the command line that `attempt` would run.
pub(crate) fn plan(
    attempt: &Attempt,
    capabilities: &Capabilities,
    support: &Support,
    config: &ProcessConfig,
) -> Result<Plan> {
    let process = checked(attempt, capabilities, support)?;
    let mut variables = JobDirectoryView::in_process(&attempt.spec).env(&attempt.spec);
    variables.insert(ATTEMPT_VARIABLE.to_owned(), attempt.id.to_string());
    let secrets = attempt.spec.secret_env.keys().chain(attempt.secret_env.keys());
    variables.extend(secrets.map(|name| (name.clone(), "***".to_owned())));
    // `env` accepts names that a shell does not.
    let mut words = Vec::new();
    if !variables.keys().all(|name| is_shell_name(name)) {
        words.push("env".to_owned());
    }
    for (name, value) in &variables {
        // Three stars are not a pattern here. Quoted, they would read as the value itself.
        let quoted = if value == "***" { value.into() } else { shell_words::quote(value) };
        let name = shell_words::quote(name);
        words.push(format!("{name}={quoted}"));
    }
    words.push(shell_words::join(argv(attempt, process)));
    let mut plan = Plan::new(PlanFormat::Argv, words.join(" "));
    plan.notes = notes(attempt, config);
    plan.notes
        .insert(0, format!("working directory: {}", working_dir(attempt, process)?.display()));
    Ok(plan)
}

fn is_shell_name(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.bytes().next().is_none_or(|b| b.is_ascii_digit())
}

fn notes(attempt: &Attempt, config: &ProcessConfig) -> Vec<String> {
    let widened: BTreeSet<&str> = config.inherit_env.iter().map(String::as_str).collect();
    let mut inherited =
        "inherited, where set: PATH HOME USER LOGNAME LANG LANGUAGE LC_* TZ TMPDIR".to_owned();
    for name in widened {
        inherited.push(' ');
        inherited.push_str(name);
    }
    if attempt.spec.tty {
        inherited.push_str("; TERM is xterm unless the job sets it");
    }
    let confined = match attempt.spec.resources.limits == ResourceList::default() {
        true => "unconfined",
        false => "unconfined except for its resource limits, by a cgroup",
    };
    let mut notes = vec![inherited, format!("the job runs as Longshore's own user, {confined}")];
    if attempt.spec.stdin {
        notes.push("the job gets a stdin".to_owned());
    }
    if attempt.spec.job_directory.is_some() {
        notes.push(
            "input/ of the job directory is read-only by convention: nothing prevents a process from writing there"
                .to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use longshore_core::{Capability, InstallationId, JobId, JobSpec, Secret, SecretSource};

    use super::*;
    use crate::runner::capabilities;

    fn attempt(spec: JobSpec) -> Attempt {
        let installation: InstallationId = "here".parse().unwrap();
        let job: JobId = "job".parse().unwrap();
        let mut attempt = Attempt::new(installation, job, 1, spec);
        let names: Vec<String> = attempt.spec.secret_env.keys().cloned().collect();
        attempt.secret_env = names.into_iter().map(|name| (name, Secret::new("hunter2"))).collect();
        attempt
    }

    fn rich() -> Attempt {
        let mut spec = JobSpec::process(["sh", "-c", "echo \"it's $A\""]);
        spec.job_directory = Some("/srv/job 1".into());
        spec.process.as_mut().unwrap().args = vec!["{jobDir}/input/a".to_owned()];
        spec.env.insert("A".to_owned(), "b c".to_owned());
        spec.secret_env.insert("TOKEN".to_owned(), SecretSource::Env("X".to_owned()));
        attempt(spec)
    }

    #[test]
    fn a_plan_is_a_command_line_without_secrets() {
        let config = ProcessConfig { inherit_env: vec!["FOO_*".into()], ..Default::default() };
        let plan = plan(&rich(), &capabilities(), &Support::none(), &config).unwrap();
        insta::assert_snapshot!(format!("{}\n{}", plan.text, plan.notes.join("\n")));
    }

    #[test]
    fn names_that_no_shell_takes_are_given_by_env() {
        let mut spec = JobSpec::process(["true"]);
        spec.env.insert("a.b".to_owned(), "1".to_owned());
        let plan =
            plan(&attempt(spec), &capabilities(), &Support::none(), &ProcessConfig::default())
                .unwrap();
        assert_eq!(plan.text, "env LONGSHORE_ATTEMPT=job-1 a.b=1 true");
    }

    #[test]
    fn the_environment_is_clean_and_the_jobs_own_wins() {
        let host = [("PATH", "/p"), ("SECRET", "s"), ("LANG", "C"), ("A", "host")];
        let host = host.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let found =
            submission(&rich(), &capabilities(), &Support::none(), &ProcessConfig::default(), host)
                .unwrap();
        let text: Vec<String> = found
            .environment
            .iter()
            .map(|(n, v)| format!("{}={}", n.display(), v.display()))
            .collect();
        let expected = [
            "A=b c",
            "LANG=C",
            "LONGSHORE_ATTEMPT=job-1",
            "LONGSHORE_JOB_DIR=/srv/job 1",
            "PATH=/p",
            "TOKEN=hunter2",
        ];
        assert_eq!(text, expected);
        assert_eq!(found.argv[3], "/srv/job 1/input/a");
        assert_eq!(found.working_dir, PathBuf::from("/srv/job 1"));
    }

    #[test]
    fn a_job_that_needs_a_container_is_unsupported() {
        let image = attempt(JobSpec::container("busybox".parse().unwrap()));
        let error =
            plan(&image, &capabilities(), &Support::none(), &ProcessConfig::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let mut limited = JobSpec::process(["true"]);
        limited.resources.limits.memory = Some("1Mi".parse().unwrap());
        let error =
            plan(&attempt(limited), &capabilities(), &Support::none(), &ProcessConfig::default())
                .unwrap_err();
        let reason = "resources.limits.memory (no mounted cgroup hierarchy has the controller";
        assert!(error.to_string().contains(reason), "{error}");
        assert!(!capabilities().has(Capability::LimitMemory));
    }

    #[test]
    fn a_relative_working_directory_is_refused() {
        let mut spec = JobSpec::process(["true"]);
        spec.process.as_mut().unwrap().working_dir = Some("here".to_owned());
        let error =
            plan(&attempt(spec), &capabilities(), &Support::none(), &ProcessConfig::default())
                .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
    }
}
