//! The output of jobs.

use futures::StreamExt;
use longshore_core::{Capability, LogChunk, LogPosition, LogStream, Memory, Runner};

use crate::support::{Bench, shell};

pub async fn output_is_kept_byte_for_byte_without_a_final_newline() {
    let bench = Bench::new();
    let handle = bench.start(shell(r"printf '\377\000\r\nend'")).await;
    assert_eq!(bench.output(&handle).await.0, b"\xff\0\r\nend");
}

pub async fn both_streams_are_kept_apart() {
    let bench = Bench::new();
    let handle = bench.start(shell("echo out; echo err >&2")).await;
    assert_eq!(bench.output(&handle).await, (b"out\n".to_vec(), b"err\n".to_vec()));
}

pub async fn a_hundred_mebibytes_arrive_whole() {
    let bench = Bench::new();
    let handle = bench.start(shell("yes 0123456789abcde | head -c 104857600")).await;
    let (stdout, _) = bench.output(&handle).await;
    assert_eq!(stdout.len(), 100 << 20);
    assert!(stdout.chunks(16).all(|line| line == b"0123456789abcde\n"));
}

pub async fn output_is_followed_while_the_job_runs() {
    let bench = Bench::new();
    let gate = bench.folder.path().join("gate");
    let script =
        format!("echo one; while ! test -e {}; do sleep 0.01; done; echo two", gate.display());
    let handle = bench.start(shell(&script)).await;
    let mut logs = bench.runner.logs(&handle, LogPosition::START, true);
    let first = logs.next().await.unwrap().unwrap();
    assert!(matches!(&first, LogChunk::Data { bytes, .. } if &bytes[..] == b"one\n"), "{first:?}");
    std::fs::write(&gate, "").unwrap();
    let second = logs.next().await.unwrap().unwrap();
    assert!(
        matches!(&second, LogChunk::Data { bytes, .. } if &bytes[..] == b"two\n"),
        "{second:?}"
    );
    assert!(logs.next().await.is_none());
}

pub async fn output_is_read_again_from_a_position() {
    let bench = Bench::new();
    let handle = bench.start(shell("printf 0123456789")).await;
    bench.end(&handle).await;
    let since = LogPosition { stdout: 7, stderr: 0 };
    let chunks: Vec<_> =
        bench.runner.logs(&handle, since, false).map(Result::unwrap).collect().await;
    let expected = LogChunk::data(LogStream::Stdout, 7, bytes::Bytes::from_static(b"789"));
    assert_eq!(chunks, [expected]);
}

pub async fn a_job_that_opens_dev_stderr_anew_loses_nothing() {
    let bench = Bench::new();
    let script = "echo 1 >&2; echo 2 > /dev/stderr; echo 3 > /dev/stderr";
    let handle = bench.start(shell(script)).await;
    assert_eq!(bench.output(&handle).await.1, b"1\n2\n3\n");
}

pub async fn output_of_a_removed_attempt_is_a_gap() {
    let bench = Bench::new();
    let handle = bench.start(shell("echo hello")).await;
    bench.end(&handle).await;
    bench.runner.remove(&handle).await.unwrap();
    let chunks: Vec<_> =
        bench.runner.logs(&handle, LogPosition::START, true).map(Result::unwrap).collect().await;
    let gap = |stream| LogChunk::gap(stream, 0, None);
    assert_eq!(chunks, [gap(LogStream::Stdout), gap(LogStream::Stderr)]);
}

/// A bench whose jobs keep 1 MiB of output.
fn bounded() -> Bench {
    Bench::with(|config| config.log_max_size = Memory::from_bytes(1 << 20))
}

/// Reads stdout from its beginning, and returns its bytes with their offsets, and the missing bytes.
async fn read_all(bench: &Bench, handle: &longshore_core::Handle) -> (Vec<(u64, Vec<u8>)>, u64) {
    let mut chunks = bench.runner.logs(handle, LogPosition::START, true).map(Result::unwrap);
    let (mut pieces, mut missing, mut next) = (Vec::new(), 0, 0);
    while let Some(chunk) = chunks.next().await {
        match chunk {
            LogChunk::Data { stream: LogStream::Stdout, offset, bytes } => {
                assert_eq!(offset, next, "pieces and gaps follow each other");
                next += bytes.len() as u64;
                pieces.push((offset, bytes.to_vec()));
            }
            LogChunk::Gap { stream: LogStream::Stdout, offset, missing: Some(count) } => {
                assert_eq!(offset, next, "pieces and gaps follow each other");
                next += count;
                missing += count;
            }
            odd => panic!("{odd:?}"),
        }
    }
    (pieces, missing)
}

/// Numbered lines of sixteen bytes, so that each byte tells its offset.
const LINES: &str = "seq -f %015.0f 0 999999";

fn check_lines(pieces: &[(u64, Vec<u8>)]) {
    for (offset, bytes) in pieces {
        let (first, skipped) = (offset / 16, usize::try_from(offset % 16).unwrap());
        let lines = first..=(offset + bytes.len() as u64) / 16;
        let expected: String = lines.map(|line| format!("{line:015}\n")).collect();
        let expected = &expected.as_bytes()[skipped..skipped + bytes.len()];
        assert!(bytes == expected, "other bytes than were written, from {offset} on");
    }
}

pub async fn a_job_keeps_no_more_output_than_the_bound_and_the_rest_is_a_gap() {
    let bench = bounded();
    assert!(!bench.runner.capabilities().has(Capability::KeepAllLogs));
    let attempt = bench.attempt(shell(LINES));
    let handle = bench.launch(&attempt).await.unwrap().handle;
    bench.end(&handle).await;
    let sizes = std::fs::read_dir(bench.directory(&attempt)).unwrap();
    let kept: u64 = sizes.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(kept < (1 << 20) + 4096, "{kept}");
    let (pieces, missing) = read_all(&bench, &handle).await;
    let read: u64 = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(read + missing, 16_000_000);
    assert!(read > 7 << 17, "{read}");
    check_lines(&pieces);
}

pub async fn a_follower_that_keeps_up_loses_nothing_though_output_exceeds_the_bound() {
    let bench = bounded();
    let gate = bench.folder.path().join("gate");
    // The job waits for its reader after each 512 KiB.
    let script = format!(
        "for i in $(seq 0 29); do seq -f %015.0f $((i * 32768)) $((i * 32768 + 32767))
         while ! test -e {0}.$i; do sleep 0.01; done; done",
        gate.display()
    );
    let handle = bench.start(shell(&script)).await;
    let mut chunks = bench.runner.logs(&handle, LogPosition::START, true).map(Result::unwrap);
    let mut next = 0_u64;
    while let Some(chunk) = chunks.next().await {
        let LogChunk::Data { offset, bytes, .. } = chunk else { panic!("{chunk:?}") };
        assert_eq!(offset, next);
        next += bytes.len() as u64;
        check_lines(&[(offset, bytes.to_vec())]);
        if next.is_multiple_of(512 << 10) {
            std::fs::write(format!("{}.{}", gate.display(), next / (512 << 10) - 1), "").unwrap();
        }
    }
    assert_eq!(next, 30 * (512 << 10));
}

pub async fn a_follower_that_falls_behind_reads_what_is_kept_and_marks_the_rest() {
    let bench = bounded();
    let handle = bench.start(shell(LINES)).await;
    // While the job writes as fast as it can.
    let (pieces, missing) = read_all(&bench, &handle).await;
    let read: u64 = pieces.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(read + missing, 16_000_000);
    check_lines(&pieces);
}
