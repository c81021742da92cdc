//! What `cargo xtask bench service` measures from outside: a service with many jobs, and a journal with
//! many records.
//!
//! - `load jobs COUNT IMAGE` takes up the jobs that an earlier run left, or else starts new ones. It
//!   prints `running` once all run, and ends them when its standard input ends.
//! - `load records COUNT FOLDER` writes a journal. It prints the milliseconds that a page of it takes, for
//!   each way of reading it.
//!
//! `JOB_*` variables configure it as they configure the command.

use std::collections::HashSet;
use std::error::Error;
use std::io::{Write, read_to_string};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use longshore::config::Loader;
use longshore::dispatch::Observer;
use longshore::job::JobEvent;
use longshore::journal::{Filter, Journal, NewJob, Options, Submitted};
use longshore::runner::Event;
use longshore::{Config, Dispatcher, JobId, JobResult, JobSpec, Outcome};
use tokio::sync::watch;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many operations are under way at once.
const AT_ONCE: usize = 64;
/// How many records a page has, and how often each is read.
const PAGE: u32 = 100;
const ROUNDS: usize = 21;

fn main() -> Result<()> {
    longshore::init();
    run()
}

/// Does what the arguments say. It is a function of its own, as each supervisor has all pages of the stack
/// that the function which calls `init` may need.
#[inline(never)]
fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["jobs", count, image] => runtime.block_on(jobs(count.parse()?, image)),
        ["records", count, folder] => runtime.block_on(records(count.parse()?, folder.as_ref())),
        _ => Err("usage: load jobs COUNT IMAGE | load records COUNT FOLDER".into()),
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stdout().lock(), "{line}")?)
}

/// The jobs that run, as far as their runners have said so.
#[derive(Debug)]
struct Run {
    jobs: Mutex<HashSet<JobId>>,
    count: watch::Sender<usize>,
}

impl Observer for Run {
    fn job_event(&self, job: &JobId, event: &JobEvent) {
        if let JobEvent::Runner { event: Event::Started(_), .. } = event
            && let Ok(mut jobs) = self.jobs.lock()
        {
            jobs.insert(job.clone());
            self.count.send_replace(jobs.len());
        }
    }
}

async fn jobs(count: usize, image: &str) -> Result<()> {
    let config = Loader::<Config>::new().environment(std::env::vars()).load()?.value;
    let (counter, mut counted) = watch::channel(0);
    let run = Arc::new(Run { jobs: Mutex::default(), count: counter });
    let dispatcher = longshore::builder(&config)?.observer(run).build()?;
    let taken_up = dispatcher.attach_all().await?;
    let mut jobs = Vec::new();
    for (_, job) in taken_up {
        jobs.push(job?);
    }
    if jobs.is_empty() {
        let submissions = stream::iter((0..count).map(|_| submit(&dispatcher, image)));
        jobs = submissions.buffer_unordered(AT_ONCE).try_collect().await?;
    }
    counted.wait_for(|running| *running >= count).await?;
    say("running")?;
    tokio::task::spawn_blocking(|| read_to_string(std::io::stdin())).await??;
    for job in &jobs {
        job.kill();
    }
    for job in jobs {
        let id = job.id().clone();
        job.wait().await?;
        // A job that was taken up stays on its runner.
        dispatcher.remove(&id).await?;
    }
    dispatcher.shutdown().await;
    Ok(())
}

async fn submit(dispatcher: &Dispatcher, image: &str) -> Result<longshore::Job> {
    let sleep = ["sleep", "3600"];
    let mut spec = JobSpec::container(image.parse()?).or_process(sleep);
    if let Some(container) = &mut spec.container {
        container.command = sleep.map(str::to_owned).to_vec();
    }
    Ok(dispatcher.submit(spec).await?)
}

async fn records(count: usize, folder: &Path) -> Result<()> {
    let journal = Journal::open(folder, Options::default()).await?;
    let writes = stream::iter((0..count).map(|number| write(&journal, number)));
    writes.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    let all = Filter::default().limit(PAGE);
    let second = journal.list(all.clone()).await?.last().ok_or("no record")?.cursor();
    let pages = [
        ("the newest", all.clone()),
        ("the next", all.clone().after(second)),
        ("of a label", all.clone().label("example.org/tenant", "7")),
        ("unfinished", all.not_ended()),
    ];
    for (what, filter) in pages {
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let begun = Instant::now();
            journal.list(filter.clone()).await?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        say(&format!("{:.3} {what}", times[ROUNDS / 2].as_secs_f64() * 1e3))?;
    }
    Ok(())
}

/// Writes the record of a job that has ended.
async fn write(journal: &Journal, number: usize) -> Result<()> {
    let mut spec = JobSpec::process(["true"]);
    spec.labels.insert("example.org/tenant".to_owned(), (number % 10).to_string());
    let job = NewJob::new(journal.installation().clone(), spec);
    let Submitted::New(claim) = journal.submit(job).await? else {
        return Err("a known job".into());
    };
    claim
        .outcome(&JobResult::new(claim.job().clone(), Outcome::Exited { code: 0, signal: None }))
        .await?;
    Ok(())
}
