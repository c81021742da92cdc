//! Runs commands in a container that runs.
//!
//! The engine passes the command's streams on over a connection. What it has to say about a command
//! that could not be executed arrives there too, as if the command had written it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_stubs::models::{ExecConfig, ExecInspectResponse};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use longshore_core::{
    Error, ErrorKind, Exec, ExecEvent, ExecSpec, JobStdin, LogStream, RejectReason, Result,
    StartError, start_error,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, WriteHalf};
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::backend::Backend;
use crate::body::{self, Record};
use crate::client::{Answer, NO_DETACH_KEYS};
use crate::fault::Fault;
use crate::location::Location;
use crate::stdin::Attached;
use crate::terminal::{self, Keyboard, console_size};

const FAILED: &str = "failed to run a command in the job";

/// How long after the end of a command's connection its end may become known.
const END_SHOWS: Duration = Duration::from_secs(5);

/// How much is read at once.
const PIECE: usize = 64 << 10;

/// The beginnings of what the engine writes to the stdout of a command that could not be executed.
const NOT_EXECUTED: [&[u8]; 3] =
    [b"OCI runtime exec failed: ", b"unable to find user ", b"unable to find group "];

/// Runs a command in an attempt that runs.
pub(crate) async fn exec(
    backend: Arc<Backend>,
    location: Location,
    spec: &ExecSpec,
) -> Result<Exec> {
    let failed = |fault: Fault| backend.not_running_or(fault, FAILED, &location);
    let container = backend.running(&location, FAILED).await?;
    let id = backend.engine.create_exec(&container, &config(spec)).await.map_err(failed)?;
    let tty = spec.tty;
    let connection = backend.engine.start_exec(&id, tty).await.map_err(failed)?;
    let (reader, writer) = tokio::io::split(connection);
    let sizes = tty.then(|| terminal::sizes(&backend, format!("/exec/{id}/resize")));
    let stdin = spec.stdin.then(|| match tty {
        true => Box::new(Keyboard(Attached(writer))) as JobStdin,
        false => Box::new(Stdin(Some(Attached(writer)))),
    });
    let command = Command { backend, location, container, id };
    Ok(Exec::new(stdin, command.follow(reader, tty).boxed()).with_sizes(sizes))
}

