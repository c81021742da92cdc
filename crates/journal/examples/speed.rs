//! Measures the time that a job costs the journal:
//! `cargo run --release -p longshore-journal --example speed [JOBS] [AT_ONCE]`.
#![expect(clippy::print_stdout, reason = "it prints what it has measured")]

use std::error::Error;
use std::time::{Duration, Instant};

use longshore_core::{Handle, JobResult, JobSpec, Outcome, PullPolicy, RunnerName};
use longshore_journal::{Journal, NewAttempt, NewJob, Options, Submitted};

type Done<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Done<()> {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let jobs = numbers.next().transpose()?.unwrap_or(10_000);
    let at_once = numbers.next().transpose()?.unwrap_or(1000).max(1);
    let folder = std::env::current_dir()?.join(".speed");
    let journal = Journal::open(&folder, Options::default()).await?;
    let start = Instant::now();
    let lanes = (0..at_once).map(|lane| {
        let journal = journal.clone();
        let share = jobs / at_once + usize::from(lane < jobs % at_once);
        tokio::spawn(async move {
            for _ in 0..share {
                run(&journal).await?;
            }
            Done::Ok(())
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await??;
    }
    let took = start.elapsed();
    let each = took / u32::try_from(jobs.max(1))?;
    println!("{jobs} jobs, {at_once} at once: {took:.2?}, {each:.1?} a job (5 steps)");
    let start = Instant::now();
    let gone = journal.sweep(Duration::ZERO, jiff::Timestamp::now()).await?.len();
    println!("{gone} records swept: {:.2?}", start.elapsed());
    let start = Instant::now();
    drop(Journal::open(&folder, Options::default()).await?);
    println!("opened again: {:.2?}", start.elapsed());
    drop(journal);
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

/// Records all steps of a job that does nothing.
async fn run(journal: &Journal) -> Done<()> {
    let job = NewJob::new(journal.installation().clone(), JobSpec::process(["true"]));
    let Submitted::New(claim) = journal.submit(job).await? else { return Err("not new".into()) };
    let opaque = serde_json::json!({"container": "longshore-0123456789abcdef-1"});
    let handle = Handle::new(RunnerName::docker(), 1, claim.job().attempt(1), opaque);
    claim.intent(NewAttempt::new(1, handle, PullPolicy::IfNotPresent)).await?;
    claim.started(1, Some(jiff::Timestamp::now()), None).await?;
    let outcome = Outcome::Exited { code: 0, signal: None };
    claim.outcome(&JobResult::new(claim.job().clone(), outcome)).await?;
    claim.removed().await?;
    Ok(())
}
