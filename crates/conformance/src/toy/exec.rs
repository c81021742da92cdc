//! Runs commands in a job.

use std::process::Stdio;

use futures::StreamExt;
use longshore_core::{Error, ErrorKind, Exec, ExecEvent, ExecSpec, JobStdin, LogStream, Result};
use tokio::io::AsyncRead;
use tokio::process::Command;
use tokio_util::io::ReaderStream;

use super::Flaw::*;
use super::command::environment;
use super::job::Job;

/// Starts a command of `job`. The end of the job kills it by the mark in its environment.
pub(super) fn exec(job: &Job, spec: &ExecSpec) -> Result<Exec> {
    let failed = |e: std::io::Error| Error::new(ErrorKind::Internal, "failed to exec").caused_by(e);
    if job.has_ended() && !job.has(ExecsInWhatHasEnded) {
        return Err(Error::new(ErrorKind::NotFound, "the job does not run"));
    }
    let mut command = Command::new(&spec.command[0]);
    command.args(&spec.command[1..]).kill_on_drop(true);
    if !job.has(ForgetsTheEnvironmentOfCommands) {
        environment(&mut command, &job.attempt, job.flaw);
    }
    if job.has(LetsCommandsOutliveTheJob) {
        command.env_clear().env("PATH", "/usr/bin:/bin");
    }
    command.envs(spec.env.iter().map(|(name, value)| (name, value)));
    command.current_dir(spec.working_dir.as_deref().unwrap_or("/"));
    command.stdin(if spec.stdin { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let code = if job.has(CallsAMissingCommandASuccess) { 0 } else { 127 };
            let end = ExecEvent::Exited { code, message: Some(error.to_string()) };
            let stdin = spec.stdin.then(|| Box::new(tokio::io::sink()) as JobStdin);
            return Ok(Exec::new(stdin, futures::stream::iter([Ok(end)]).boxed()));
        }
        Err(error) => return Err(failed(error)),
    };
    let stdin = child.stdin.take().map(|pipe| Box::new(pipe) as JobStdin);
    let mixed = job.has(MixesTheStreamsOfCommands);
    let stdout = child.stdout.take().map(|pipe| pieces(pipe, LogStream::Stdout));
    let other = if mixed { LogStream::Stdout } else { LogStream::Stderr };
    let stderr = child.stderr.take().map(|pipe| pieces(pipe, other));
    let output = futures::stream::select_all(stdout.into_iter().chain(stderr));
    let end = futures::stream::once(async move {
        let status = child.wait().await.map_err(failed)?;
        let code = status.code().unwrap_or(137);
        Ok(ExecEvent::Exited { code, message: None })
    });
    Ok(Exec::new(stdin, output.chain(end).boxed()))
}

fn pieces(
    pipe: impl AsyncRead + Send + 'static,
    stream: LogStream,
) -> futures::stream::BoxStream<'static, Result<ExecEvent>> {
    let read = |e: std::io::Error| Error::new(ErrorKind::Internal, "failed to read").caused_by(e);
    ReaderStream::new(pipe)
        .map(move |bytes| Ok(ExecEvent::Output { stream, bytes: bytes.map_err(read)? }))
        .boxed()
}
