//! `logs`.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use longshore_core::{Capability, LogChunk, LogPosition, LogStream};

use crate::Failure;
use crate::bench::Bench;
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, check, same, same_bytes};
use crate::output::Output;

cases! { "logs":
    lines_come_in_order,
    output_without_a_final_newline_comes_whole,
    every_byte_comes_as_it_was_written,
    bytes_that_are_no_utf8_come_as_they_were_written,
    both_streams_come_apart [Can(Capability::SeparateStreams)],
    both_streams_come_whole,
    a_job_that_writes_nothing_has_no_output,
    what_is_written_right_before_the_end_comes x 12,
    output_comes_while_the_job_runs,
    without_follow_it_ends_with_what_is_there,
    a_reader_that_comes_back_goes_on_where_it_stopped,
    a_position_in_the_middle_of_each_stream_is_kept [Can(Capability::SeparateStreams)],
    after_the_end_it_is_all_there_in_every_instance,
    a_removed_jobs_output_is_a_gap_in_each_stream,
    the_output_of_a_job_that_was_never_launched_ends,
}

async fn output_of(bench: &Bench, script: &str) -> Checked<Output> {
    let finished = bench.run_script(script).await?;
    check(finished.report.outcome.is_success(), || format!("the job failed: {finished:?}"))?;
    Ok(finished.output)
}

async fn lines_come_in_order(bench: Arc<Bench>) -> Checked {
    let expected: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    same_bytes("stdout", &output_of(&bench, "seq 1 5000").await?.stdout, expected.as_bytes())
}

async fn output_without_a_final_newline_comes_whole(bench: Arc<Bench>) -> Checked {
    same_bytes("stdout", &output_of(&bench, "printf 'one\\ntwo'").await?.stdout, b"one\ntwo")
}

async fn every_byte_comes_as_it_was_written(bench: Arc<Bench>) -> Checked {
    let all: Vec<u8> = (0..=255).collect();
    let escapes: String = all.iter().map(|byte| format!("\\{byte:03o}")).collect();
    same_bytes("stdout", &output_of(&bench, &format!("printf '{escapes}'")).await?.stdout, &all)
}

async fn bytes_that_are_no_utf8_come_as_they_were_written(bench: Arc<Bench>) -> Checked {
    let script = "head -c 70000 /dev/zero | tr '\\000' '\\377'; printf '\\303'; printf '\\050'";
    let mut expected = vec![0xff; 70_000];
    expected.extend([0xc3, 0x28]);
    same_bytes("stdout", &output_of(&bench, script).await?.stdout, &expected)
}

const BOTH: &str = "for n in 1 2 3 4 5; do echo out $n; echo err $n >&2; done";

async fn both_streams_come_apart(bench: Arc<Bench>) -> Checked {
    let output = output_of(&bench, BOTH).await?;
    same_bytes("stdout", &output.stdout, b"out 1\nout 2\nout 3\nout 4\nout 5\n")?;
    same_bytes("stderr", &output.stderr, b"err 1\nerr 2\nerr 3\nerr 4\nerr 5\n")
}

async fn both_streams_come_whole(bench: Arc<Bench>) -> Checked {
    let output = output_of(&bench, BOTH).await?;
    let all = [output.stdout, output.stderr].concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    for stream in ["out", "err"] {
        let lines: Vec<&str> = all.lines().filter(|line| line.starts_with(stream)).collect();
        let expected: Vec<String> = (1..=5).map(|n| format!("{stream} {n}")).collect();
        check(lines == expected, || format!("expected {expected:?} in order among {all:?}"))?;
    }
    same("lines", &all.lines().count(), &10)
}

async fn a_job_that_writes_nothing_has_no_output(bench: Arc<Bench>) -> Checked {
    same("the output", &output_of(&bench, "exit 0").await?, &Output::default())
}

async fn what_is_written_right_before_the_end_comes(bench: Arc<Bench>) -> Checked {
    let jobs = stream::iter(0..20).map(|round| {
        let bench = Arc::clone(&bench);
        async move {
            // The job writes the last bytes just before it exits.
            let output =
                output_of(&bench, &format!("seq 1 {}; printf 'end {round}'", round * 50)).await?;
            let expected: String = (1..=round * 50).map(|n| format!("{n}\n")).collect();
            let expected = format!("{expected}end {round}");
            same_bytes("stdout", &output.stdout, expected.as_bytes())
        }
    });
    jobs.buffer_unordered(4).try_collect().await
}

