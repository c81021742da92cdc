//! Runs commands in a Pod that runs.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{self, Stream};
use futures::{FutureExt, StreamExt};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use longshore_core::{
    Error, ErrorKind, Exec, ExecEvent, ExecSpec, JobStdin, LogStream, RejectReason, Result,
    StartError, start_error,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, SimplexStream, WriteHalf};
use tokio_util::io::ReaderStream;

use crate::backend::Backend;
use crate::error::Message;
use crate::location::Location;
use crate::probe::ensure_exec;
use crate::stdin::running_container;
use crate::terminal::{self, Keyboard};

const FAILED: &str = "failed to run a command in the Pod";

/// How much of each stream is buffered.
const BUFFER_BYTES: usize = 64 << 10;

/// Runs a command in an attempt that runs.
pub(crate) async fn exec(
    backend: Arc<Backend>,
    location: Location,
    spec: &ExecSpec,
) -> Result<Exec> {
    check(spec)?;
    let not_running = || Error::new(ErrorKind::NotFound, "the job does not run");
    let cluster = backend.cluster_of(&location).await?;
    let pods = cluster.pods_of(&location).await?;
    let (pod, container) = pods.iter().find_map(running_container).ok_or_else(not_running)?;
    let params = AttachParams {
        stdin: spec.stdin,
        stdout: true,
        // A terminal is one stream.
        stderr: !spec.tty,
        tty: spec.tty,
        container: Some(container),
        max_stdin_buf_size: Some(BUFFER_BYTES),
        max_stdout_buf_size: Some(BUFFER_BYTES),
        max_stderr_buf_size: Some(BUFFER_BYTES),
    };
    let api = cluster.pods(&location);
    let command = spec.command.iter().map(String::as_str);
    let mut process = match cluster.ask(FAILED, api.exec(&pod, command, &params)).await {
        Ok(process) => process,
        // The answer to a connection that the server refuses says only that it does.
        Err(failure) => {
            ensure_exec(&cluster, cluster.namespace(&location)).await?;
            let pods = cluster.pods_of(&location).await?;
            return Err(match pods.iter().any(|pod| running_container(pod).is_some()) {
                true => failure.into(),
                false => not_running(),
            });
        }
    };
    let sizes = process.terminal_size().map(terminal::sizes);
    if let (Some(sizes), Some(size)) = (&sizes, spec.terminal_size) {
        sizes.set(size);
    }
    let stdin = process.stdin().map(|writer| match spec.tty {
        true => Box::new(Keyboard::new(writer)) as JobStdin,
        false => Box::new(Stdin(writer)),
    });
    Ok(Exec::new(stdin, follow(process).boxed()).with_sizes(sizes))
}

/// Checks that the API has everything that `spec` asks for.
fn check(spec: &ExecSpec) -> Result<()> {
    let asked = [
        (!spec.env.is_empty(), "an environment of its own (`env NAME=VALUE COMMAND` sets one)"),
        (
            spec.working_dir.is_some(),
            "a working directory of its own (`sh -c 'cd DIR && COMMAND'` changes it)",
        ),
        (spec.user.is_some(), "a user of its own"),
    ];
    let lacking: Vec<&str> =
        asked.into_iter().filter_map(|(asked, what)| asked.then_some(what)).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let message = format!("Kubernetes does not give a command in a Pod {}", lacking.join(", "));
    Err(Error::new(ErrorKind::Unsupported, message))
}

/// Returns what the command writes, and its end.
fn follow(mut process: AttachedProcess) -> impl Stream<Item = Result<ExecEvent>> {
    async_stream::try_stream! {
        let status = process.take_status();
        let stdout = process.stdout().map(|reader| pieces(reader, LogStream::Stdout));
        let stderr = process.stderr().map(|reader| pieces(reader, LogStream::Stderr));
        let mut output = stream::select_all(stdout.into_iter().chain(stderr));
        while let Some((stream, piece)) = output.next().await {
            let bytes = piece.map_err(|error| failed(error.to_string()))?;
            yield ExecEvent::Output { stream, bytes };
        }
        let status = match status {
            Some(status) => status.await,
            None => None,
        };
        let status = match status {
            Some(status) => status,
            None => Err(match process.join().await {
                Ok(()) => failed("the API server has closed the connection".to_owned()),
                Err(error) => failed(error.to_string()),
            })?,
        };
        yield end(status)?;
    }
}

