//! What a job receives as stdin.

use std::io::ErrorKind;
use std::sync::Arc;

use longshore_core::{Capability, JobSpec, JobStdin, Outcome};
use tokio::io::AsyncWriteExt;

use crate::bench::{Bench, Finished, Run};
use crate::case::Need::Can;
use crate::case::cases;
use crate::failure::{Checked, Failure, check, same, same_bytes};

cases! { "stdin":
    what_is_written_arrives_and_then_end_of_file [Can(Capability::Stdin)],
    much_input_arrives_unharmed_as_fast_as_the_job_reads [Can(Capability::Stdin)],
    an_empty_stdin_is_end_of_file [Can(Capability::Stdin)],
    a_stdin_that_is_dropped_is_end_of_file [Can(Capability::Stdin)],
    another_instance_can_open_it [Can(Capability::Stdin)],
    a_job_waits_for_its_input [Can(Capability::Stdin)],
    a_job_that_never_reads_ends_all_the_same [Can(Capability::Stdin)],
    a_job_whose_stdin_nobody_opens_ends_all_the_same [Can(Capability::Stdin)],
    once_the_job_has_ended_nothing_can_be_written [Can(Capability::Stdin)],
}

/// More than the buffers of pipes and sockets on the way hold.
const MUCH: usize = 1 << 20;

fn with_stdin(bench: &Bench, script: &str) -> JobSpec {
    let mut spec = bench.fixture().job(script);
    spec.stdin = true;
    spec
}

async fn open(bench: &Bench, job: &Run) -> Checked<JobStdin> {
    let opened = bench.wait("stdin to open", job.runner.stdin(job.handle())).await?;
    opened.map_err(|e| Failure::from(e).while_doing("failed to open the job's stdin"))
}

/// Gives the job `bytes` and end of file, and follows it to its end meanwhile.
async fn fed(bench: &Bench, job: &Run, bytes: &[u8]) -> Checked<Finished> {
    let mut stdin = open(bench, job).await?;
    let feeding = async {
        stdin.write_all(bytes).await?;
        stdin.shutdown().await?;
        drop(stdin);
        Ok::<_, Failure>(())
    };
    let feeding = async { bench.wait("the job to read its stdin", feeding).await? };
    let ((), finished) = futures::try_join!(feeding, job.finish())?;
    Ok(finished)
}

async fn what_is_written_arrives_and_then_end_of_file(bench: Arc<Bench>) -> Checked {
    let job = bench.start(with_stdin(&bench, "cat; echo over")).await?;
    let finished = fed(&bench, &job, b"data\n").await?;
    same("the output", &finished.output.text(), &"data\nover\n".to_owned())?;
    same("the outcome", &finished.report.outcome, &Outcome::Exited { code: 0, signal: None })
}

async fn much_input_arrives_unharmed_as_fast_as_the_job_reads(bench: Arc<Bench>) -> Checked {
    // Every byte occurs, and no line is longer than the suite's readers take.
    let bytes: Vec<u8> = (0_u8..=250).cycle().take(MUCH).collect();
    let job = bench.start(with_stdin(&bench, "cat")).await?;
    let finished = fed(&bench, &job, &bytes).await?;
    same_bytes("the output", &finished.output.stdout, &bytes)
}

async fn an_empty_stdin_is_end_of_file(bench: Arc<Bench>) -> Checked {
    let job = bench.start(with_stdin(&bench, "cat; echo over")).await?;
    let finished = fed(&bench, &job, b"").await?;
    same("the output", &finished.output.text(), &"over\n".to_owned())
}

async fn a_stdin_that_is_dropped_is_end_of_file(bench: Arc<Bench>) -> Checked {
    let job = bench.start(with_stdin(&bench, "cat; echo over")).await?;
    let mut stdin = open(&bench, &job).await?;
    let writing = async {
        stdin.write_all(b"data\n").await?;
        stdin.flush().await
    };
    bench.wait("the job to read its stdin", writing).await??;
    job.says("data").await?;
    drop(stdin);
    let finished = job.finish().await?;
    same("the output", &finished.output.text(), &"data\nover\n".to_owned())
}

async fn another_instance_can_open_it(bench: Arc<Bench>) -> Checked {
    let job = bench.start(with_stdin(&bench, "cat")).await?;
    let other = job.seen_by(bench.runner().await?);
    let finished = fed(&bench, &other, b"data\n").await?;
    same("the output", &finished.output.text(), &"data\n".to_owned())
}

async fn a_job_waits_for_its_input(bench: Arc<Bench>) -> Checked {
    let script = "echo ready; read -r line; echo \"got $line\"";
    let job = bench.start(with_stdin(&bench, script)).await?;
    job.says("ready").await?;
    let finished = fed(&bench, &job, b"data\n").await?;
    same("the output", &finished.output.text(), &"ready\ngot data\n".to_owned())
}

/// Writes until that fails.
async fn write_on(stdin: &mut JobStdin) -> std::io::Error {
    let bytes = vec![b'x'; 64 << 10];
    loop {
        if let Err(error) = stdin.write_all(&bytes).await {
            return error;
        }
    }
}

async fn a_job_that_never_reads_ends_all_the_same(bench: Arc<Bench>) -> Checked {
    let job = bench.start(with_stdin(&bench, "echo ready; exit 3")).await?;
    let mut stdin = open(&bench, &job).await?;
    let report = tokio::select! {
        biased;
        report = job.end() => report?,
        // A failure to write does not end the job.
        _ = write_on(&mut stdin) => job.end().await?,
    };
    same("the outcome", &report.outcome, &Outcome::Exited { code: 3, signal: None })
}

async fn a_job_whose_stdin_nobody_opens_ends_all_the_same(bench: Arc<Bench>) -> Checked {
    let finished = bench.run(with_stdin(&bench, "echo over")).await?;
    same("the output", &finished.output.text(), &"over\n".to_owned())
}

async fn once_the_job_has_ended_nothing_can_be_written(bench: Arc<Bench>) -> Checked {
    let job = bench.start(with_stdin(&bench, "exit 0")).await?;
    job.end().await?;
    let mut stdin = open(&bench, &job).await?;
    let error = bench.wait("a write to fail", write_on(&mut stdin)).await?;
    check(error.kind() == ErrorKind::BrokenPipe, || format!("it failed otherwise: {error}"))
}
