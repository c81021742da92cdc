//! Turns a request into a running process, or into the reason why not.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use longshore_core::LogStream;
use rustix::fs::Access;

use super::copy::Copy;
use super::exec::Surroundings;
use super::input::Input;
use super::job::{Job, Keyboard};
use super::kept::StreamFiles;
use super::program::{check_directory, find_program, not_started};
use super::terminal::Terminal;
use crate::cgroup::JobGroup;
use crate::limits;
use crate::linux::ProcessIdentity;
use crate::location::Location;
use crate::outcome::RefusalKind;
use crate::record::{self, Begin, Entry, Refusal, Starting};
use crate::store::Files;
use crate::wire::{Environment, StartRequest, lookup};

/// The result of a request.
pub(super) enum Launched {
    Started(Box<Job>),
    Taken,
    Refused(Refusal),
}

/// Starts the job of `request`, unless the attempt was started or fenced before.
///
/// Everything that can be checked is checked before the commit. After it, only the kernel itself
/// can refuse. That refusal is recorded, so that another runner that waits for this attempt sees it
/// too.
///
/// What it needs of the stack is free again while the job runs.
#[inline(never)]
pub(super) fn launch(
    request: &StartRequest,
    environment: Environment,
    own: &ProcessIdentity,
) -> Launched {
    let program = match check(request, &environment) {
        Ok(program) => program,
        Err(refusal) => return Launched::Refused(refusal),
    };
    let location = Location::new(&request.state_directory, &request.attempt);
    let files = match location.commit(&starting(request, own), request.fsync) {
        Ok(Some(files)) => files,
        Ok(None) => return Launched::Taken,
        Err(error) => return Launched::Refused(no_room(&location, &error)),
    };
    match spawn(request, &environment, &program, &location) {
        Ok(spawned) => started(request, environment, location, files, spawned),
        Err(refusal) => {
            let refusal = Refusal { committed: true, ..refusal };
            let mut record = files.record;
            // If this cannot be written, the runner still receives the refusal from us.
            let _ = record::append(&mut record, &Entry::Refused(refusal.clone()));
            Launched::Refused(refusal)
        }
    }
}

fn starting(request: &StartRequest, own: &ProcessIdentity) -> Entry {
    Entry::Starting(Starting {
        version: record::VERSION,
        attempt: request.attempt.clone(),
        job: request.job.clone(),
        installation: request.installation.clone(),
        runner: request.runner.clone(),
        supervisor: own.clone(),
        cgroups: request.cgroups.iter().map(|plan| plan.path.clone()).collect(),
        timeout_ms: request.timeout_ms,
        grace_ms: request.grace_ms,
    })
}

fn no_room(location: &Location, error: &io::Error) -> Refusal {
    let directory = location.directory().display();
    let message = format!("failed to create the attempt's directory {directory}: {error}");
    Refusal::new(RefusalKind::Unavailable, message)
}

fn started(
    request: &StartRequest,
    environment: Environment,
    location: Location,
    files: Files,
    spawned: Spawned,
) -> Launched {
    let Spawned { mut child, input, terminal, screen, cgroup } = spawned;
    let begin = Begin { pid: child.id().cast_signed(), at: Timestamp::now() };
    let mut record = files.record;
    // The job runs, and is supervised to its end whether or not this line can be written.
    let _ = record::append(&mut record, &Entry::Started(begin));
    let stdout = StreamFiles::new(LogStream::Stdout, files.stdout);
    let stderr = StreamFiles::new(LogStream::Stderr, files.stderr);
    let outputs = match screen {
        Some(screen) => [Some(Copy::new(screen, stdout)), None],
        None => [
            child.stdout.take().map(|pipe| Copy::new(pipe.into(), stdout)),
            child.stderr.take().map(|pipe| Copy::new(pipe.into(), stderr)),
        ],
    };
    let surroundings = Surroundings {
        environment,
        working_dir: request.working_dir.clone(),
        limits: request.limits,
        cgroup,
    };
    Launched::Started(Box::new(Job::new(
        request,
        surroundings,
        location,
        record,
        begin,
        outputs,
        Keyboard { input, terminal },
    )))
}

/// A process that was started, and what the supervisor keeps of its streams.
struct Spawned {
    child: Child,
    input: Option<Input>,
    terminal: Option<Terminal>,
    /// Where the output of its terminal arrives.
    screen: Option<OwnedFd>,
    cgroup: JobGroup,
}

/// Starts the process. With these settings, the standard library uses `posix_spawn`: the program
/// has a path, and nothing runs between fork and exec, unless the job has limits of its own, cgroups or
/// a terminal.
fn spawn(
    request: &StartRequest,
    environment: &Environment,
    program: &Path,
    location: &Location,
) -> Result<Spawned, Refusal> {
    let name = &request.argv[0];
    let mut command = Command::new(program);
    command
        .arg0(name)
        .args(&request.argv[1..])
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&request.working_dir);
    let streams = connect(request, location, &mut command);
    let (input, terminal, screen) = streams.map_err(|error| {
        let kind = RefusalKind::of_spawn(&error);
        Refusal::new(kind, format!("failed to create the streams of `{name}`: {error}"))
    })?;
    let cgroup = JobGroup::create(&request.cgroups).map_err(|error| {
        let message = format!("failed to limit the job's resources by a cgroup: {error}");
        Refusal::new(RefusalKind::Unsupported, message)
    })?;
    cgroup.enter(&mut command);
    limits::limit(&mut command, &request.limits);
    match command.spawn() {
        Ok(child) => Ok(Spawned { child, input, terminal, screen, cgroup }),
        Err(error) => {
            cgroup.remove();
            Err(not_started(name, program, &error))
        }
    }
}

/// What the supervisor keeps of a job's streams: its stdin, its terminal, and where the output of that
/// arrives.
type Kept = (Option<Input>, Option<Terminal>, Option<OwnedFd>);

/// Gives `command` the streams of the job.
fn connect(request: &StartRequest, location: &Location, command: &mut Command) -> io::Result<Kept> {
    if request.tty {
        let terminal = Terminal::create(location, request.terminal_size, request.stdin)?;
        terminal.connect(command)?;
        let screen = terminal.output()?;
        return Ok((None, Some(terminal), Some(screen)));
    }
    let (input, stdin) = match request.stdin {
        true => {
            let (input, reader) = Input::create(location)?;
            (Some(input), Stdio::from(reader))
        }
        false => (None, Stdio::null()),
    };
    command.process_group(0).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok((input, None, None))
}

/// Checks what the job needs, and finds its program.
fn check(request: &StartRequest, environment: &Environment) -> Result<PathBuf, Refusal> {
    if let Some(message) = limits::obstacle() {
        return Err(Refusal::new(RefusalKind::Unavailable, message));
    }
    if let Some(directory) = &request.job_directory {
        for part in [directory.clone(), directory.join("input"), directory.join("output")] {
            check_directory(&part, "the job directory", RefusalKind::InvalidSpec)?;
        }
        let output = directory.join("output");
        if let Err(error) = rustix::fs::access(&output, Access::WRITE_OK | Access::EXEC_OK) {
            let message = format!("the job cannot write to {}: {error}", output.display());
            return Err(Refusal::new(RefusalKind::InvalidSpec, message));
        }
    }
    check_directory(&request.working_dir, "the working directory", RefusalKind::WorkingDirectory)?;
    let name = request.argv.first().map(String::as_str).unwrap_or_default();
    find_program(name, lookup(environment, "PATH"), &request.working_dir)
}
