//! Starts the first process of a job.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use longshore_core::{
    Attempt, Error, ErrorKind, JobDirectoryView, LogStream, Process, RejectReason, Result,
};
use tokio::process::{Child, Command};

use super::Flaw::{self, *};
use super::signals::mark;

pub(super) fn output(files: &Path, stream: LogStream) -> PathBuf {
    files.with_extension(match stream {
        LogStream::Stdout => "out",
        LogStream::Stderr => "err",
    })
}

/// Removes the files of a job's output.
pub(super) fn discard(files: &Path) {
    for stream in [LogStream::Stdout, LogStream::Stderr] {
        let _ = std::fs::remove_file(output(files, stream));
    }
}

/// Starts the process of `attempt`, or `true` for a job that names none: the backend accepts any.
pub(super) fn spawn(attempt: &Attempt, files: &Path, flaw: Option<Flaw>) -> Result<Child> {
    let has = |one| flaw == Some(one);
    let spec = &attempt.spec;
    let view = JobDirectoryView::in_process(spec);
    let nothing = longshore_core::JobSpec::process(["true"]).process;
    let Some(process) = spec.process.as_ref().or(nothing.as_ref()) else {
        return Err(Error::new(ErrorKind::Unsupported, "the job names no local process"));
    };
    let argv = arguments(process, &view, attempt, flaw);
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]);
    let rejected = |reason| Error::new(ErrorKind::Rejected(reason), "failed to start the command");
    let folder = match process.working_dir.as_deref() {
        Some(folder) if !has(IgnoresTheWorkingDirectory) => folder,
        _ => "/",
    };
    if !Path::new(folder).is_dir() {
        return Err(rejected(RejectReason::ContainerConfig));
    }
    let stdin = match spec.stdin && !has(GivesAnEmptyStdin) || has(KeepsStandardInputOpen) {
        true => Stdio::piped(),
        false => Stdio::null(),
    };
    command.current_dir(folder).stdin(stdin);
    if has(KillsOnlyItsGroup) {
        command.process_group(0);
    }
    environment(&mut command, attempt, flaw);
    redirect(&mut command, files, flaw)?;
    let missing = has(CallsAMissingCommandAnExit);
    command.spawn().or_else(|error| match error.kind() {
        std::io::ErrorKind::PermissionDenied => Err(rejected(RejectReason::CommandNotExecutable)),
        _ if missing => Command::new("false").spawn().map_err(failed),
        _ => Err(rejected(RejectReason::CommandNotFound)),
    })
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Internal, "failed to open a file").caused_by(error)
}

fn arguments(
    process: &Process,
    view: &JobDirectoryView,
    attempt: &Attempt,
    flaw: Option<Flaw>,
) -> Vec<String> {
    let argv = [process.command.clone(), process.args.clone()].concat();
    let argv = if flaw == Some(ForgetsThePlaceholder) { argv } else { view.expand(&argv) };
    match flaw {
        Some(SplitsArguments) => vec!["sh".to_owned(), "-c".to_owned(), argv.join(" ")],
        Some(PutsSecretsInArguments) => {
            let secrets: Vec<String> = attempt
                .secret_env
                .iter()
                .map(|(name, value)| format!("{name}={}", value.expose()))
                .collect();
            let script = format!("export {}; \"$@\"; exit $?", secrets.join(" "));
            [vec!["sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()], argv].concat()
        }
        _ => argv,
    }
}

/// Gives `command` the environment of the job, and its mark.
pub(super) fn environment(command: &mut Command, attempt: &Attempt, flaw: Option<Flaw>) {
    let view = JobDirectoryView::in_process(&attempt.spec);
    if flaw != Some(LeaksItsEnvironment) {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    }
    for (name, mut value) in view.env(&attempt.spec) {
        if flaw == Some(LosesTheEnvironment) && !name.starts_with("LONGSHORE_") {
            continue;
        }
        if flaw == Some(CutsLongValues) {
            value.truncate(32 << 10);
        }
        command.env(name, value);
    }
    command.envs(attempt.secret_env.iter().map(|(name, value)| (name, value.expose())));
    let (name, value) = mark(&attempt.id);
    command.env(name, value);
}

fn redirect(command: &mut Command, files: &Path, flaw: Option<Flaw>) -> Result<()> {
    for stream in [LogStream::Stdout, LogStream::Stderr] {
        File::create(output(files, stream)).map_err(failed)?;
    }
    let open = |stream| File::options().append(true).open(output(files, stream)).map_err(failed);
    let err = if flaw == Some(MixesStreams) { LogStream::Stdout } else { LogStream::Stderr };
    command.stdout(open(LogStream::Stdout)?).stderr(open(err)?);
    Ok(())
}
