//! Output that is attached, and what ends an attachment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use longshore_core::{Attempt, Handle, LaunchContext, LogChunk, LogPosition, Runner};
use longshore_docker::DockerRunner;
use tokio::time::{Instant, timeout};

use super::output::all;
use super::wire::Wire;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end};

/// Launches as a process that reads the output.
async fn launch(
    runner: &DockerRunner,
    attempt: &Attempt,
) -> Result<Handle, Box<dyn std::error::Error + Send + Sync>> {
    let mut context = LaunchContext::new(Instant::now() + PATIENCE);
    context.read_output = true;
    Ok(runner.launch(attempt, &context).await?.handle)
}

/// A wire that cuts the first `/attach` after so many bytes, and counts requests for the log.
fn wire(cut: Option<usize>) -> std::io::Result<(Wire, Arc<AtomicUsize>)> {
    let logs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&logs);
    let wire = Wire::cutting(move |line| {
        if line.contains("/logs") {
            count.fetch_add(1, Ordering::SeqCst);
        }
        cut.filter(|_| line.contains("/attach"))
    })?;
    Ok((wire, logs))
}

/// Writes numbered lines, and the last one after a while.
const SCRIPT: &str = "seq 1 200000; sleep 1; echo over";

fn expected() -> String {
    (1..=200_000).map(|n| format!("{n}\n")).collect::<String>() + "over\n"
}

pub(crate) async fn attached_output_needs_no_log(lab: Lab) -> Checked {
    let (wire, logs) = wire(None)?;
    let runner = wire.runner();
    let handle = launch(&runner, &attempt(&lab, SCRIPT)).await?;
    let (report, output) = tokio::join!(end(&runner, &handle), all(&runner, &handle));
    assert!(output? == expected().as_bytes() && report?.outcome.is_success());
    assert_eq!(logs.load(Ordering::SeqCst), 0, "requests for the log");
    Ok(runner.remove(&handle).await?)
}

pub(crate) async fn an_attachment_that_is_cut_anywhere_is_continued_from_the_log(
    lab: Lab,
) -> Checked {
    // Within the answer's head, a record's header, a record, and before the last line.
    for cut in [0, 50, 130, 5_000, 700_001] {
        let (wire, logs) = wire(Some(cut))?;
        let runner = wire.runner();
        let handle = launch(&runner, &attempt(&lab, SCRIPT)).await?;
        let (report, output) = tokio::join!(end(&runner, &handle), all(&runner, &handle));
        let output = output?;
        assert!(output == expected().as_bytes(), "cut after {cut}: {} bytes", output.len());
        assert!(report?.outcome.is_success());
        assert!(logs.load(Ordering::SeqCst) > 0, "cut after {cut}");
        runner.remove(&handle).await?;
    }
    Ok(())
}

pub(crate) async fn an_attachment_that_dies_silently_is_continued_from_the_log(
    lab: Lab,
) -> Checked {
    let (wire, _) = wire(None)?;
    let runner = wire.runner();
    let script = "echo one; sleep 3; echo two";
    let handle = launch(&runner, &attempt(&lab, script)).await?;
    let mut output = runner.logs(&handle, LogPosition::START, true);
    let first = timeout(PATIENCE, output.next()).await?.ok_or("no output")??;
    assert!(matches!(first, LogChunk::Data { .. }), "{first:?}");
    wire.freeze("/attach");
    let ending = end(&runner, &handle);
    let rest = timeout(PATIENCE, output.filter_map(async |chunk| chunk.ok()).collect::<Vec<_>>());
    let (report, rest) = tokio::join!(ending, rest);
    assert!(report?.outcome.is_success());
    let rest = rest?;
    let [LogChunk::Data { offset: 4, bytes, .. }] = rest.as_slice() else { panic!("{rest:?}") };
    assert_eq!(&bytes[..], b"two\n");
    Ok(runner.remove(&handle).await?)
}

pub(crate) async fn output_that_nobody_reads_does_not_hold_the_job_up(lab: Lab) -> Checked {
    let (wire, logs) = wire(None)?;
    let runner = wire.runner();
    let handle = launch(&runner, &attempt(&lab, "seq 1 800000")).await?;
    let mut output = runner.logs(&handle, LogPosition::START, true);
    let mut bytes = 0;
    let first = timeout(PATIENCE, output.next()).await?.ok_or("no output")??;
    let mut position = LogPosition::START;
    position.advance(&first);
    // Nobody reads on before the end.
    assert!(end(&runner, &handle).await?.outcome.is_success());
    while let Some(chunk) = timeout(PATIENCE, output.next()).await? {
        let chunk = chunk?;
        let LogChunk::Data { stream, offset, bytes: some, .. } = &chunk else {
            panic!("{chunk:?}")
        };
        assert_eq!(*offset, position.of(*stream), "each byte once, in order");
        bytes += some.len();
        position.advance(&chunk);
    }
    let whole: u64 = (1..=800_000_u64).map(|n| n.to_string().len() as u64 + 1).sum();
    assert_eq!(position, LogPosition { stdout: whole, stderr: 0 }, "{bytes} bytes after the end");
    assert!(logs.load(Ordering::SeqCst) > 0, "the rest is from the log");
    Ok(runner.remove(&handle).await?)
}

pub(crate) async fn a_job_that_closes_its_output_early_ends_as_every_other(lab: Lab) -> Checked {
    let runner = lab.runner();
    let script = "echo out; echo err >&2; exec >/dev/null 2>&1; sleep 2; exit 3";
    let handle = launch(&runner, &attempt(&lab, script)).await?;
    let reading = runner.logs(&handle, LogPosition::START, true).collect::<Vec<_>>();
    let (report, chunks) = tokio::join!(end(&runner, &handle), timeout(PATIENCE, reading));
    assert_eq!(report?.outcome.exit_code(), 3);
    assert_eq!(chunks?.len(), 2, "one for each stream");
    Ok(runner.remove(&handle).await?)
}
