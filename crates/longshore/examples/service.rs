//! A small service that embeds the dispatcher and takes jobs from a channel.
//!
//! Each line on standard input is a shell script. Each result is a line of JSON on standard output.
//! Jobs run on the first configured runner that can take them. The service therefore keeps working
//! when the cluster is down, and uses the cluster again when it is back:
//!
//! ```sh
//! printf 'echo one\necho two\n' | cargo run -p longshore --example service
//! ```
//!
//! `JOB_*` variables configure it as they configure the command; `SERVICE_IMAGE` names the image.

use std::error::Error;
use std::io::Write;

use longshore::config::Loader;
use longshore::image::ImageRef;
use longshore::{Config, Dispatcher, JobSpec};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How many jobs the channel holds before its sender has to wait.
const BACKLOG: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    longshore::init();
    tokio::runtime::Runtime::new()?.block_on(serve())
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let config = Loader::<Config>::new().environment(std::env::vars()).load()?.value;
    let dispatcher = longshore::dispatcher(&config)?;
    let image: ImageRef =
        std::env::var("SERVICE_IMAGE").unwrap_or_else(|_| "busybox:1.37".to_owned()).parse()?;

    let (sender, receiver) = mpsc::channel(BACKLOG);
    let worker = tokio::spawn(work(dispatcher.clone(), receiver));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(script) = lines.next_line().await? {
        sender.send(job(&image, &script)).await?;
    }
    drop(sender);
    worker.await?;
    dispatcher.shutdown().await;
    Ok(())
}

/// A job that runs `script` in a container, or as a local process where no container is available.
fn job(image: &ImageRef, script: &str) -> JobSpec {
    let command = ["sh", "-c", script];
    let mut spec = JobSpec::container(image.clone()).or_process(command);
    if let Some(container) = &mut spec.container {
        container.command = command.map(str::to_owned).to_vec();
    }
    spec
}

/// Submits each job as it arrives and prints each result as soon as it is known.
async fn work(dispatcher: Dispatcher, mut jobs: mpsc::Receiver<JobSpec>) {
    let mut running = JoinSet::new();
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(spec) => { running.spawn(run(dispatcher.clone(), spec)); }
                None => break,
            },
            Some(report) = running.join_next() => say(report.unwrap_or_else(|e| e.to_string())),
        }
    }
    while let Some(report) = running.join_next().await {
        say(report.unwrap_or_else(|e| e.to_string()));
    }
}

async fn run(dispatcher: Dispatcher, spec: JobSpec) -> String {
    match dispatcher.submit(spec).await {
        Ok(job) => match job.wait().await {
            Ok(result) => serde_json::to_string(&result).unwrap_or_else(|e| e.to_string()),
            Err(stopped) => stopped.to_string(),
        },
        Err(error) => format!("refused: {error}"),
    }
}

fn say(line: String) {
    let mut stdout = std::io::stdout().lock();
    // If stdout is closed, the error cannot be reported anywhere.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}
