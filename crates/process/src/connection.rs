//! The connection to a supervisor. For one that is executed, it is also the standard streams, before
//! it serves requests.
//!
//! What the program prints before it calls [`init`](crate::init) arrives here too. It is part of the
//! error if the program never becomes a supervisor.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Pid;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::children::{self, OwnChild};
use crate::linux::SUPERVISOR;
use crate::supervisor::OWN_PROGRAM;
use crate::wire::{Answer, GREETING, read_answer};

/// How long the program may take to call `init` when it is started as a supervisor.
pub(crate) const INIT_LIMIT: Duration = Duration::from_secs(15);

/// How much of what the program prints before `init` is kept: the end of it.
const MOST_HEARD: usize = 2048;

/// More than an answer has, so that one read returns it.
const BUFFER_BYTES: usize = 512;

/// Our end of the connection to a supervisor.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    /// `None` before a forked supervisor has sent its pid.
    child: Option<OwnChild>,
    /// Whether the program has become a supervisor.
    greeted: bool,
    /// What the program has printed before that.
    heard: Vec<u8>,
}

impl Connection {
    /// Starts this program as a supervisor, with `arguments`. Must be called in a runtime.
    pub(crate) fn start(arguments: &[&str]) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        let theirs = OwnedFd::from(theirs);
        let child = Command::new(OWN_PROGRAM)
            .arg0(SUPERVISOR)
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdout(Stdio::from(theirs.try_clone()?))
            .stderr(Stdio::from(theirs.try_clone()?))
            .stdin(Stdio::from(theirs))
            .spawn()?;
        // It ends on its own once our end of the connection is closed.
        Self::new(ours, Some(children::keep(Pid::from_child(&child))))
    }

    /// Returns the connection to a supervisor that is being forked, once it has answered. Must not be
    /// dropped midway: the supervisor, a child of this process, would never be reaped.
    pub(crate) async fn forked(ours: std::os::unix::net::UnixStream) -> io::Result<Self> {
        let mut connection = Self::new(ours, None)?;
        connection.greet().await?;
        Ok(connection)
    }

    fn new(ours: std::os::unix::net::UnixStream, child: Option<OwnChild>) -> io::Result<Self> {
        ours.set_nonblocking(true)?;
        let stream = BufReader::with_capacity(BUFFER_BYTES, UnixStream::from_std(ours)?);
        Ok(Self { stream, child, greeted: false, heard: Vec::new() })
    }

    pub(crate) fn stream(&self) -> &UnixStream {
        self.stream.get_ref()
    }

    /// Whether the supervisor has not ended. Must only be called while no answer is due.
    pub(crate) fn is_open(&self) -> bool {
        let silent = self.stream.get_ref().try_read(&mut [0]);
        silent.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Sends an encoded request.
    pub(crate) async fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self.stream.get_mut().write_all(request).await {
            // What the program has printed says more.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.greet().await,
            sent => sent,
        }
    }

    /// Returns the next answer. If the future is dropped midway, the supervisor is no longer usable.
    pub(crate) async fn answer(&mut self) -> io::Result<Answer> {
        self.greet().await?;
        read_answer(&mut self.stream).await
    }

    /// Waits until the program has become a supervisor.
    pub(crate) async fn greet(&mut self) -> io::Result<()> {
        if self.greeted {
            return Ok(());
        }
        let Ok(greeting) = timeout(INIT_LIMIT, self.read_greeting()).await else {
            // It runs its own main, a second time, and would not end with the connection.
            self.child.as_ref().map_or(Ok(()), OwnChild::kill)?;
            let why = format!("was not called within {INIT_LIMIT:?}");
            return Err(self.not_initialised(io::ErrorKind::TimedOut, &why));
        };
        let pid = greeting?;
        self.child.get_or_insert_with(|| children::keep(pid));
        self.greeted = true;
        self.heard = Vec::new();
        Ok(())
    }

    async fn read_greeting(&mut self) -> io::Result<Pid> {
        loop {
            let bytes = match self.stream.fill_buf().await {
                Ok(bytes) if !bytes.is_empty() => bytes,
                Ok(_) => {
                    let kind = io::ErrorKind::UnexpectedEof;
                    return Err(self.not_initialised(kind, "was never called"));
                }
                Err(error) => {
                    return Err(self.not_initialised(error.kind(), "was never called"));
                }
            };
            let (before, count) = (self.heard.len(), bytes.len());
            self.heard.extend_from_slice(bytes);
            let greeting = self.heard.windows(GREETING.len()).position(|part| part == GREETING);
            if let Some(at) = greeting {
                self.stream.consume(at + GREETING.len() - before);
                let pid = Pid::from_raw(self.stream.read_i32_le().await?);
                return pid.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData));
            }
            self.stream.consume(count);
            self.heard.drain(..self.heard.len().saturating_sub(MOST_HEARD));
        }
    }

    fn not_initialised(&self, kind: io::ErrorKind, why: &str) -> io::Error {
        let heard = String::from_utf8_lossy(&self.heard);
        let said = match heard.trim() {
            "" => "without a message".to_owned(),
            heard => format!("with the message: {heard}"),
        };
        io::Error::new(
            kind,
            format!(
                "the program was started as a supervisor, and longshore::init() {why}; call it at the \
                 start of main, before anything that may fail; it ended {said}"
            ),
        )
    }
}
