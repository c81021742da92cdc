//! What only a local process has: it shares the machine's disk with its own records.

use std::path::Path;

use rusqlite::Connection;

use super::case::cases;
use super::jobs::{detached, removed};
use crate::bench::Bench;
use crate::check::{Checked, same, says};
use crate::programs;

cases! { "process":
    a_job_that_fills_the_disk_can_be_cancelled_and_removed [Mounts],
    a_job_is_cancelled_though_its_journal_cannot_be_written,
}

fn a_job_that_fills_the_disk_can_be_cancelled_and_removed(bench: &Bench) -> Checked {
    let script = r#"set -e
        mount -t tmpfs -o size=16m none "$JOB_STATEDIRECTORY"
        ID=$($0 run --detach -- yes)
        while head -c 4096 /dev/zero >> "$JOB_STATEDIRECTORY/other"; do sleep 0.02; done 2>/dev/null
        $0 cancel --grace 1s $ID
        $0 wait $ID || echo $?
        $0 rm $ID
        $0 ps --all | tail -n +2"#;
    std::fs::create_dir_all(bench.folders.state())?;
    let command = bench.program(Path::new("unshare"))?.env("JOB_RUNNERS", bench.backend.name());
    let ran = command.args(["-m", "sh", "-c", script]).arg(programs::longshore()?).run()?;
    ran.exits(0)?;
    says(&ran.stderr, &["was cancelled"])?;
    let lines = ran.text().lines().count();
    same("the lines: the exit code, the ID once removed, and no job left", lines, 2)
}

fn a_job_is_cancelled_though_its_journal_cannot_be_written(bench: &Bench) -> Checked {
    let id = detached(bench, &[], "sleep 600")?;
    // Another program that keeps the file locked: it can be read, and not written.
    let locked = Connection::open(bench.folders.state().join("journal.db"))?;
    locked.execute_batch("BEGIN IMMEDIATE")?;
    let ran = bench.longshore()?.args(["cancel", "--grace", "1s", &id]).run()?;
    locked.execute_batch("ROLLBACK")?;
    ran.exits(0)?;
    says(&ran.stderr, &["was cancelled"])?;
    removed(bench, &id)
}
