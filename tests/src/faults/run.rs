//! Kills commands on every backend, in parallel, and prints the table of the results.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use parking_lot::Mutex;

use super::kill::{self, Killed};
use super::tally::Tally;
use crate::backend::Backend;
use crate::bench::Bench;
use crate::books::{self, Books};
use crate::lab::Lab;
use crate::leftovers;

/// The minimum number of killed commands on each backend.
const KILLS: usize = 100;
/// The maximum number of commands started for that: some end before they are killed.
const JOBS: usize = 240;
/// How many commands run concurrently on each backend, all with one journal.
const AT_ONCE: usize = 4;
/// The name under which the results are reported.
const NAME: &str = "faults";

const BACKENDS: [Backend; 3] = [Backend::Process, Backend::Docker, Backend::Kubernetes];

/// Kills the command at least 100 times on each backend, checks what its successors find, prints
/// the table, and returns the exit code for `main`: 0 if no job is lost and none ran twice.
///
/// `LONGSHORE_REQUIRE` is a comma-separated list of backends, or `all`. If one of them is missing,
/// the suite fails.
#[must_use]
pub fn main() -> ExitCode {
    books::main(NAME, BACKENDS.len(), play)
}

fn play(arguments: &Arguments) -> Result<bool> {
    let floor = Arc::new(Floor::default());
    let trials = BACKENDS.into_iter().map(|backend| {
        let floor = Arc::clone(&floor);
        Trial::ignorable_test(name(backend), move || floor.execute(backend))
    });
    let conclusion = libtest_mimic::run(arguments, trials.collect());
    if arguments.list {
        return Ok(true);
    }
    floor.books.close(NAME, &floor.table(), arguments)?;
    Ok(!conclusion.has_failed())
}

fn name(backend: Backend) -> String {
    format!("faults::{backend}::killed_commands_lose_no_job_and_start_none_twice")
}

/// The context that all trials share.
#[derive(Default)]
struct Floor {
    books: Books,
    tallies: Mutex<BTreeMap<&'static str, Tally>>,
}

impl Floor {
    fn execute(&self, backend: Backend) -> Result<Completion, Failed> {
        let lab = Arc::new(Lab::from_env());
        if let Some(reason) = lab.missing(backend) {
            return Ok(self.books.unsupported(&name(backend), backend.name(), &reason));
        }
        self.books.ended(self.judge(&lab, backend))
    }

    fn judge(&self, lab: &Arc<Lab>, backend: Backend) -> Result<()> {
        let bench = Bench::new(Arc::clone(lab), backend, &name(backend))?;
        let killed = kill_many(&bench)?;
        let recorded: BTreeMap<_, _> = kill::recorded(&bench)?.into_iter().collect();
        let mut tally = Tally::default();
        for job in &killed {
            let fate = job.fate(recorded.get(&job.name).cloned());
            tally.note(&job.name, job.by_kill, &fate);
        }
        self.tallies.lock().insert(backend.name(), tally.clone());
        bench.longshore()?.args(["gc", "--older-than", "0s"]).run()?.exits(0)?;
        let left = bench.longshore()?.args(["ps", "--all", "--output", "json"]).run()?;
        ensure!(left.text().trim() == "[]", "gc has left records: {}", left.text());
        leftovers::check(lab, &[backend], &[bench.trace()])?;
        ensure!(tally.kills >= KILLS, "only {} commands were killed", tally.kills);
        ensure!(tally.doubled.is_empty(), "doubled:\n{}", tally.doubled.join("\n"));
        ensure!(tally.lost.is_empty(), "lost:\n{}", tally.lost.join("\n"));
        Ok(())
    }

    fn table(&self) -> String {
        let tallies = self.tallies.lock();
        let lines = tallies.iter().map(|(backend, tally)| tally.line(backend));
        std::iter::once(Tally::HEAD.to_owned()).chain(lines).collect()
    }
}

/// Starts jobs and kills their commands, several concurrently, until enough were killed.
fn kill_many(bench: &Bench) -> Result<Vec<Killed>> {
    let (next, kills) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        let mut killed = Vec::new();
        while kills.load(Ordering::Relaxed) < KILLS {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= JOBS {
                break;
            }
            let job = kill::kill(bench, number)?;
            kills.fetch_add(usize::from(job.by_kill), Ordering::Relaxed);
            killed.push(job);
        }
        Ok::<_, anyhow::Error>(killed)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow!("a thread panicked"))??);
        }
        Ok(all)
    })
}
