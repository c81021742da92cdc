//! Runs a command in a job, through its supervisor, so that the command ends with the job.
//!
//! The process that runs it [offers](crate::offer) it to the supervisor, with the command's streams. So
//! the output passes through no other process.

use std::fs::{self, File};
use std::io::{self, PipeReader, PipeWriter, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt};
use longshore_core::{
    Error, ErrorKind, Exec, ExecEvent, ExecSpec, JobStdin, LogStream, RejectReason, Result,
    TerminalSizes,
};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use tokio::io::AsyncRead;
use tokio::net::unix::pipe::{Receiver, Sender};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::follow::{AttemptState, Follower};
use crate::launch::on_disk;
use crate::linux::ProcessIdentity;
use crate::location::Location;
use crate::offer::{ExecAnswer, ExecRequest, Offer};
use crate::pty::{Master, Pty, set_size};
use crate::record::Refusal;
use crate::store::missing_is_none;
use crate::watch::{Kind, Watcher};
use crate::wire::read_answer;

/// How long a supervisor may take to start a command. One of an older version starts none.
const LIMIT: Duration = Duration::from_secs(5);

/// How much is read at once: what a pipe holds by default (pipe(7)).
const PIECE: usize = 64 << 10;

/// The ends of a command's streams that its supervisor opens. They are closed once it has.
struct Theirs {
    request: File,
    stdin: Option<OwnedFd>,
    outputs: [OwnedFd; 2],
    answers: PipeWriter,
}

/// The ends of a command's streams that stay with this process.
struct Ours {
    streams: Streams,
    answers: PipeReader,
}

enum Streams {
    Pipes {
        stdin: Option<PipeWriter>,
        outputs: [PipeReader; 2],
    },
    /// The master of the command's terminal.
    Terminal(OwnedFd),
}

fn streams(spec: &ExecSpec) -> io::Result<(Ours, Theirs)> {
    let fd = rustix::fs::memfd_create("longshore-exec", MemfdFlags::CLOEXEC)?;
    let mut request = File::from(fd);
    let ExecSpec { command, env, working_dir, tty, terminal_size, .. } = spec.clone();
    request.write_all(&serde_json::to_vec(&ExecRequest { command, env, working_dir, tty })?)?;
    request.rewind()?;
    let (answers, their_answers) = io::pipe()?;
    if tty {
        let Pty { master, slave } = Pty::create(terminal_size)?;
        let outputs = [slave.try_clone()?, slave];
        let theirs = Theirs { request, stdin: None, outputs, answers: their_answers };
        return Ok((Ours { streams: Streams::Terminal(master), answers }, theirs));
    }
    let (stdin_reader, stdin) = match spec.stdin {
        true => io::pipe().map(|(reader, writer)| (Some(reader.into()), Some(writer)))?,
        false => (None, None),
    };
    let (stdout, their_stdout) = io::pipe()?;
    let (stderr, their_stderr) = io::pipe()?;
    let outputs = [their_stdout.into(), their_stderr.into()];
    let theirs = Theirs { request, stdin: stdin_reader, outputs, answers: their_answers };
    let streams = Streams::Pipes { stdin, outputs: [stdout, stderr] };
    Ok((Ours { streams, answers }, theirs))
}

/// Runs a command in the attempt at `location`, if it runs.
pub(crate) async fn exec(location: Location, watcher: &Watcher, spec: &ExecSpec) -> Result<Exec> {
    if spec.user.is_some() {
        let message = "a local process runs as the user of its job: give no user";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    let mut follower = Follower::new(location.clone(), watcher.clone(), Kind::Everything);
    if !matches!(follower.state().await?, AttemptState::Running(Some(_))) {
        return Err(not_running());
    }
    let (ours, theirs) = streams(spec).map_err(failed)?;
    let offer = Offer {
        process: ProcessIdentity::own().map_err(failed)?,
        request: theirs.request.as_raw_fd(),
        stdin: theirs.stdin.as_ref().map(AsRawFd::as_raw_fd),
        stdout: theirs.outputs[0].as_raw_fd(),
        stderr: theirs.outputs[1].as_raw_fd(),
        answers: theirs.answers.as_raw_fd(),
    };
    let path = on_disk(&location, move |location| {
        let path = location.offer(&offer)?;
        let nudged = location.nudge_supervisor();
        if nudged.is_err() {
            missing_is_none(fs::remove_file(&path))?;
        }
        nudged.map(|()| path)
    })
    .await?;
    let mut answers = Receiver::from_owned_fd(ours.answers.into()).map_err(failed)?;
    let answered = timeout(LIMIT, async {
        tokio::select! {
            biased;
            answer = read_answer::<ExecAnswer>(&mut answers) => answer.map_err(failed),
            ended = ended(&mut follower) => Err(ended),
        }
    });
    let answer = answered.await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::Unavailable, "the job's supervisor does not run the command"))
    });
    if answer.is_err() {
        // Nobody is left to take it, or nobody may take it any more.
        on_disk(&location, |_| missing_is_none(fs::remove_file(path))).await?;
    }
    drop(theirs);
    match answer? {
        ExecAnswer::Started => connected(ours.streams, answers, spec),
        ExecAnswer::Refused(refusal) => not_started(spec, &refusal),
        ExecAnswer::Exited(_) => Err(failed(io::ErrorKind::InvalidData.into())),
    }
}