fn pieces(
    reader: impl AsyncRead + Send + 'static,
    stream: LogStream,
) -> stream::BoxStream<'static, (LogStream, io::Result<bytes::Bytes>)> {
    ReaderStream::with_capacity(reader, BUFFER_BYTES).map(move |piece| (stream, piece)).boxed()
}

/// Returns the end of a command by the status that the kubelet sends for it.
fn end(status: Status) -> Result<ExecEvent> {
    if status.status.as_deref() == Some("Success") {
        return Ok(ExecEvent::Exited { code: 0, message: None });
    }
    let causes = status.details.and_then(|details| details.causes).unwrap_or_default();
    let code = causes.into_iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|code| code.message?.parse().ok()) {
        return Ok(ExecEvent::Exited { code, message: None });
    }
    let message = status.message.unwrap_or_default();
    let code = match start_error(&message) {
        StartError::Job(RejectReason::CommandNotFound) => 127,
        StartError::Job(_) => 126,
        _ => return Err(failed(message)),
    };
    // The API server and the kubelet each put their own words before those of the runtime.
    let runtime = message.find("OCI runtime exec failed").and_then(|at| message.get(at..));
    let message = runtime.map(str::to_owned).unwrap_or(message);
    Ok(ExecEvent::Exited { code, message: Some(message) })
}

fn failed(reason: String) -> Error {
    Error::new(ErrorKind::Unavailable, "failed to follow a command in the Pod")
        .caused_by(Message(reason))
}

/// The stdin of a command. A task of the client library sends what is written.
struct Stdin(WriteHalf<SimplexStream>);

impl AsyncWrite for Stdin {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Drop for Stdin {
    fn drop(&mut self) {
        // Only marks the end, which never waits.
        let _ = self.0.shutdown().now_or_never();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(status: serde_json::Value) -> Option<i32> {
        match end(serde_json::from_value(status).unwrap()) {
            Ok(ExecEvent::Exited { code, .. }) => Some(code),
            _ => None,
        }
    }

    #[test]
    fn the_end_of_a_command_is_read_from_the_kubelets_status() {
        let causes = serde_json::json!([{"reason": "ExitCode", "message": "7"}]);
        let failure = |message: &str| serde_json::json!({"status": "Failure", "message": message});
        let mut with_code = failure("command terminated with non-zero exit code");
        with_code["details"]["causes"] = causes;
        let begin = "Internal error occurred: error executing command in container: failed to exec in \
                     container: failed to start exec \"55a7\": OCI runtime exec failed: exec failed: \
                     unable to start container process: exec: ";
        let missing = failure(&format!("{begin}\"nope\": executable file not found in $PATH"));
        let denied = failure(&format!("{begin}\"/etc/passwd\": permission denied"));
        assert_eq!(exited(serde_json::json!({"status": "Success"})), Some(0));
        assert_eq!(exited(with_code), Some(7));
        assert_eq!((exited(missing), exited(denied)), (Some(127), Some(126)));
        assert_eq!(exited(failure("error dialing backend: connection refused")), None);
    }

    #[test]
    fn what_the_api_cannot_express_is_refused_with_another_way() {
        assert!(check(&ExecSpec::new(["true"])).is_ok());
        let mut spec = ExecSpec::new(["true"]);
        spec.env.push(("A".to_owned(), "1".to_owned()));
        spec.working_dir = Some("/srv".to_owned());
        let error = check(&spec).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let said = error.to_string();
        assert!(said.contains("env NAME=VALUE") && said.contains("cd DIR"), "{said}");
        assert!(!said.contains("user"), "{said}");
    }
}
