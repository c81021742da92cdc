//! Starts commands in a job, on behalf of other processes ([`crate::offer`]).

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::fs::OFlags;

use super::program::{check_directory, find_program, not_started};
use super::terminal::connect;
use crate::cgroup::JobGroup;
use crate::limits::{self, JobLimits};
use crate::linux::{Liveness, ProcessIdentity};
use crate::offer::{ExecAnswer, ExecRequest, Offer};
use crate::outcome::RefusalKind;
use crate::record::Refusal;
use crate::translate::DEFAULT_TERM;
use crate::wire::{Environment, MAX_FRAME, lookup, write_answer};

/// What a command gets from its job.
pub(super) struct Surroundings {
    pub(super) environment: Environment,
    pub(super) working_dir: PathBuf,
    pub(super) limits: JobLimits,
    pub(super) cgroup: JobGroup,
}

/// A command that runs, and where its end is reported.
pub(super) struct Running {
    pub(super) pid: i32,
    answers: File,
}

impl Running {
    /// Reports the end. The process that offered the command may have ended.
    pub(super) fn exited(mut self, code: i32) {
        let _ = write_answer(&mut self.answers, &ExecAnswer::Exited(code));
    }
}

impl Surroundings {
    /// Starts the command of `offer`, unless the job `has_ended`. Returns `None` if it does not run;
    /// the process that offered it knows why, if it is still there.
    pub(super) fn start(&self, offer: &Offer, has_ended: bool) -> Option<Running> {
        let mut answers = open(&offer.process, offer.answers, Direction::Write).ok()?;
        let started = match has_ended {
            true => Err(Refusal::new(RefusalKind::Unavailable, "the job has ended")),
            false => self.spawn(offer),
        };
        match started {
            Ok(pid) => {
                let _ = write_answer(&mut answers, &ExecAnswer::Started);
                Some(Running { pid, answers })
            }
            Err(refusal) => {
                let _ = write_answer(&mut answers, &ExecAnswer::Refused(refusal));
                None
            }
        }
    }

    fn spawn(&self, offer: &Offer) -> Result<i32, Refusal> {
        let unavailable = |error: io::Error| {
            let message = format!("failed to open the command's streams: {error}");
            Refusal::new(RefusalKind::Unavailable, message)
        };
        let open = |fd, direction| open(&offer.process, fd, direction).map_err(unavailable);
        let request = read(open(offer.request, Direction::Read)?).map_err(unavailable)?;
        let mut environment = self.environment.clone();
        if request.tty && lookup(&environment, "TERM").is_none() {
            environment.push(("TERM".into(), DEFAULT_TERM.into()));
        }
        for (name, value) in request.env {
            environment.retain(|(own, _)| *own != *name);
            environment.push((name.into(), value.into()));
        }
        let working_dir = self.working_dir.join(request.working_dir.unwrap_or_default());
        check_directory(&working_dir, "the working directory", RefusalKind::WorkingDirectory)?;
        let name = request.command.first().map(String::as_str).unwrap_or_default();
        let program = find_program(name, lookup(&environment, "PATH"), &working_dir)?;
        let mut command = Command::new(&program);
        command
            .arg0(name)
            .args(request.command.iter().skip(1))
            .env_clear()
            .envs(environment)
            .current_dir(working_dir);
        if request.tty {
            let terminal = open(offer.stdout, Direction::Both)?;
            connect(&mut command, terminal.into()).map_err(unavailable)?;
        } else {
            let stdin = match offer.stdin {
                Some(fd) => Stdio::from(open(fd, Direction::Read)?),
                None => Stdio::null(),
            };
            let stdout = open(offer.stdout, Direction::Write)?;
            let stderr = open(offer.stderr, Direction::Write)?;
            command.process_group(0).stdin(stdin).stdout(stdout).stderr(stderr);
        }
        self.cgroup.enter(&mut command);
        limits::limit(&mut command, &self.limits);
        match command.spawn() {
            // It is reaped with all other processes of the job.
            Ok(child) => Ok(child.id().cast_signed()),
            Err(error) => Err(not_started(name, &program, &error)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
    Both,
}

/// Opens the descriptor `fd` of `process`. Never waits for the other end of a pipe, and never makes a
/// terminal that of this process.
fn open(process: &ProcessIdentity, fd: RawFd, direction: Direction) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    options
        .read(direction != Direction::Write)
        .write(direction != Direction::Read)
        .custom_flags(flags);
    let file = options.open(format!("/proc/{}/fd/{fd}", process.pid()))?;
    // Otherwise, another process may have had the pid when the file was opened.
    match process.open()? {
        Liveness::Alive(_) => {}
        Liveness::Dead | Liveness::Unknown => return Err(io::ErrorKind::NotFound.into()),
    }
    // A command expects that its streams block.
    rustix::fs::fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

fn read(file: File) -> io::Result<ExecRequest> {
    let mut text = Vec::new();
    file.take(MAX_FRAME as u64).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}
