//! `longshore run`.

use std::io;
use std::time::Instant;

use futures::StreamExt;
use longshore::{Job, JobEvent, JobEvents, JobLogs, JobResult, LogChunk, LogStream};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use crate::args::RunArgs;
use crate::error::CliError;
use crate::progress::Progress;
use crate::result_file::ResultFile;
use crate::signals::Signals;
use crate::{output, settings, spec};

/// Runs a job to its end. The exit code is that of [`longshore::Outcome::exit_code`].
pub async fn run(args: &RunArgs) -> Result<u8, CliError> {
    let spec = spec::build(&args.job)?;
    let dispatcher = settings::dispatcher(&args.job.config)?;
    let result_file = args.result.as_deref().map(ResultFile::prepare).transpose()?;
    let begun = Instant::now();
    let job = dispatcher.submit(spec).await?;
    let signals = Signals::watch(job.canceller())?;
    let result = follow(job, args.quiet).await;
    drop(signals);
    if !args.quiet {
        summarise(&result, begun);
    }
    if let Some(file) = result_file {
        file.write(&result)?;
    }
    // An exit status has eight bits, as that of a shell.
    Ok((result.outcome.exit_code() & 0xff) as u8)
}

/// Passes the job's output on and shows its progress, until its end.
async fn follow(mut job: Job, quiet: bool) -> JobResult {
    let events = job.take_events();
    let logs = job.take_logs();
    let progress = Progress::new(quiet);
    let ((), (), result) =
        tokio::join!(show(events, &progress, quiet), pass_on(logs, &progress), job.wait());
    progress.clear();
    result
}

async fn show(events: Option<JobEvents>, progress: &Progress, quiet: bool) {
    let Some(mut events) = events else { return };
    while let Some(event) = events.next().await {
        match &event {
            JobEvent::Warning { message } if !quiet => progress.around(|| output::warn(message)),
            event => progress.show(event),
        }
    }
}

async fn pass_on(logs: Option<JobLogs>, progress: &Progress) {
    let Some(logs) = logs else { return };
    let mut stdout = Sink::new(tokio::io::stdout(), "stdout");
    let mut stderr = Sink::new(tokio::io::stderr(), "stderr");
    // What has come meanwhile goes out in one write: a backend may give each line by itself.
    let mut ready = logs.ready_chunks(CHUNKS_AT_ONCE);
    while let Some(chunks) = ready.next().await {
        progress.clear();
        for chunk in chunks {
            match chunk {
                LogChunk::Data { stream: LogStream::Stdout, bytes, .. } => {
                    stderr.flush().await;
                    stdout.push(&bytes);
                }
                LogChunk::Data { stream: LogStream::Stderr, bytes, .. } => {
                    stdout.flush().await;
                    stderr.push(&bytes);
                }
                LogChunk::Gap { missing, .. } => {
                    stdout.flush().await;
                    stderr.flush().await;
                    let bytes = missing.map_or_else(String::new, |n| format!(" of {n} bytes"));
                    output::warn(&format!(
                        "the backend lost a part{bytes} of the job's output here"
                    ));
                }
                _ => {}
            }
        }
        stdout.flush().await;
        stderr.flush().await;
    }
}

/// How many pieces of output, each of some kilobytes at most, go out in one write.
const CHUNKS_AT_ONCE: usize = 64;

/// One of the command's own output streams.
struct Sink<W> {
    writer: Option<W>,
    pending: Vec<u8>,
    name: &'static str,
}

impl<W: AsyncWrite + Unpin> Sink<W> {
    const fn new(writer: W, name: &'static str) -> Self {
        Self { writer: Some(writer), pending: Vec::new(), name }
    }

    /// Takes `bytes` for the next [`flush`](Self::flush).
    fn push(&mut self, bytes: &[u8]) {
        if self.writer.is_some() {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Writes what was taken. Once the reader has gone, the job goes on, for its results, and its
    /// output is dropped.
    async fn flush(&mut self) {
        let Some(writer) = self.writer.as_mut().filter(|_| !self.pending.is_empty()) else {
            return;
        };
        let written = match writer.write_all(&self.pending).await {
            Ok(()) => writer.flush().await,
            failed => failed,
        };
        self.pending.clear();
        if let Err(error) = written {
            self.writer = None;
            if error.kind() != io::ErrorKind::BrokenPipe {
                output::warn(&format!(
                    "failed to write to {}: {error}; the job's further output is dropped",
                    self.name
                ));
            }
        }
    }
}

fn summarise(result: &JobResult, begun: Instant) {
    for line in summary(result, begun.elapsed().as_secs_f64()) {
        output::say(&line);
    }
}

/// What became of the job, for a person.
fn summary(result: &JobResult, seconds: f64) -> Vec<String> {
    let passed_over = result.passed_over.iter();
    let mut lines: Vec<String> = passed_over
        .map(|passed| {
            format!("passed over {} ({}): {}", passed.runner, passed.kind, passed.message)
        })
        .collect();
    lines.push(match &result.runner {
        Some(runner) => format!("{runner}: the job {} after {seconds:.2} s", result.outcome),
        None => format!("the job {}", result.outcome),
    });
    let stale = result.image.as_ref().filter(|image| image.stale);
    lines.extend(stale.map(|image| {
        format!(
            "{}: the registry gave no answer: a local copy was used, which may be old",
            image.requested
        )
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_may_be_old_is_said() {
        let result = |stale: bool| {
            let json = serde_json::json!({
                "job": "j", "attempt": "j-2", "runner": "docker",
                "outcome": {"kind": "Exited", "code": 0},
                "image": {
                    "requested": "x:1", "resolved": null, "policy": "IfNotPresent",
                    "pulled": false, "stale": stale,
                },
                "separateStreams": true,
                "passedOver": [
                    {"runner": "kubernetes", "kind": "Unavailable", "message": "refused"},
                ],
                "startedAt": null, "finishedAt": null,
            });
            serde_json::from_value::<JobResult>(json).unwrap()
        };
        let lines = [
            "passed over kubernetes (Unavailable): refused",
            "docker: the job exited with code 0 after 1.50 s",
            "x:1: the registry gave no answer: a local copy was used, which may be old",
        ];
        assert_eq!(summary(&result(true), 1.5), lines);
        assert_eq!(summary(&result(false), 1.5), lines[..2]);
    }
}
