//! One process and all that it starts.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{
    Attempt, AttemptId, Error, ErrorKind, JobDirectoryView, LogStream, Outcome, RejectReason,
    Report, Result,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Flaw;

/// In the environment of every process of a job.
const MARK: &str = "LONGSHORE_TOY";

/// Why a job is ended early, and when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Cancelled(Instant),
    TimedOut(Instant),
    Removed,
}

impl Stop {
    fn kill_at(self) -> Instant {
        match self {
            Self::Cancelled(at) | Self::TimedOut(at) => at,
            Self::Removed => Instant::now(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) attempt: Attempt,
    pub(super) started_at: Timestamp,
    pub(super) ended: watch::Receiver<Option<Report>>,
    stop: watch::Sender<Option<Stop>>,
    files: PathBuf,
}

impl Job {
    pub(super) fn start(attempt: &Attempt, files: PathBuf, flaw: Option<Flaw>) -> Result<Self> {
        let child = spawn(attempt, &files, flaw).inspect_err(|_| discard(&files))?;
        let started_at = Timestamp::now();
        let (stop, stopped) = watch::channel(None);
        let (end, ended) = watch::channel(None);
        let mark = mark_of(&attempt.id);
        let kept = attempt.spec.timeout.filter(|_| flaw != Some(Flaw::ForgetsTimeouts));
        let timeout = kept.map(|timeout| Instant::now() + timeout.get());
        let grace = attempt.spec.effective_grace_period().get();
        tokio::spawn(async move {
            let mut report = Report::new(follow(child, stopped, timeout, grace, &mark, flaw).await);
            report.started_at = Some(started_at);
            report.finished_at = Some(Timestamp::now());
            end.send_replace(Some(report));
        });
        Ok(Self { attempt: attempt.clone(), started_at, ended, stop, files })
    }

    /// Asks for an early end; of two, the earlier KILL counts.
    pub(super) fn stop(&self, stop: Stop) {
        self.stop.send_if_modified(|held| {
            let sooner = held.is_none_or(|held| stop.kill_at() < held.kill_at());
            if sooner {
                *held = Some(stop);
            }
            sooner
        });
    }

    pub(super) async fn end(&self) -> Report {
        let mut ended = self.ended.clone();
        let lost = || Report::new(Outcome::Lost { message: "its task is gone".to_owned() });
        match ended.wait_for(Option::is_some).await {
            Ok(report) => report.clone().unwrap_or_else(lost),
            Err(_) => lost(),
        }
    }

    pub(super) fn discard(&self) {
        discard(&self.files);
    }

    pub(super) fn file(&self, stream: LogStream) -> PathBuf {
        file(&self.files, stream)
    }
}

/// Kills all that a job has started.
pub(super) fn kill(attempt: &AttemptId) {
    signal(&mark_of(attempt), Signal::KILL, None);
}

/// What a job has started and still runs; a process that has ended has no environment.
pub(super) fn processes(attempt: &AttemptId) -> Vec<u32> {
    marked(&mark_of(attempt))
}

fn mark_of(attempt: &AttemptId) -> String {
    format!("{MARK}={attempt}")
}

/// Removes the files of a job's output, if they are there.
fn discard(files: &Path) {
    for stream in [LogStream::Stdout, LogStream::Stderr] {
        let _ = std::fs::remove_file(file(files, stream));
    }
}

fn file(files: &Path, stream: LogStream) -> PathBuf {
    files.with_extension(match stream {
        LogStream::Stdout => "out",
        LogStream::Stderr => "err",
    })
}

fn spawn(attempt: &Attempt, files: &Path, flaw: Option<Flaw>) -> Result<Child> {
    let failed = |e| Error::new(ErrorKind::Internal, "failed to open a file").caused_by(e);
    let output = |stream| File::create(file(files, stream)).map_err(failed);
    let spec = &attempt.spec;
    let Some(process) = &spec.process else {
        return Err(Error::new(ErrorKind::Unsupported, "the job names no local process"));
    };
    let view = JobDirectoryView::in_process(spec);
    let argv = view.expand(&[process.command.clone(), process.args.clone()].concat());
    let folder = process.working_dir.as_deref().unwrap_or("/");
    let rejected = |reason| Error::new(ErrorKind::Rejected(reason), "failed to start the command");
    if !Path::new(folder).is_dir() {
        return Err(rejected(RejectReason::ContainerConfig));
    }
    let mut command = Command::new(&argv[0]);
    command.args(&argv[1..]).current_dir(folder).stdin(Stdio::null());
    if flaw != Some(Flaw::LeaksItsEnvironment) {
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    }
    command.envs(view.env(spec)).env(MARK, attempt.id.as_str());
    command.envs(attempt.secret_env.iter().map(|(name, value)| (name, value.expose())));
    command.stdout(output(LogStream::Stdout)?);
    let err = if flaw == Some(Flaw::MixesStreams) { LogStream::Stdout } else { LogStream::Stderr };
    let merged = File::options().append(true).create(true).open(file(files, err));
    File::create(file(files, LogStream::Stderr)).map_err(failed)?;
    command.stderr(merged.map_err(failed)?);
    command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => rejected(RejectReason::CommandNotExecutable),
        _ => rejected(RejectReason::CommandNotFound),
    })
}

