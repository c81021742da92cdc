//! Jobs whose journal was damaged.

use std::fs;

use anyhow::ensure;

use super::case::cases;
use super::jobs::{detached, listed, longshore, removed};
use crate::bench::Bench;
use crate::check::{Checked, same, says};

cases! { "lost journal":
    the_jobs_of_a_damaged_journal_are_adopted_with_their_output,
}

/// The message about a damaged journal says to move it away. `ps`, `wait` and `cancel` did not know
/// the jobs then, and `gc --older-than 0s` deleted their output.
fn the_jobs_of_a_damaged_journal_are_adopted_with_their_output(bench: &Bench) -> Checked {
    let over = detached(bench, &[], "echo from before; exit 3")?;
    longshore(bench, &["wait", &over])?.exits(3)?;
    let runs = detached(bench, &[], "sleep 600")?;
    let file = |name: &str| bench.folders.state().join(name);
    for part in ["journal.db-wal", "journal.db-shm"] {
        if file(part).exists() {
            fs::remove_file(file(part))?;
        }
    }
    fs::write(file("journal.db"), "not a journal any more".repeat(1000))?;
    let ran = longshore(bench, &["ps"])?;
    ran.exits(125)?;
    says(&ran.stderr, &["journal.db", "damaged", "move it away", "adopts the jobs"])?;

    fs::rename(file("journal.db"), file("damaged.db"))?;
    let ran = longshore(bench, &["logs", &over])?;
    ran.exits(0)?;
    same("its output", ran.text(), "from before\n")?;
    let adopted = [format!("{over}-1: it had no record"), format!("{runs}-1: it had no record")];
    says(&ran.stderr, &adopted.each_ref().map(String::as_str))?;
    longshore(bench, &["wait", &over])?.exits(3)?;
    let ran = longshore(bench, &["ps"])?;
    ran.exits(0)?;
    says(&ran.text(), &[&runs, bench.backend.name()])?;
    same("the warnings, once", ran.stderr.as_str(), "")?;
    ensure!(listed(bench, &["--all"])?.len() == 2, "there are other jobs");
    longshore(bench, &["cancel", "--grace", "0s", &runs])?.exits(0)?;
    removed(bench, &runs)?;
    removed(bench, &over)
}
