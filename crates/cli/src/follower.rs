//! The background process of `run --detach`, for a job whose runner does not enforce its timeout.
//! It is this program again; it follows the job to its end, and so enforces the timeout.
//!
//! Nothing depends on it. If it is killed, the job is left as after the kill of any other command:
//! the next process that follows the job enforces the timeout.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use longshore::JobId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::args::WaitArgs;
use crate::config_args::ConfigArgs;
use crate::error::CliError;
use crate::{output, settings, summary};

/// The line that it prints once it follows the job. Any other line is the reason why it cannot.
const FOLLOWS: &str = "follows";
/// How long the process may take to print that line.
const PATIENCE: Duration = Duration::from_secs(30);

/// Starts a background process that follows `job` with the configuration of this one. Returns once
/// that process follows the job.
pub async fn leave(job: &JobId, config: &ConfigArgs) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::failed(e.to_string());
    let child = command(job, config).spawn().map_err(failed)?;
    let said = timeout(PATIENCE, introduce(child, &config.set)).await;
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

/// Sends the settings to `child`, and returns the line that it prints.
async fn introduce(mut child: Child, set: &[(String, String)]) -> std::io::Result<String> {
    if let Some(mut stdin) = child.stdin.take() {
        // Not as arguments: every user can read those while the process exists.
        stdin.write_all(&serde_json::to_vec(set)?).await?;
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
    let set = serde_json::from_slice(&told)
        .map_err(|e| CliError::failed(format!("failed to parse the settings: {e}")))?;
    let config = ConfigArgs { config: args.open.config.config.clone(), set };
    let dispatcher = settings::of_recorded(&config)?;
    let job = args.open.jobs.first().ok_or_else(|| CliError::usage("name the job"))?;
    let record = dispatcher.record(job).await?;
    Ok(dispatcher.attach(&record.id).await?)
}
