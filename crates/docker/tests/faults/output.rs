//! A job's output, cut while it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use longshore_core::{Handle, LogChunk, LogPosition, Runner};
use longshore_docker::DockerRunner;
use tokio::time::timeout;

use super::wire::Wire;
use crate::support::Lab;
use crate::{Checked, PATIENCE, attempt, end, launch};

/// All of a job's standard output. Errors are hints, and the stream continues.
pub(crate) async fn all(
    runner: &DockerRunner,
    handle: &Handle,
) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
    let mut logs = runner.logs(handle, LogPosition::START, true);
    let mut all = Vec::new();
    let reading = async {
        while let Some(chunk) = logs.next().await {
            match chunk {
                Ok(LogChunk::Data { offset, bytes, .. }) => {
                    assert_eq!(offset, all.len() as u64, "each byte once, in order");
                    all.extend_from_slice(&bytes);
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => {}
            }
        }
    };
    timeout(PATIENCE, reading).await?;
    Ok(all)
}

/// The output of the job of this test: lines of multi-byte characters, and a long one.
fn wide() -> String {
    let short: String = (1..=1000).map(|n| format!("{n} grüße €😀\n")).collect();
    format!("{short}{}\n", "ab€😀".repeat(20_000))
}

pub(crate) async fn output_that_is_cut_anywhere_goes_on_without_gap_or_repeat(lab: Lab) -> Checked {
    // Within the answer's head, a frame's head, a time; of four bytes in a row within the long
    // line, one is within a character.
    const CUTS: [usize; 12] =
        [0, 50, 200, 215, 230, 5_000, 90_000, 90_001, 90_002, 90_003, 200_000, 260_000];
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let wire = Wire::cutting(move |line| {
        line.contains("/logs").then(|| CUTS.get(count.fetch_add(1, Ordering::SeqCst)).copied())?
    })?;
    let runner = wire.runner();
    let write = "awk 'BEGIN{for(i=1;i<=1000;i++)print i \" grüße €😀\"; \
                 for(i=0;i<20000;i++)printf \"ab€😀\"; print \"\"}'";
    // Docker 20.10 does not report whether a long line at the very end has its newline.
    let script = format!("{write}; sleep 6; {write}; echo over");
    let handle = launch(&runner, &attempt(&lab, &script)).await?;
    let (report, output) = tokio::join!(end(&runner, &handle), all(&runner, &handle));
    let (output, expected) = (output?, wide().repeat(2) + "over\n");
    let same = output.iter().zip(expected.as_bytes()).take_while(|(a, b)| a == b).count();
    assert!(
        output == expected.as_bytes(),
        "{} bytes, {} expected, the first {same} as they should",
        output.len(),
        expected.len()
    );
    assert!(report?.outcome.is_success());
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > CUTS.len(), "cut only {asked} times");
    Ok(runner.remove(&handle).await?)
}
