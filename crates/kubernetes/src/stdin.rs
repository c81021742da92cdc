//! The stdin of a Pod: a connection that is attached to its container.
//!
//! The API server speaks version 5 of the protocol, in which stdin is closed on its own. A connection
//! that ends closes it too (`stdinOnce`).

use std::io::{self, ErrorKind as IoErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::future::{BoxFuture, FutureExt};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{AttachParams, AttachedProcess};
use longshore_core::{Error, JobStdin, Result};
use tokio::io::{AsyncWrite, SimplexStream, WriteHalf, duplex};

use crate::backend::Backend;
use crate::container_view::is_running;
use crate::location::Location;
use crate::pod_view::PodView;

/// How much is buffered before it is sent.
const BUFFER_BYTES: usize = 64 << 10;

/// Opens the stdin of an attempt that has started.
pub(crate) async fn open(backend: &Backend, location: &Location) -> Result<JobStdin> {
    let cluster = backend.cluster_of(location).await?;
    let pods = cluster.pods_of(location).await?;
    let running = |pod| running_container(pod).map(|(name, container)| (pod, name, container));
    let Some((pod, name, container)) = pods.iter().find_map(running) else {
        return Ok(closed());
    };
    let params = AttachParams {
        stdin: true,
        stdout: false,
        stderr: false,
        tty: has_terminal(pod, &container),
        container: Some(container),
        max_stdin_buf_size: Some(BUFFER_BYTES),
        ..AttachParams::default()
    };
    let api = cluster.pods(location);
    let attached = cluster.ask("failed to attach to the Pod", api.attach(&name, &params)).await;
    let mut process = match attached {
        Ok(process) => process,
        // The container may have ended in the meantime.
        Err(failure) => {
            let pods = cluster.pods_of(location).await?;
            return match pods.iter().any(|pod| running_container(pod).is_some()) {
                true => Err(Error::from(failure)),
                false => Ok(closed()),
            };
        }
    };
    let Some(writer) = process.stdin() else { return Ok(closed()) };
    Ok(Box::new(Attached { writer: Some(writer), end: end(process).boxed() }))
}

/// Returns the names of `pod` and of the job's container in it, if that runs.
pub(crate) fn running_container(pod: &Pod) -> Option<(String, String)> {
    let view = PodView::from(pod);
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    let job = statuses.iter().find(|status| status.name == view.job_container())?;
    is_running(job).then(|| (view.name.clone(), job.name.clone()))
}

/// Whether `container` of `pod` has a terminal.
pub(crate) fn has_terminal(pod: &Pod, container: &str) -> bool {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter(|it| it.name == container).any(|it| it.tty == Some(true))
}

/// A stdin that nothing reads.
fn closed() -> JobStdin {
    Box::new(duplex(1).0)
}

/// Returns when the connection has ended: without an error if the container has ended.
async fn end(mut process: AttachedProcess) -> io::Result<()> {
    let status = match process.take_status() {
        Some(status) => status.await,
        None => None,
    };
    let lost = |reason: String| io::Error::new(IoErrorKind::ConnectionReset, reason);
    match status {
        Some(Status { status: Some(status), .. }) if status == "Success" => Ok(()),
        Some(status) => Err(lost(status.message.unwrap_or_default())),
        None => match process.join().await {
            Ok(()) => Err(lost("the API server has closed the connection".to_owned())),
            Err(error) => Err(lost(error.to_string())),
        },
    }
}

/// An attached connection. A task of the client library sends what is written.
struct Attached {
    /// `None` once it is shut down.
    writer: Option<WriteHalf<SimplexStream>>,
    /// When polled to its end, never polled again: every later call fails before.
    end: BoxFuture<'static, io::Result<()>>,
}

impl AsyncWrite for Attached {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(writer) = self.writer.as_mut() else {
            return Poll::Ready(Err(IoErrorKind::BrokenPipe.into()));
        };
        let written = Pin::new(writer).poll_write(context, bytes);
        match self.end.poll_unpin(context) {
            Poll::Pending => written,
            Poll::Ready(ended) => {
                self.writer = None;
                Poll::Ready(Err(ended.err().unwrap_or_else(|| IoErrorKind::BrokenPipe.into())))
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Sends end of file, and waits until the connection has ended: only then is it known whether
    /// everything has arrived.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(writer) = self.writer.as_mut() {
            ready!(Pin::new(writer).poll_shutdown(context))?;
            self.writer = None;
        }
        self.end.poll_unpin(context)
    }
}

impl Drop for Attached {
    /// Sends what is buffered, and end of file. The task ends with the connection.
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.take() else { return };
        let end = std::mem::replace(&mut self.end, futures::future::ready(Ok(())).boxed());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if tokio::io::AsyncWriteExt::shutdown(&mut writer).await.is_ok() {
                    let _ = end.await;
                }
            });
        }
    }
}