fn config(spec: &ExecSpec) -> ExecConfig {
    let env = spec.env.iter().map(|(name, value)| format!("{name}={value}"));
    ExecConfig {
        attach_stdin: Some(spec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        env: Some(env.collect()),
        cmd: Some(spec.command.clone()),
        user: spec.user.clone(),
        working_dir: spec.working_dir.clone(),
        tty: spec.tty.then_some(true),
        console_size: spec.terminal_size.map(console_size),
        detach_keys: spec.tty.then(|| NO_DETACH_KEYS.to_owned()),
        ..ExecConfig::default()
    }
}

/// A command that was started.
struct Command {
    backend: Arc<Backend>,
    location: Location,
    container: String,
    id: String,
}

impl Command {
    /// Returns what the command writes, and its end.
    fn follow(
        self,
        connection: impl AsyncRead + Send + 'static,
        tty: bool,
    ) -> impl Stream<Item = Result<ExecEvent>> {
        async_stream::try_stream! {
            let pieces = ReaderStream::with_capacity(connection, PIECE);
            let mut records = match tty {
                true => body::shown(pieces).boxed(),
                false => body::records(pieces).boxed(),
            };
            let mut held = None;
            let mut first = true;
            while let Some(record) = records.next().await {
                let (stream, bytes) = record.map_err(|cause| {
                    self.failed(self.backend.engine.fault(cause))
                })?;
                if let Some(bytes) = held.take() {
                    yield ExecEvent::Output { stream: LogStream::Stdout, bytes };
                }
                if std::mem::take(&mut first) && is_of_engine(&(stream, bytes.clone())) {
                    held = Some(bytes);
                    continue;
                }
                yield ExecEvent::Output { stream, bytes };
            }
            let code = self.exit_code().await?;
            match held {
                Some(bytes) if matches!(code, 126 | 127) => yield not_executed(&bytes),
                held => {
                    if let Some(bytes) = held {
                        yield ExecEvent::Output { stream: LogStream::Stdout, bytes };
                    }
                    yield ExecEvent::Exited { code, message: None };
                }
            }
        }
    }

    /// Returns the exit code of the command, whose connection has ended.
    async fn exit_code(&self) -> Result<i32> {
        let engine = &self.backend.engine;
        let failed = |fault| self.failed(fault);
        if let Some(code) = ended(&engine.inspect_exec(&self.id).await.map_err(failed)?) {
            return Ok(code);
        }
        // A command is seen to end some moments after its connection does.
        let filters =
            [("type", "container"), ("container", self.container.as_str()), ("event", "exec_die")];
        let waiting = async {
            let mut events = engine.events(&filters, &[]).await?;
            // The end may have come before the first event.
            let mut found = ended(&engine.inspect_exec(&self.id).await?);
            while found.is_none()
                && let Some(event) = events.next().await
            {
                let attributes = event?.actor.and_then(|actor| actor.attributes);
                let own = attributes.filter(|it| it.get("execID") == Some(&self.id));
                found = own.and_then(|it| it.get("exitCode")?.parse().ok());
            }
            Answer::Ok(found)
        };
        match timeout(END_SHOWS, waiting).await {
            Ok(Ok(Some(code))) => Ok(code),
            Ok(Err(fault)) => Err(self.failed(fault)),
            Ok(Ok(None)) | Err(_) => {
                let message =
                    "the Docker engine closed the connection to a command that still runs";
                Err(Error::new(ErrorKind::Unavailable, message))
            }
        }
    }

    fn failed(&self, fault: Fault) -> Error {
        if fault.is_not_found() {
            let message = "the job was removed, and the exit code of the command is not known";
            return Error::new(ErrorKind::NotFound, message);
        }
        self.backend.error(fault, "failed to follow a command in the job", &self.location)
    }
}

/// Returns the exit code of a command that has ended.
fn ended(found: &ExecInspectResponse) -> Option<i32> {
    let code = found.exit_code.filter(|_| found.running != Some(true))?;
    i32::try_from(code).ok()
}

/// Whether `record` may be from the engine itself.
fn is_of_engine((stream, bytes): &Record) -> bool {
    *stream == LogStream::Stdout && NOT_EXECUTED.iter().any(|begin| bytes.starts_with(begin))
}

/// Returns the end of a command that the engine says that it could not execute. Before Docker 29, it
/// does not distinguish a command that does not exist by its exit code.
fn not_executed(message: &Bytes) -> ExecEvent {
    let message = String::from_utf8_lossy(message).trim().to_owned();
    let not_found = StartError::Job(RejectReason::CommandNotFound);
    let code = if start_error(&message) == not_found { 127 } else { 126 };
    ExecEvent::Exited { code, message: Some(message) }
}

/// The stdin of a command.
struct Stdin<T: AsyncWrite + Send + 'static>(Option<Attached<WriteHalf<T>>>);

impl<T: AsyncWrite + Send + 'static> Stdin<T> {
    fn poll(
        self: Pin<&mut Self>,
        poll: impl FnOnce(Pin<&mut Attached<WriteHalf<T>>>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Some(open) => poll(Pin::new(open)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl<T: AsyncWrite + Send + 'static> AsyncWrite for Stdin<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll(|open| open.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|open| open.poll_flush(context).map_ok(|()| 0)).map_ok(drop)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(|open| open.poll_shutdown(context).map_ok(|()| 0)).map_ok(drop)
    }
}

/// The connection stays open for the output, so that only a shutdown is end of file.
impl<T: AsyncWrite + Send + 'static> Drop for Stdin<T> {
    fn drop(&mut self) {
        if let (Some(mut open), Ok(runtime)) =
            (self.0.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move { open.shutdown().await });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_its_environment_folder_user_and_streams() {
        let mut spec = ExecSpec::new(["cat", "-n"]);
        spec.env.push(("A".to_owned(), "1=2".to_owned()));
        (spec.working_dir, spec.user) = (Some("/srv".to_owned()), Some("app:0".to_owned()));
        spec.stdin = true;
        let sent = serde_json::to_value(config(&spec)).unwrap();
        let expected = serde_json::json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "Cmd": ["cat", "-n"], "Env": ["A=1=2"], "User": "app:0", "WorkingDir": "/srv",
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_command_that_docker_20_does_not_find_is_not_one_that_is_not_executable() {
        let begin =
            "OCI runtime exec failed: exec failed: unable to start container process: exec: ";
        for (message, expected) in [
            (format!("{begin}\"x\": executable file not found in $PATH: unknown\r\n"), 127),
            (format!("{begin}\"/x\": stat /x: no such file or directory: unknown\r\n"), 127),
            (format!("{begin}\"/etc/passwd\": permission denied: unknown\r\n"), 126),
            ("unable to find user x: no matching entries in passwd file\r\n".to_owned(), 126),
        ] {
            assert!(is_of_engine(&(LogStream::Stdout, Bytes::from(message.clone()))));
            let end = not_executed(&Bytes::from(message.clone()));
            let message = Some(message.trim().to_owned());
            assert_eq!(end, ExecEvent::Exited { code: expected, message });
        }
    }
}