/// Waits for the end, and brings it about where it is asked for.
async fn follow(
    mut child: Child,
    mut stopped: watch::Receiver<Option<Stop>>,
    timeout: Option<Instant>,
    grace: Duration,
    mark: &str,
    flaw: Option<Flaw>,
) -> Outcome {
    let far = Instant::now() + Duration::from_secs(86_400);
    let only = (flaw == Some(Flaw::KillsOnlyTheFirstProcess)).then(|| child.id()).flatten();
    let mut stop: Option<Stop> = None;
    loop {
        let kill_at = stop.map_or(far, Stop::kill_at);
        let asked_early = flaw == Some(Flaw::KillsBeforeTheGraceIsOver) && stop.is_some();
        tokio::select! {
            status = child.wait() => {
                signal(mark, Signal::KILL, only);
                return outcome(status, stop, flaw);
            }
            Ok(()) = stopped.changed() => {
                let asked = *stopped.borrow_and_update();
                stop = asked;
                signal(mark, Signal::TERM, only);
            }
            () = sleep_until(timeout.unwrap_or(far)), if stop.is_none() => {
                stop = Some(Stop::TimedOut(Instant::now() + grace));
                signal(mark, Signal::TERM, only);
            }
            () = sleep_until(if asked_early { Instant::now() } else { kill_at }), if stop.is_some() => {
                signal(mark, Signal::KILL, only);
                // The end comes through the child.
                let status = child.wait().await;
                signal(mark, Signal::KILL, only);
                return outcome(status, stop, flaw);
            }
        }
    }
}

fn outcome(status: std::io::Result<ExitStatus>, stop: Option<Stop>, flaw: Option<Flaw>) -> Outcome {
    let Ok(status) = status else {
        return Outcome::Lost { message: "it cannot be waited for".to_owned() };
    };
    let signal = status.signal();
    let code = status.code().or(signal.map(|signal| 128 + signal)).unwrap_or(255);
    match stop {
        Some(Stop::Cancelled(_)) if flaw != Some(Flaw::ForgetsThatItWasCancelled) => {
            Outcome::Cancelled { code: Some(code) }
        }
        Some(Stop::TimedOut(_)) => Outcome::DeadlineExceeded { code: Some(code) },
        Some(Stop::Removed) => Outcome::Lost { message: "it was removed".to_owned() },
        _ => Outcome::Exited { code, signal },
    }
}

/// Signals every process with `mark` in its environment, until none is left that was not signalled; or `only` one.
fn signal(mark: &str, signal: Signal, only: Option<u32>) {
    let mut told = std::collections::HashSet::new();
    loop {
        let marked = only.map_or_else(|| marked(mark), |pid| vec![pid]);
        let new: Vec<u32> = marked.into_iter().filter(|pid| told.insert(*pid)).collect();
        if new.is_empty() {
            return;
        }
        for pid in new {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // One that is gone already needs no signal.
            let _ = pid.map(|pid| kill_process(pid, signal));
        }
    }
}

/// The processes with `mark` in their environment.
fn marked(mark: &str) -> Vec<u32> {
    let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
    let has_mark = |pid: &u32| {
        let environ = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(has_mark).collect()
}
