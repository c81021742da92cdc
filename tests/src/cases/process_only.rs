//! What only a local process has: it shares the machine's disk with its own records.

use std::path::Path;

use anyhow::Result;

use super::case::cases;
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::programs;
use crate::running::Ran;

cases! { "process":
    a_job_that_fills_the_disk_can_be_cancelled_and_removed [Mounts],
    a_job_is_cancelled_though_its_journal_cannot_be_written [Mounts],
}

/// Runs `steps`, a shell script, after a job has filled the disk of `size` on which the state
/// directory is. In `steps`, `$L` is the command and `$ID` is the job.
fn on_a_full_disk(bench: &Bench, size: &str, steps: &str) -> Result<Ran> {
    let state = bench.folders.state();
    std::fs::create_dir_all(&state)?;
    let script = format!(
        r#"set -e
        mount -t tmpfs -o size={size} none "$JOB_STATEDIRECTORY"
        L=$0
        ID=$($L run --detach -- yes)
        while head -c 4096 /dev/zero >> "$JOB_STATEDIRECTORY/other"; do sleep 0.02; done 2>/dev/null
        {steps}"#
    );
    let command = bench.program(Path::new("unshare"))?.env("JOB_RUNNERS", bench.backend.name());
    command.args(["-m", "sh", "-c", &script]).arg(programs::longshore()?).run()
}

fn a_job_that_fills_the_disk_can_be_cancelled_and_removed(bench: &Bench) -> Checked {
    let ran = on_a_full_disk(
        bench,
        "16m",
        "$L cancel --grace 1s $ID; $L wait $ID || echo $?; $L rm $ID; $L ps --all | tail -n +2",
    )?;
    ran.exits(0)?;
    says(&ran.stderr, &["was cancelled"])?;
    same(
        "the exit code of the job, its ID once removed, and nothing left",
        ran.text().lines().count(),
        2,
    )
}

fn a_job_is_cancelled_though_its_journal_cannot_be_written(bench: &Bench) -> Checked {
    // Too small for a reserve.
    let ran = on_a_full_disk(bench, "6m", "$L cancel --grace 1s $ID")?;
    ran.exits(0)?;
    says(&ran.stderr, &["was cancelled", "disk is full"])
}
