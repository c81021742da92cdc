//! The output of jobs.

use futures::StreamExt;
use longshore_core::{LogChunk, LogPosition, LogStream, Runner};

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
