//! The one process that `run --detach` leaves behind where a job's runner does not keep its
//! timeout: this program again, which follows the job to its end, and so to its timeout.
//!
//! Nothing depends on it. Killed, it leaves the job as any killed command does: whoever follows it
//! next keeps the timeout.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use longshore::JobId;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::args::{ConfigArgs, WaitArgs};
use crate::commands::run;
use crate::error::CliError;
use crate::{output, settings};

/// What it says once it follows the job; anything else is why it cannot.
const FOLLOWS: &str = "follows";
/// How long it may take until then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Leaves a process behind that follows `job`, with the configuration of this one; returns once it
/// does so.
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

/// Tells `child` its settings, and gives what it says.
async fn introduce(mut child: Child, set: &[(String, String)]) -> std::io::Result<String> {
    if let Some(mut stdin) = child.stdin.take() {
        // Not as arguments: everybody may read those, for as long as the process is there.
        stdin.write_all(&serde_json::to_vec(set)?).await?;
    }
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout).read_line(&mut line).await?;
    }
    Ok(line.trim_end().to_owned())
}

/// Is the process that was left behind.
pub async fn follow(args: &WaitArgs) -> Result<u8, CliError> {
    let result = begin(args).await;
    output::print(&match &result {
        Ok(_) => format!("{FOLLOWS}\n"),
        Err(error) => format!("{error}\n"),
    })?;
    Ok(run::exit_code(&result?.wait().await))
}

async fn begin(args: &WaitArgs) -> Result<longshore::Job, CliError> {
    let mut told = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut told);
    read.map_err(|e| CliError::failed(format!("failed to read the settings: {e}")))?;
    let set = serde_json::from_slice(&told)
        .map_err(|e| CliError::failed(format!("failed to understand the settings: {e}")))?;
    let config = ConfigArgs { config: args.job.config.config.clone(), set };
    let dispatcher = settings::dispatcher(&config)?;
    let record = dispatcher.record(&args.job.id).await?;
    Ok(dispatcher.attach(&record.id).await?)
}