async fn output_comes_while_the_job_runs(bench: Arc<Bench>) -> Checked {
    // The job outlasts the suite's patience: its output must arrive before its end.
    bench.start_script("echo early; sleep 600; echo late").await?.says("early\n").await
}

async fn without_follow_it_ends_with_what_is_there(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("echo here; sleep 600").await?;
    run.says("here").await?;
    let output = run.reader(LogPosition::START, false).rest().await?;
    same("the output", &output.text(), &"here\n".to_owned())
}

async fn a_reader_that_comes_back_goes_on_where_it_stopped(bench: Arc<Bench>) -> Checked {
    let script = "n=0; while [ $n -lt 40 ]; do n=$((n+1)); echo line $n; sleep 0.05; done";
    let run = bench.start_script(script).await?;
    let mut output = Output::default();
    let mut position = LogPosition::START;
    // Reads one piece and reconnects, five times; then reads to the end.
    for _ in 0..5 {
        let mut reader = run.reader(position, true);
        if let Some((stream, bytes)) = reader.next().await? {
            output.take(stream, &bytes);
        }
        position = reader.position();
    }
    let rest = run.seen_by(bench.runner().await?).reader(position, true).rest().await?;
    output.stdout.extend(rest.stdout);
    let expected: String = (1..=40).map(|n| format!("line {n}\n")).collect();
    same_bytes("stdout in pieces", &output.stdout, expected.as_bytes())
}

async fn a_position_in_the_middle_of_each_stream_is_kept(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("printf abcdefgh; printf 12345678 >&2").await?;
    run.end().await?;
    for follow in [true, false] {
        for (stdout, stderr) in [(3, 5), (0, 8), (8, 8)] {
            let output = run.reader(LogPosition { stdout, stderr }, follow).rest().await?;
            let from = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            same_bytes("stdout", &output.stdout, &b"abcdefgh"[from(stdout)..])?;
            same_bytes("stderr", &output.stderr, &b"12345678"[from(stderr)..])?;
        }
    }
    Ok(())
}

async fn after_the_end_it_is_all_there_in_every_instance(bench: Arc<Bench>) -> Checked {
    // More than any reader takes in one piece.
    let run = bench.start_script("seq 1 50000; exit 1").await?;
    run.end().await?;
    let expected: String = (1..=50_000).map(|n| format!("{n}\n")).collect();
    for run in [run.seen_by(Arc::clone(&run.runner)), run.seen_by(bench.runner().await?)] {
        for follow in [true, false] {
            let output = run.reader(LogPosition::START, follow).rest().await?;
            same_bytes("stdout", &output.stdout, expected.as_bytes())?;
        }
    }
    Ok(())
}

async fn a_removed_jobs_output_is_a_gap_in_each_stream(bench: Arc<Bench>) -> Checked {
    let run = bench.start_script("echo out; echo err >&2").await?;
    run.finish().await?;
    bench.wait("remove to answer", run.runner.remove(run.handle())).await??;
    let mut expected = vec![LogStream::Stdout];
    if bench.can(Capability::SeparateStreams) {
        expected.push(LogStream::Stderr);
    }
    for run in [run.seen_by(Arc::clone(&run.runner)), run.seen_by(bench.runner().await?)] {
        for follow in [true, false] {
            let mut reader = run.reader(LogPosition::START, follow);
            let mut gaps = Vec::new();
            while let Some(chunk) = reader.next_or_gap().await? {
                match chunk {
                    LogChunk::Gap { stream, .. } => gaps.push(stream),
                    other => return Err(Failure::new(format!("a removed job has {other:?}"))),
                }
            }
            gaps.sort_by_key(|stream| *stream == LogStream::Stderr);
            same("the streams with a gap", &gaps, &expected)?;
        }
    }
    Ok(())
}

async fn the_output_of_a_job_that_was_never_launched_ends(bench: Arc<Bench>) -> Checked {
    let attempt = bench.attempt(bench.fixture().job("exit 0"));
    let runner = bench.runner().await?;
    for follow in [true, false] {
        let chunks = runner.logs(&runner.handle(&attempt), LogPosition::START, follow);
        let chunks: Vec<_> = bench.wait("the output to end", chunks.collect()).await?;
        let is_data = |chunk: &_| matches!(chunk, Ok(LogChunk::Data { .. }));
        check(!chunks.iter().any(is_data), || format!("it has output: {chunks:?}"))?;
    }
    Ok(())
}
