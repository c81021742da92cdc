//! A job's output, cut while it is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{StreamExt, TryStreamExt};
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

/// Scripts that write `bytes` of `of` and then more; whether Docker 20.10 may lose the last newline.
const ENDS: [(&str, &str, usize, &str, bool); 9] = [
    ("a long line", "a", 100_003, "\n", true),
    ("a long line without a newline", "a", 100_003, "", true),
    ("a line of 16 KiB", "a", 16_384, "\n", false),
    ("a line of 16 KiB without a newline", "a", 16_384, "", false),
    ("a line of 32 KiB", "a", 32_768, "\n", false),
    ("binary output and a line of text", "\\0", 40_000, "\ntext\n", false),
    ("a line of text in binary output", "\\0", 40_000, "text\n", true),
    ("binary output, less than is cut", "\\0", 4_000, "text\n", false),
    ("a long line before a short one", "a", 16_385, "\nnext\n", false),
];

pub(crate) async fn the_end_of_long_and_binary_output_is_exact_or_marked(lab: Lab) -> Checked {
    let loses = lab.docker.client_version().minor_version < 44;
    let runner = lab.runner();
    for (what, of, count, more, may_lose) in ENDS {
        let more_escaped = more.replace('\n', "\\n");
        let script =
            format!("head -c {count} /dev/zero | tr '\\0' '{of}'; printf '{more_escaped}'");
        let handle = launch(&runner, &attempt(&lab, &script)).await?;
        let byte = if of == "a" { b'a' } else { 0 };
        let mut expected = vec![byte; count];
        expected.extend_from_slice(more.as_bytes());
        let followed = runner.logs(&handle, LogPosition::START, true).try_collect::<Vec<_>>();
        let followed = timeout(PATIENCE, followed).await??;
        end(&runner, &handle).await?;
        // A process that comes later reads the same.
        let later = lab.runner();
        let read = later.logs(&handle, LogPosition::START, false).try_collect::<Vec<_>>();
        for chunks in [followed, timeout(PATIENCE, read).await??] {
            let mut bytes = Vec::new();
            let mut gaps = Vec::new();
            for chunk in chunks {
                match chunk {
                    LogChunk::Data { bytes: some, .. } => bytes.extend_from_slice(&some),
                    LogChunk::Gap { offset, .. } => gaps.push(offset),
                    other => panic!("{other:?}"),
                }
            }
            let marked = loses && may_lose;
            if marked {
                // The one byte that the engine may have lost.
                let lost = expected.len() - bytes.len();
                assert!(lost <= 1 && expected.starts_with(&bytes), "{what}: {lost} bytes lost");
                assert_eq!(gaps, [bytes.len() as u64], "{what}");
            } else {
                assert!(bytes == expected, "{what}: {} of {}", bytes.len(), expected.len());
                assert_eq!(gaps, [0; 0], "{what}");
            }
        }
        runner.remove(&handle).await?;
    }
    Ok(())
}