/// Returns a command that runs.
fn connected(streams: Streams, answers: Receiver, spec: &ExecSpec) -> Result<Exec> {
    match streams {
        Streams::Pipes { stdin, outputs } => {
            let stdin = stdin.map(|writer| Sender::from_owned_fd(writer.into()));
            let stdin = stdin.transpose().map_err(failed)?;
            let stdin = stdin.map(|writer| Box::new(writer) as JobStdin);
            let rest = outputs.each_ref().map(|output| output.try_clone().map(OwnedFd::from));
            let streams = [LogStream::Stdout, LogStream::Stderr];
            let mut pieces = Vec::new();
            for (pipe, stream) in outputs.into_iter().zip(streams) {
                let pipe = Receiver::from_owned_fd(pipe.into()).map_err(failed)?;
                pieces.push(self::pieces(pipe, stream));
            }
            let [stdout, stderr] = rest;
            let rest = vec![
                (stdout.map_err(failed)?, LogStream::Stdout),
                (stderr.map_err(failed)?, LogStream::Stderr),
            ];
            Ok(Exec::new(stdin, follow(pieces, rest, answers).boxed()))
        }
        Streams::Terminal(master) => {
            let rest = vec![(master.try_clone().map_err(failed)?, LogStream::Stdout)];
            let resized = master.try_clone().map_err(failed)?;
            let sizes = TerminalSizes::new(move |size| {
                // The command has the size before.
                let _ = set_size(&resized, size);
            });
            let writer = Master::new(master.try_clone().map_err(failed)?).map_err(failed)?;
            let stdin = spec.stdin.then(|| Box::new(writer) as JobStdin);
            let pieces = pieces(Master::new(master).map_err(failed)?, LogStream::Stdout);
            Ok(Exec::new(stdin, follow(vec![pieces], rest, answers).boxed())
                .with_sizes(Some(sizes)))
        }
    }
}

/// Returns the end of a command that does not exist or cannot be executed.
fn not_started(spec: &ExecSpec, refusal: &Refusal) -> Result<Exec> {
    let code = match refusal.kind.error_kind() {
        ErrorKind::Rejected(RejectReason::CommandNotFound) => 127,
        ErrorKind::Rejected(RejectReason::CommandNotExecutable) => 126,
        _ => return Err(refusal.error()),
    };
    let end = ExecEvent::Exited { code, message: Some(refusal.message.clone()) };
    let stdin = spec.stdin.then(|| Box::new(tokio::io::duplex(1).0) as JobStdin);
    Ok(Exec::new(stdin, stream::iter([Ok(end)]).boxed()))
}

/// Returns once the job has ended, or if that cannot be known.
async fn ended(follower: &mut Follower) -> Error {
    loop {
        match follower.state().await {
            Ok(AttemptState::Running(_)) => {}
            Ok(_) => return not_running(),
            Err(error) => return error,
        }
        if let Err(error) = follower.changed().await {
            return error;
        }
    }
}

/// Returns what the command writes, and its end.
fn follow(
    pieces: Vec<Pieces>,
    rest: Vec<(OwnedFd, LogStream)>,
    mut answers: Receiver,
) -> impl Stream<Item = Result<ExecEvent>> {
    let mut pieces = stream::select_all(pieces);
    async_stream::try_stream! {
        let answer = {
            let mut answer = std::pin::pin!(read_answer::<ExecAnswer>(&mut answers));
            loop {
                tokio::select! {
                    biased;
                    Some((stream, bytes)) = pieces.next() => {
                        yield ExecEvent::Output { stream, bytes: bytes.map_err(failed)? };
                    }
                    answer = &mut answer => break answer,
                }
            }
        };
        // What the command has written is in the pipes now. What it has started may keep them open.
        for (from, stream) in &rest {
            while let Some(bytes) = read_now(from).map_err(failed)? {
                yield ExecEvent::Output { stream: *stream, bytes };
            }
        }
        let Ok(ExecAnswer::Exited(code)) = answer else {
            Err(Error::new(ErrorKind::Unavailable, "the supervisor of the command has ended"))?
        };
        yield ExecEvent::Exited { code, message: None };
    }
}

/// The pieces that arrive on a stream of a command.
type Pieces = BoxStream<'static, (LogStream, io::Result<Bytes>)>;

fn pieces(from: impl AsyncRead + Send + 'static, stream: LogStream) -> Pieces {
    ReaderStream::with_capacity(from, PIECE).map(move |bytes| (stream, bytes)).boxed()
}

/// Reads what is in `from`, which does not block. Returns `None` if nothing is.
fn read_now(from: &OwnedFd) -> io::Result<Option<Bytes>> {
    let mut bytes = vec![0; PIECE];
    match rustix::io::read(from, &mut bytes) {
        Ok(0) => Ok(None),
        Ok(count) => {
            bytes.truncate(count);
            Ok(Some(bytes.into()))
        }
        // The second one: no program has the terminal open.
        Err(Errno::AGAIN | Errno::IO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn not_running() -> Error {
    Error::new(ErrorKind::NotFound, "the job does not run")
}

fn failed(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "failed to run a command in the job").caused_by(error)
}
