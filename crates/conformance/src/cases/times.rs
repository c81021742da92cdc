//! The times of a job's output.

use std::sync::Arc;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use longshore_core::{Capability, LogChunk, LogPosition, LogStream, TimedChunk};
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, Run};
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, Failure, check, same, same_bytes};

cases! { "times":
    each_line_has_the_time_at_which_it_was_written
        [Can(Capability::LogTimes), Can(Capability::Stdin)],
    the_bytes_are_those_of_the_output_from_any_position [Can(Capability::LogTimes)],
}

/// How far a backend's clock that counts in whole seconds may seem to be off.
const COARSE: SignedDuration = SignedDuration::from_secs(1);

/// Less than what the first two lines of a job are apart.
const BETWEEN: SignedDuration = SignedDuration::from_millis(90);

/// Reads all of a job's output with its times.
async fn timed(
    bench: &Bench,
    job: &Run,
    since: LogPosition,
    follow: bool,
) -> Checked<Vec<TimedChunk>> {
    let items = job.runner.timed_logs(job.handle(), since, follow).collect::<Vec<_>>();
    let items = bench.wait("the output with its times to end", items).await?;
    let failed = |e| Failure::from(e).while_doing("failed to read the output with its times");
    items.into_iter().collect::<longshore_core::Result<_>>().map_err(failed)
}

/// Returns the bytes of `stream`, and the time of each line of it.
fn lines(
    bench: &Bench,
    chunks: &[TimedChunk],
    stream: LogStream,
) -> Checked<(Vec<u8>, Vec<Timestamp>)> {
    let (mut bytes, mut times) = (Vec::new(), Vec::new());
    let mut last = None;
    for TimedChunk { at, chunk } in chunks {
        let LogChunk::Data { stream: of, bytes: part, .. } = chunk else {
            return Err(Failure::new(format!("output is missing: {chunk:?}")));
        };
        if *of != stream {
            continue;
        }
        let at = at.ok_or_else(|| Failure::new(format!("it has no time: {chunk:?}")))?;
        // Two streams that are merged may overtake each other.
        let merged = !bench.can(Capability::SeparateStreams);
        check(merged || last.is_none_or(|last| last <= at), || {
            format!("the times decrease: {last:?} before {at}")
        })?;
        last = Some(at);
        for line in part.split_inclusive(|byte| *byte == b'\n') {
            if bytes.last().is_none_or(|last| *last == b'\n') {
                times.push(at);
            }
            bytes.extend_from_slice(line);
        }
    }
    Ok((bytes, times))
}

async fn each_line_has_the_time_at_which_it_was_written(bench: Arc<Bench>) -> Checked {
    let mut spec =
        bench.fixture().job("echo first; read -r go; sleep 0.1; echo second; printf third");
    spec.stdin = true;
    let run = bench.start(spec).await?;
    let mut following = run.runner.timed_logs(run.handle(), LogPosition::START, true);
    // The second line is written after the time of the first one is known.
    let first = bench.wait("the first line", following.next()).await?;
    let mut followed: Vec<TimedChunk> = first.into_iter().collect::<longshore_core::Result<_>>()?;
    let mut stdin = bench.wait("stdin to open", run.runner.stdin(run.handle())).await??;
    bench.wait("the job to read", stdin.write_all(b"go\n")).await??;
    let rest = bench.wait("the rest of the output", following.collect::<Vec<_>>()).await?;
    followed.extend(rest.into_iter().collect::<longshore_core::Result<Vec<_>>>()?);
    let report = run.end().await?;
    drop(stdin);
    let (Some(begin), Some(end)) = (report.started_at, report.finished_at) else {
        return Err(Failure::new(format!("the report has no times: {report:?}")));
    };
    let (bytes, times) = lines(&bench, &followed, LogStream::Stdout)?;
    same_bytes("the output", &bytes, b"first\nsecond\nthird")?;
    let [first, second, third] = times.as_slice() else {
        return Err(Failure::new(format!("three lines have the times {times:?}")));
    };
    check(second.duration_since(*first) >= BETWEEN, || {
        format!("{BETWEEN:#} were between lines of {first} and {second}")
    })?;
    check(*first >= begin - COARSE && *third <= end + COARSE, || {
        format!("lines of {first} and {third}, in a job from {begin} to {end}")
    })?;
    let other = run.seen_by(bench.runner().await?);
    let later = timed(&bench, &other, LogPosition::START, false).await?;
    let (_, later) = lines(&bench, &later, LogStream::Stdout)?;
    same("the times that another instance reads later", &later, &times)
}

async fn the_bytes_are_those_of_the_output_from_any_position(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("seq 1 20000; seq 1 100 >&2").await?;
    run.end().await?;
    let whole = run.output().await?;
    let streams = [(LogStream::Stdout, &whole.stdout), (LogStream::Stderr, &whole.stderr)];
    for at in [0, 10, 70_000] {
        let since = LogPosition { stdout: at, stderr: 0 };
        let chunks = timed(&bench, &run, since, true).await?;
        for (stream, whole) in streams {
            let from = usize::try_from(since.of(stream)).unwrap_or(usize::MAX);
            let (bytes, _) = lines(&bench, &chunks, stream)?;
            same_bytes("the output with its times", &bytes, &whole[from..])?;
        }
    }
    Ok(())
}
