//! The streams of events and output of a simulated attempt.

use std::time::Duration;

use async_stream::stream;
use futures::Stream;
use longshore_core::{
    AttemptId, Error, ErrorKind, Event, Handle, LogChunk, LogPosition, LogStream, Outcome, Report,
    Result,
};
use tokio::time::{Instant, sleep_until};

use super::live::{Live, Phase};
use super::runner::SimulatedRunner;
use super::script::Written;

/// The pause between two attempts of a stream to reach its backend.
const RETRY: Duration = Duration::from_secs(5);

/// Returns the events of an attempt.
pub(super) fn events(runner: SimulatedRunner, handle: Handle) -> impl Stream<Item = Result<Event>> {
    stream! {
        while let Err(error) = runner.find_target(&handle.opaque) {
            yield Err(error);
            sleep_until(Instant::now() + RETRY).await;
        }
        while let Some(back) = runner.away() {
            yield Err(runner.out_of_reach());
            sleep_until(back.min(Instant::now() + RETRY)).await;
        }
        let Some(live) = runner.backend.find(&handle.attempt) else {
            yield Ok(Event::Ended(gone("nothing of that name is here")));
            return;
        };
        let unreadable = live.unreadable_from();
        let cannot_read = || unreadable.is_some_and(|from| from <= Instant::now());
        while cannot_read() {
            yield Err(Error::new(ErrorKind::Internal, "simulated: the attempt cannot be read"));
            sleep_until(Instant::now() + RETRY).await;
        }
        if let Some(difference) = live.difference() {
            yield Ok(Event::Waiting(difference.to_owned()));
        }
        if live.program_runs() {
            yield Ok(Event::Started(Some(runner.backend.timestamp(live.started))));
        }
        let mut phase = live.phase.subscribe();
        if live.program_runs() && matches!(*phase.borrow(), Phase::Running) {
            yield Ok(Event::Running);
        }
        let report = loop {
            while let Some(back) = runner.away() {
                yield Err(runner.out_of_reach());
                sleep_until(back.min(Instant::now() + RETRY)).await;
            }
            while cannot_read() {
                yield Err(Error::new(ErrorKind::Internal, "simulated: the attempt cannot be read"));
                sleep_until(Instant::now() + RETRY).await;
            }
            match &*phase.borrow_and_update() {
                Phase::Running => {}
                Phase::Ended { report, .. } => break report.clone(),
                Phase::Removed => break gone("somebody removed it"),
            }
            tokio::select! {
                biased;
                _ = phase.changed() => {}
                () = at(runner.next_outage()) => {}
                () = at(unreadable.filter(|_| !cannot_read())) => {}
            }
        };
        yield Ok(Event::Ended(report));
    }
}

fn gone(message: &str) -> Report {
    Report::new(Outcome::Lost { message: format!("simulated: {message}") })
}

async fn at(instant: Option<Instant>) {
    match instant {
        Some(instant) => sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Returns the output of an attempt.
pub(super) fn logs(
    runner: SimulatedRunner,
    attempt: AttemptId,
    since: LogPosition,
    follow: bool,
) -> impl Stream<Item = Result<LogChunk>> {
    stream! {
        let Some(live) = runner.backend.find(&attempt) else {
            for gap in gone_after(since) {
                yield Ok(gap);
            }
            return;
        };
        let mut position = since;
        let mut breaks = runner.next(|s| &mut s.log_breaks);
        let mut seen = LogPosition::START;
        for written in live.output() {
            let Some(chunk) = unseen(written, &mut seen, &since) else { continue };
            match wait_for(&live, written, follow).await {
                Waited::Written => {}
                Waited::Never => return,
                Waited::Removed => {
                    for gap in gone_after(position) {
                        yield Ok(gap);
                    }
                    return;
                }
            }
            while let Some(back) = runner.away() {
                yield Err(runner.out_of_reach());
                sleep_until(back.min(Instant::now() + RETRY)).await;
            }
            if breaks == Some(0) {
                yield Err(runner.out_of_reach());
                return;
            }
            breaks = breaks.map(|left| left - 1);
            position.advance(&chunk);
            yield Ok(chunk);
        }
        if follow {
            // All output is sent; the stream ends with the job.
            let mut phase = live.phase.subscribe();
            let _ = phase.wait_for(|p| *p != Phase::Running).await;
        }
    }
}

/// Returns what is missing of an attempt that was removed.
fn gone_after(position: LogPosition) -> [LogChunk; 2] {
    [LogStream::Stdout, LogStream::Stderr]
        .map(|stream| LogChunk::gap(stream, position.of(stream), None))
}

/// Returns the part of `written` that the reader does not have.
fn unseen(written: &Written, seen: &mut LogPosition, since: &LogPosition) -> Option<LogChunk> {
    let offset = seen.of(written.stream);
    let whole = LogChunk::data(written.stream, offset, written.bytes.clone());
    seen.advance(&whole);
    let known = since.of(written.stream).saturating_sub(offset);
    let known = usize::try_from(known).unwrap_or(usize::MAX);
    if known >= written.bytes.len() {
        return None;
    }
    let rest = written.bytes.slice(known..);
    Some(LogChunk::data(written.stream, offset + known as u64, rest))
}

enum Waited {
    Written,
    /// The job ended before it would have written it, or the reader does not follow.
    Never,
    Removed,
}

async fn wait_for(live: &Live, written: &Written, follow: bool) -> Waited {
    let due = live.started + written.at;
    let mut phase = live.phase.subscribe();
    if follow {
        tokio::select! {
            biased;
            _ = phase.wait_for(|p| *p != Phase::Running) => {}
            () = sleep_until(due) => {}
        }
    }
    let now = Instant::now();
    match &*live.phase.borrow() {
        Phase::Removed => Waited::Removed,
        Phase::Ended { at, .. } if due <= *at => Waited::Written,
        Phase::Running if due <= now => Waited::Written,
        Phase::Ended { .. } | Phase::Running => Waited::Never,
    }
}
