//! The stdin of a container: a connection that is attached to it.
//!
//! The engine copies what arrives on the connection to the container's stdin, and closes that when
//! the connection, or our half of it, is closed (`StdinOnce`).

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use longshore_core::{JobStdin, Result};
use tokio::io::{AsyncWrite, duplex};

use crate::backend::Backend;
use crate::location::Location;
use crate::outcome::Phase;

impl Backend {
    /// Opens the stdin of an attempt that has started.
    pub(crate) async fn stdin(&self, location: &Location) -> Result<JobStdin> {
        const FAILED: &str = "failed to open the job's stdin";
        let found = self.inspect(location).await;
        let found = found.map_err(|fault| self.error(fault, FAILED, location))?;
        let runs = |phase: &Phase| matches!(phase, Phase::Running { .. } | Phase::Restarted { .. });
        let Some(container) = found.filter(|container| runs(&container.phase)) else {
            return Ok(closed());
        };
        match self.engine.attach_stdin(&container.id).await {
            Ok(connection) => Ok(Box::new(Attached(connection))),
            // It has ended in the meantime.
            Err(fault) if fault.is_not_found() || fault.is_conflict() => Ok(closed()),
            Err(fault) => Err(self.error(fault, FAILED, location)),
        }
    }
}

/// A stdin that nothing reads.
fn closed() -> JobStdin {
    Box::new(duplex(1).0)
}

/// A connection whose failures do not mean that the job has closed its stdin: the engine, or what is
/// between it and this process, has closed the connection.
pub(crate) struct Attached<T>(pub(crate) T);

impl<T: AsyncWrite + Unpin> AsyncWrite for Attached<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes).map_err(lost)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context).map_err(lost)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context).map_err(lost)
    }
}

fn lost(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => io::Error::new(
            ErrorKind::ConnectionReset,
            "the connection to the Docker engine was closed",
        ),
        _ => error,
    }
}
