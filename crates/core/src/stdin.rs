//! Streams that a job or a command reads.

use tokio::io::AsyncWrite;

/// A job's stdin, open for writing.
///
/// - Dropping it, or shutting it down, gives the job end of file after what was written.
/// - A write fails with `BrokenPipe` if the job has closed its stdin or has ended. Any other error
///   means that the job may not receive what was written.
/// - A runner may also leave a write pending if nothing in the job reads. So a writer must stop when
///   the job ends.
pub type JobStdin = Box<dyn AsyncWrite + Send + Unpin>;
