//! The connection to a supervisor: its standard streams, before it serves requests.
//!
//! What the program prints before it calls [`init`](crate::init) arrives here too. It is part of the
//! error if the program never becomes a supervisor.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::children::{self, OwnChild};
use crate::linux::SUPERVISOR;
use crate::supervisor::OWN_PROGRAM;
use crate::wire::{Answer, GREETING, read_answer};

/// How long the program may take to call `init` when it is started as a supervisor.
const INIT_LIMIT: Duration = Duration::from_secs(15);

/// How much of what the program prints before `init` is kept: the end of it.
const MOST_HEARD: usize = 2048;

/// More than an answer has, so that one read returns it.
const BUFFER_BYTES: usize = 512;

/// Our end of the connection to a supervisor.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: BufReader<UnixStream>,
    child: OwnChild,
    /// Whether the program has become a supervisor.
    greeted: bool,
    /// What the program has printed before that.
    heard: Vec<u8>,
}

impl Connection {
    /// Starts this program as a supervisor. Must be called in a runtime.
    pub(crate) fn start() -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        let child = Command::new(OWN_PROGRAM)
            .arg0(SUPERVISOR)
            .env_clear()
            .current_dir("/")
            .stdout(Stdio::from(theirs.try_clone()?))
            .stderr(Stdio::from(theirs.try_clone()?))
            .stdin(Stdio::from(theirs))
            .spawn()?;
        // It ends on its own once our end of the connection is closed.
        let child = children::keep(child);
        let stream = BufReader::with_capacity(BUFFER_BYTES, UnixStream::from_std(ours)?);
        Ok(Self { stream, child, greeted: false, heard: Vec::new() })
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
    async fn greet(&mut self) -> io::Result<()> {
        if self.greeted {
            return Ok(());
        }
        let Ok(greeting) = timeout(INIT_LIMIT, self.read_greeting()).await else {
            // It runs its own main, a second time, and would not end with the connection.
            self.child.kill()?;
            let why = format!("was not called within {INIT_LIMIT:?}");
            return Err(self.not_initialised(io::ErrorKind::TimedOut, &why));
        };
        greeting?;
        self.greeted = true;
        self.heard = Vec::new();
        Ok(())
    }

    async fn read_greeting(&mut self) -> io::Result<()> {
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
                return Ok(());
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
