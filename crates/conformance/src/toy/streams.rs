//! The toy's streams: the events and the output of a job.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures::Stream;
use longshore_core::{
    AttemptId, Error, ErrorKind, Event, LogChunk, LogPosition, LogStream, Outcome, Report, Result,
};
use tokio::time::sleep;

use super::Flaw::*;
use super::backend::{Answer, Backend, Decision, Entry};
use super::job::{Job, Stop};

/// How often the output files are read while the job runs.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until a pending job has started, or returns `None` for one that does not exist.
async fn started(entry: Option<Entry>, follow: bool) -> Option<Arc<Job>> {
    match entry? {
        Entry::Started(job) => Some(job),
        Entry::Pending(pending) if follow => match decided(pending.decision()).await {
            Answer::Started(job) => Some(job),
            Answer::Withdrawn | Answer::Failed(..) => None,
        },
        Entry::Pending(_) => None,
    }
}

pub(super) async fn decided(mut decision: Decision) -> Answer {
    match decision.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or(Answer::Withdrawn),
        Err(_) => Answer::Withdrawn,
    }
}

/// Kills the job when its stream is dropped before the end, if the flaw says so.
struct Guard(Option<Arc<Job>>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(job) = &self.0 {
            job.stop(Stop::Removed);
        }
    }
}

pub(super) fn events(
    backend: Arc<Backend>,
    attempt: &AttemptId,
    entry: Option<Entry>,
    instance: u64,
) -> impl Stream<Item = Result<Event>> + use<> {
    let was_removed = backend.was_removed(attempt);
    let has = move |flaw| backend.has(flaw);
    stream! {
        let Some(job) = started(entry, true).await else {
            if has(HangsOnAJobNeverLaunched) {
                std::future::pending::<()>().await;
            }
            let as_success = has(CallsALostJobASuccess)
                || has(CallsARemovedJobASuccess) && was_removed;
            yield Ok(Event::Ended(gone(as_success)));
            return;
        };
        let mut guard = Guard(has(KillsWhenAStreamIsDropped).then(|| Arc::clone(&job)));
        job.followed.store(true, Ordering::SeqCst);
        let held_back = has(SendsNoStartedOnceEnded) && job.has_ended();
        let with_the_end = has(SendsStartedWithTheEnd);
        if !with_the_end && !held_back && !has(NeverSendsStarted) {
            let other_clock = Duration::from_secs(u64::from(has(StartedHasAnotherTime)) * 3600);
            yield Ok(Event::Started(job.started_at.map(|at| at + other_clock)));
            if !has(NeverSendsRunning) && (!job.has_ended() || has(SendsRunningOnceEnded)) {
                yield Ok(Event::Running);
            }
        }
        let mut report = job.end().await;
        guard.0 = None;
        let elsewhere = job.cancelled_by.load(Ordering::SeqCst) != instance;
        let rewritten = has(CancelRewritesTheOutcome) && job.is_cancelled();
        report.outcome = match report.outcome {
            Outcome::Cancelled { code } if has(ForgetsItsCancelElsewhere) && elsewhere => {
                Outcome::Exited { code: code.unwrap_or(255), signal: None }
            }
            Outcome::Exited { code, .. } if rewritten => Outcome::Cancelled { code: Some(code) },
            outcome => outcome,
        };
        let other_listener = has(EndsForOneListener) && job.end_sent.swap(true, Ordering::SeqCst);
        if has(NeverEnds) || other_listener {
            std::future::pending::<()>().await;
        }
        if with_the_end {
            yield Ok(Event::Started(job.started_at));
        }
        if has(EndsWithoutEnded) {
            return;
        }
        if has(EndsTwice) {
            yield Ok(Event::Ended(report.clone()));
        }
        yield Ok(Event::Ended(report));
    }
}

fn gone(as_success: bool) -> Report {
    Report::new(if as_success {
        Outcome::Exited { code: 0, signal: None }
    } else {
        Outcome::Lost { message: "it does not exist".to_owned() }
    })
}

pub(super) fn logs(
    backend: Arc<Backend>,
    entry: Option<Entry>,
    since: LogPosition,
    follow: bool,
) -> impl Stream<Item = Result<LogChunk>> {
    let has = move |flaw| backend.has(flaw);
    stream! {
        let Some(job) = started(entry, follow).await else {
            if has(FailsOnRemovedOutput) {
                yield Err(Error::new(ErrorKind::NotFound, "no such file"));
            }
            if has(HangsOnOutputNeverWritten) {
                std::future::pending::<()>().await;
            }
            let silent = has(FailsOnRemovedOutput) || has(SilentAboutRemovedOutput);
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                let marked = stream == LogStream::Stdout || !has(MarksOneStreamOnly);
                if marked && !silent {
                    yield Ok(LogChunk::gap(stream, since.of(stream), None));
                }
            }
            return;
        };
        if has(HoldsOutputUntilTheEnd) {
            job.end().await;
        }
        let mut position = if has(IgnoresPositions) { LogPosition::START } else { since };
        loop {
            let ended = job.has_ended();
            let over = !follow && !has(FollowsWithoutFollow) || ended;
            if ended && has(LosesTheLastOutput) {
                break;
            }
            let mut more = false;
            for stream in [LogStream::Stdout, LogStream::Stderr] {
                let mut bytes = read(&job.file(stream), position.of(stream));
                if has(LosesAnUnfinishedLine) {
                    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |n| n + 1);
                    bytes.truncate(whole);
                }
                if bytes.is_empty() {
                    continue;
                }
                more = true;
                let chunk = LogChunk::data(stream, position.of(stream), bytes.clone().into());
                position.advance(&chunk);
                let offset = position.of(stream) - bytes.len() as u64;
                let changed = match backend_changes(&has) {
                    Change::None => bytes,
                    Change::Text => String::from_utf8_lossy(&bytes).into_owned().into_bytes(),
                    Change::Terminal => lines_of_a_terminal(&bytes),
                    Change::Swap => {
                        let half = bytes.len() / 2;
                        [&bytes[half..], &bytes[..half]].concat()
                    }
                };
                let changed = Bytes::from(changed);
                if has(RepeatsPieces) {
                    yield Ok(LogChunk::data(stream, offset, changed.clone()));
                }
                yield Ok(LogChunk::data(stream, offset, changed));
            }
            if over && (!more || has(StopsReadingEarly)) || !more && has(StopsAtTheFirstPause) {
                break;
            }
            if !more {
                sleep(LOOK).await;
            }
        }
        if has(AddsAFinalNewline) {
            let newline = Bytes::from_static(b"\n");
            yield Ok(LogChunk::data(LogStream::Stdout, position.stdout, newline));
        }
    }
}

/// How a flaw changes each piece of output.
enum Change {
    None,
    Text,
    Terminal,
    Swap,
}

fn backend_changes(has: &impl Fn(super::Flaw) -> bool) -> Change {
    match () {
        () if has(MakesTextValid) => Change::Text,
        () if has(WritesToATerminal) => Change::Terminal,
        () if has(SwapsPieces) => Change::Swap,
        () => Change::None,
    }
}

/// A terminal ends a line with carriage return and line feed.
fn lines_of_a_terminal(bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for byte in bytes {
        if *byte == b'\n' {
            lines.push(b'\r');
        }
        lines.push(*byte);
    }
    lines
}

/// Returns up to 64 KiB of a file from `offset` on.
fn read(path: &Path, offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.seek(SeekFrom::Start(offset));
        let _ = file.take(65_536).read_to_end(&mut bytes);
    }
    bytes
}
