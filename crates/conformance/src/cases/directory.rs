//! The job directory.

use std::sync::Arc;

use super::with_command;
use crate::Failure;
use crate::bench::Bench;
use crate::case::Need::{Directory, ReadOnlyInput};
use crate::case::cases;
use crate::failure::{Checked, check, same, same_bytes};

cases! { "directory":
    the_job_reads_its_input_and_we_its_output_byte_for_byte [Directory],
    the_output_of_a_job_that_failed_is_there [Directory],
    input_cannot_be_written_by_the_job [Directory, ReadOnlyInput],
    the_placeholder_in_an_argument_names_it_as_the_job_sees_it [Directory],
    two_jobs_have_each_their_own [Directory],
}

async fn the_job_reads_its_input_and_we_its_output_byte_for_byte(bench: Arc<Bench>) -> Checked {
    let name = "with space and ü.bin";
    let script = format!(
        "cd \"$LONGSHORE_JOB_DIR\" && cat \"input/{name}\" \"input/{name}\" > \"output/{name}\""
    );
    let (spec, directory) = bench.job_with_directory(&script)?;
    // Every byte value, and more bytes than a pipe or a page holds.
    let input: Vec<u8> = (0..300_000_u32).map(|n| (n ^ (n >> 8)).to_le_bytes()[0]).collect();
    directory.give(name, &input)?;
    let outcome = bench.run(spec).await?.report.outcome;
    check(outcome.is_success(), || format!("the job {outcome}"))?;
    let output =
        directory.output(name)?.ok_or_else(|| Failure::new("the output does not exist"))?;
    same_bytes("the output", &output, &[input.clone(), input].concat())
}

async fn the_output_of_a_job_that_failed_is_there(bench: Arc<Bench>) -> Checked {
    let script = "echo partial > \"$LONGSHORE_JOB_DIR/output/report\"; exit 1";
    let (spec, directory) = bench.job_with_directory(script)?;
    same("the exit code", &bench.run(spec).await?.report.outcome.exit_code(), &1)?;
    same("the output", &directory.output("report")?, &Some(b"partial\n".to_vec()))
}

async fn input_cannot_be_written_by_the_job(bench: Arc<Bench>) -> Checked {
    let script = "cd \"$LONGSHORE_JOB_DIR/input\"; (echo x > new) 2>/dev/null && echo wrote; \
                  (echo x >> given) 2>/dev/null && echo changed; echo done";
    let (spec, directory) = bench.job_with_directory(script)?;
    directory.give("given", b"mine\n")?;
    same("the output", &bench.run(spec).await?.output.text(), &"done\n".to_owned())?;
    let given = std::fs::read(directory.path().join("input/given"))?;
    same_bytes("the input", &given, b"mine\n")
}

async fn the_placeholder_in_an_argument_names_it_as_the_job_sees_it(bench: Arc<Bench>) -> Checked {
    let mut spec = with_command(&bench, &["cat"], &["{jobDir}/input/given"]);
    let directory = bench.directory()?;
    spec.job_directory = Some(directory.path().to_owned());
    directory.give("given", b"content")?;
    same_bytes("the output", &bench.run(spec).await?.output.stdout, b"content")
}

async fn two_jobs_have_each_their_own(bench: Arc<Bench>) -> Checked {
    let script = "cat \"$LONGSHORE_JOB_DIR/input/who\" > \"$LONGSHORE_JOB_DIR/output/who\"";
    let (one, first) = bench.job_with_directory(script)?;
    let (two, second) = bench.job_with_directory(script)?;
    first.give("who", b"one")?;
    second.give("who", b"two")?;
    futures::try_join!(bench.run(one), bench.run(two))?;
    same("the first output", &first.output("who")?, &Some(b"one".to_vec()))?;
    same("the second output", &second.output("who")?, &Some(b"two".to_vec()))
}
