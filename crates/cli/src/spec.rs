//! Builds a job from the command line and a job file.

use std::env::VarError;
use std::path::{Path, PathBuf};

use longshore::JobSpec;
use longshore::job::{Container, Network, Process, SecretSource};

use crate::error::CliError;
use crate::job_args::{JobArgs, NetworkArg};
use crate::{env_file, job_file};

/// Returns the job that `args` describes: the job file, if one is named, with overrides by the
/// flags.
///
/// # Errors
/// If a file cannot be read or is not a job, or if flags contradict each other; the error names
/// them.
pub fn build(args: &JobArgs) -> Result<JobSpec, CliError> {
    let mut job = match &args.file {
        Some(file) => job_file::read(file)?,
        None => JobSpec::default(),
    };
    apply_ways(args, &mut job)?;
    apply_environment(args, &mut job)?;
    if let Some(directory) = &args.job_dir {
        job.job_directory = Some(job_file::absolute(Path::new("."), directory)?);
    }
    apply_working_directory(args, &mut job)?;
    apply_limits(args, &mut job);
    job.tty |= args.tty;
    // Otherwise, the stdin that the job is given decides.
    job.stdin |= job.tty && args.interactive;
    job.volumes.extend(args.volume.iter().cloned());
    job.labels.extend(args.label.iter().cloned());
    replace(&mut job.name, args.name.as_ref());
    replace(&mut job.timeout, args.timeout.as_ref());
    replace(&mut job.image_pull_policy, args.pull_policy.as_ref());
    replace(&mut job.runners, args.runners.as_ref());
    Ok(job)
}

fn replace<T: Clone>(slot: &mut Option<T>, given: Option<&T>) {
    if let Some(given) = given {
        *slot = Some(given.clone());
    }
}

/// Sets the working directory. A local process without one and without a job directory runs in the
/// directory of this command.
fn apply_working_directory(args: &JobArgs, job: &mut JobSpec) -> Result<(), CliError> {
    let utf8 = |path: PathBuf| {
        let refuse = |path: std::ffi::OsString| {
            let path = path.to_string_lossy().into_owned();
            CliError::usage(format!("the working directory `{path}` is not UTF-8"))
        };
        path.into_os_string().into_string().map_err(refuse)
    };
    if let (Some(directory), Some(container)) = (&args.workdir, &mut job.container) {
        container.working_dir = Some(utf8(directory.clone())?);
    }
    let Some(process) = &mut job.process else { return Ok(()) };
    if let Some(directory) = &args.workdir {
        process.working_dir = Some(utf8(job_file::absolute(Path::new("."), directory)?)?);
    } else if process.working_dir.is_none() && job.job_directory.is_none() {
        let here = std::env::current_dir().map_err(|error| {
            CliError::failed(format!(
                "failed to find the working directory of this command: {error}; name one with \
                 --workdir"
            ))
        })?;
        process.working_dir = Some(utf8(here)?);
    }
    Ok(())
}

fn apply_limits(args: &JobArgs, job: &mut JobSpec) {
    let limits = &mut job.resources.limits;
    replace(&mut limits.memory, args.memory.as_ref());
    replace(&mut limits.cpu, args.cpus.as_ref());
    replace(&mut limits.pids, args.pids_limit.as_ref());
    replace(&mut limits.gpus, args.gpus.as_ref());
    if let Some(user) = args.user {
        job.security_context.run_as_user = Some(user.id);
        job.security_context.run_as_group = user.group;
    }
    if args.read_only {
        job.security_context.read_only_root_filesystem = true;
    }
    if let Some(network) = args.network {
        job.network = match network {
            NetworkArg::Default => Network::Default,
            NetworkArg::None => Network::None,
        };
    }
}

fn apply_ways(args: &JobArgs, job: &mut JobSpec) -> Result<(), CliError> {
    if let Some(image) = &args.image {
        match &mut job.container {
            Some(container) => container.image = image.clone(),
            None => job.container = Some(Container::new(image.clone())),
        }
    }
    if let (Some(entrypoint), Some(container)) = (&args.entrypoint, &mut job.container) {
        container.command = vec![entrypoint.clone()];
    }
    if let Some(words) = &args.process {
        job.process = Some(Process::new(words.0.iter().cloned()));
    }
    if args.args.is_empty() {
        return Ok(());
    }
    match (&mut job.container, &mut job.process) {
        (Some(container), _) => container.args.clone_from(&args.args),
        (None, Some(_)) if args.process.is_some() => {
            return Err(CliError::usage(
                "give the process's command either by --process or as arguments, not both (with \
                 --image, the arguments are the container's)",
            ));
        }
        (None, Some(process)) => process.args.clone_from(&args.args),
        (None, None) => job.process = Some(Process::new(args.args.iter().cloned())),
    }
    Ok(())
}

fn apply_environment(args: &JobArgs, job: &mut JobSpec) -> Result<(), CliError> {
    for (name, value) in variables(&args.env_file, &args.env)? {
        job.secret_env.remove(&name);
        job.env.insert(name, value);
    }
    for given in &args.secret_env {
        let (name, source) = named_source(given)?;
        job.env.remove(name);
        job.secret_env.insert(name.to_owned(), source);
    }
    Ok(())
}

/// Returns the variables of `--env-file` and then of `--env`.
///
/// # Errors
/// If a file cannot be read, or a variable without a value is not set here.
pub fn variables(files: &[PathBuf], given: &[String]) -> Result<Vec<(String, String)>, CliError> {
    let mut variables = Vec::new();
    for file in files {
        variables.extend(env_file::read(file, |name| std::env::var(name).ok())?);
    }
    for given in given {
        let (name, value) = match given.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (given.as_str(), from_environment(given)?),
        };
        variables.push((name.to_owned(), value));
    }
    Ok(variables)
}

