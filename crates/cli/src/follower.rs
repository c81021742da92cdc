//! The background process of `run --detach`, for a job whose runner does not enforce its timeout, or
//! that gets a file as stdin. It is this program again; it follows the job to its end, so that it
//! enforces the timeout, and gives the job its stdin.
//!
//! Apart from the stdin, nothing depends on it. If it is killed, the job is left as after the kill of
//! any other command: the next process that follows the job enforces the timeout.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use longshore::JobId;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::args::WaitArgs;
use crate::config_args::ConfigArgs;
use crate::error::CliError;
use crate::{output, settings, stdin, summary};

/// The line that it prints once it follows the job. Any other line is the reason why it cannot.
const FOLLOWS: &str = "follows";
/// How long the process may take to print that line.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the starting process sends to the background process.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    /// The settings of the command line.
    set: Vec<(String, String)>,
    /// What the job gets as stdin: a path that leads to the open file of the starting process.
    stdin: Option<PathBuf>,
}

/// Starts a background process that follows `job` with the configuration of this one, and gives it
/// `stdin`. Returns once that process follows the job and has opened its stdin.
pub async fn leave(job: &JobId, config: &ConfigArgs, stdin: Option<&File>) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::failed(e.to_string());
    let child = command(job, config).spawn().map_err(failed)?;
    let path = |file: &File| format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    let orders = Orders { set: config.set.clone(), stdin: stdin.map(|file| path(file).into()) };
    let said = timeout(PATIENCE, introduce(child, &orders)).await;
    match said.map_err(|_| CliError::failed(format!("no answer within {PATIENCE:?}")))? {
        Ok(line) if line == FOLLOWS => Ok(()),
        Ok(line) if line.is_empty() => Err(CliError::failed("it ended at once")),
        Ok(why) => Err(CliError::failed(why)),
        Err(error) => Err(failed(error)),
    }
}

fn command(job: &JobId, config: &ConfigArgs) -> Command {
    let mut command = longshore::command_apart();
    command.args(["wait", "--left-behind", job.as_str()]);
    if let Some(file) = &config.config {
        command.arg("--config").arg(file);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.into()
}

/// Sends `orders` to `child`, and returns the line that it prints.
async fn introduce(mut child: Child, orders: &Orders) -> std::io::Result<String> {
    if let Some(mut stdin) = child.stdin.take() {
        // Not as arguments: every user can read those while the process exists.
        stdin.write_all(&serde_json::to_vec(orders)?).await?;
    }
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).await?;
    }
    Ok(line.trim_end().to_owned())
}

/// Runs the background process.
pub async fn follow(args: &WaitArgs) -> Result<u8, CliError> {
    let result = begin(args).await;
    output::print(&match &result {
        Ok(_) => format!("{FOLLOWS}\n"),
        Err(error) => format!("{error}\n"),
    })?;
    Ok(summary::exit_code(&result?.wait().await?))
}

async fn begin(args: &WaitArgs) -> Result<longshore::Job, CliError> {
    let mut told = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut told);
    read.map_err(|e| CliError::failed(format!("failed to read the settings: {e}")))?;
    let Orders { set, stdin } = serde_json::from_slice(&told)
        .map_err(|e| CliError::failed(format!("failed to parse the settings: {e}")))?;
    let config = ConfigArgs { config: args.open.config.config.clone(), set };
    let dispatcher = settings::of_recorded(&config)?;
    let job = args.open.jobs.first().ok_or_else(|| CliError::usage("name the job"))?;
    let record = dispatcher.record(job).await?;
    let Some(path) = stdin else { return Ok(dispatcher.attach(&record.id).await?) };
    let file = File::open(&path)
        .map_err(|e| CliError::failed(format!("failed to open the file for its stdin: {e}")))?;
    Ok(dispatcher.attach_with_stdin(&record.id, stdin::reader(file)).await?)
}