fn from_environment(name: &str) -> Result<String, CliError> {
    if name.is_empty() {
        return Err(CliError::usage("--env: write it as NAME=VALUE or NAME"));
    }
    value_of(name, std::env::var(name))
}

/// Returns the value of a variable. An error does not repeat the value, which may be a secret.
fn value_of(name: &str, value: Result<String, VarError>) -> Result<String, CliError> {
    let why = match value {
        Ok(value) => return Ok(value),
        Err(VarError::NotPresent) => "it is not set here",
        Err(VarError::NotUnicode(_)) => "its value is not UTF-8",
    };
    Err(CliError::usage(format!("--env {name}: {why} (write --env {name}=VALUE to give one)")))
}

/// Splits `NAME=SOURCE`. Errors do not repeat the text, which may be the secret itself, given by
/// mistake.
fn named_source(given: &str) -> Result<(&str, SecretSource), CliError> {
    let Some((name, source)) = given.split_once('=').filter(|(name, _)| !name.is_empty()) else {
        return Err(CliError::usage(
            "--secret-env: write it as NAME=file:PATH or NAME=env:VARIABLE",
        ));
    };
    match source.split_once(':') {
        Some(("file", path)) if !path.is_empty() => {
            Ok((name, SecretSource::File(job_file::absolute(Path::new("."), Path::new(path))?)))
        }
        Some(("env", variable)) if !variable.is_empty() => {
            Ok((name, SecretSource::Env(variable.to_owned())))
        }
        _ => Err(CliError::usage(format!(
            "--secret-env {name}: give the source of its value, file:PATH or env:VARIABLE"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Command;
    use crate::command_line;

    fn job(line: &[&str]) -> Result<JobSpec, CliError> {
        let words = ["longshore", "plan"].iter().chain(line).map(Into::into);
        let Command::Plan(args) = command_line::parse(words.collect()).unwrap().command else {
            unreachable!("plan was parsed")
        };
        build(&args)
    }

    #[test]
    fn arguments_are_the_processs_argv_without_an_image_and_the_containers_args_with_one() {
        let local = job(&["--", "echo", "a"]).unwrap();
        assert_eq!(local.process.unwrap().command, ["echo", "a"]);
        assert_eq!(local.container, None);
        let contained = job(&["--image", "busybox", "--", "echo", "a"]).unwrap();
        assert_eq!(contained.container.unwrap().args, ["echo", "a"]);
        assert_eq!(contained.process, None);
    }

    #[test]
    fn a_process_beside_an_image_is_a_second_way_to_run() {
        let both = job(&["--image", "busybox", "--process", "echo 'a b'", "--", "echo"]).unwrap();
        assert_eq!(both.process.unwrap().command, ["echo", "a b"]);
        assert_eq!(both.container.unwrap().args, ["echo"]);
        let error = job(&["--process", "echo", "--", "echo"]).unwrap_err();
        assert!(error.to_string().contains("not both"), "{error}");
    }

    #[test]
    fn flags_change_what_the_job_file_says_and_its_paths_are_relative_to_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.toml");
        let text = "name = 'a'\njobDirectory = 'dir'\n[container]\nimage = 'x'\nargs = ['1']\n\
                    [process]\ncommand = ['p']\n[secretEnv]\nT = { file = 'token' }\n\
                    [[registries]]\nserver = 'r.example'\nusername = 'u'\npasswordFile = 'p'\n";
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        let unchanged = job(&[file]).unwrap();
        assert_eq!(unchanged.job_directory, Some(folder.path().join("dir")));
        assert_eq!(unchanged.secret_env["T"], SecretSource::File(folder.path().join("token")));
        assert_eq!(unchanged.registries[0].password_file, Some(folder.path().join("p")));
        let changed = job(&[file, "--image", "y:2", "--name", "b", "--", "2"]).unwrap();
        let container = changed.container.unwrap();
        assert_eq!((container.image.as_str(), container.args), ("y:2", vec!["2".to_owned()]));
        assert_eq!(changed.name.as_deref(), Some("b"));
        assert_eq!(changed.process.unwrap().command, ["p"]);
    }

    #[test]
    fn a_value_that_is_not_utf8_is_not_repeated() {
        use std::os::unix::ffi::OsStringExt;
        let value = std::ffi::OsString::from_vec(b"hunter2\xff".to_vec());
        let error = value_of("T", Err(VarError::NotUnicode(value))).unwrap_err().to_string();
        assert!(error.contains("not UTF-8") && !error.contains("hunter2"), "{error}");
        let error = job(&["--env", "", "--", "x"]).unwrap_err().to_string();
        assert!(error.contains("NAME=VALUE"), "{error}");
    }

    #[test]
    fn a_secret_given_in_the_clear_is_refused_without_repeating_it() {
        for given in ["T=hunter2", "hunter2", "=hunter2", "T=hunter2:x"] {
            let error = job(&["--secret-env", given, "--", "x"]).unwrap_err().to_string();
            assert!(error.contains("file:PATH") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_secret_written_into_a_job_file_is_refused_without_repeating_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("job.yaml");
        for line in [
            "secretEnv: {T: hunter2}",
            "secretEnv: {T: {file: [hunter2]}}",
            "secretEnv: hunter2",
            "registries: hunter2",
            "registries: [hunter2]",
            "registries: [{server: h.example, username: u, passwordFile: [hunter2]}]",
            "registries: [{server: h.example, username: u, password: hunter2}]",
        ] {
            std::fs::write(&file, format!("process: {{command: [x]}}\n{line}\n")).unwrap();
            let error = job(&[file.to_str().unwrap()]).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{line}: {error}");
        }
    }
}
