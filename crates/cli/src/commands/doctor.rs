//! `longshore doctor`.

use std::fmt::Write;

use longshore::RunnerHealth;

use crate::args::ConfigArgs;
use crate::error::CliError;
use crate::{output, settings};

/// Prints whether each configured runner can take work. Exit code 1 if none can.
pub async fn doctor(args: &ConfigArgs) -> Result<u8, CliError> {
    let runners = settings::dispatcher(args)?.doctor().await;
    let mut text = String::new();
    for health in &runners {
        render(&mut text, health);
    }
    output::print(&text)?;
    Ok(u8::from(runners.iter().all(|health| health.result.is_err())))
}

fn render(text: &mut String, runner: &RunnerHealth) {
    match &runner.result {
        Ok(health) => {
            let _ = writeln!(text, "{}: can take work: {}", runner.runner, health.version);
            for (name, value) in &health.facts {
                let _ = writeln!(text, "  {name}: {value}");
            }
            let policy = &runner.pull_policy;
            let _ = writeln!(text, "  pull policy: {} (from {})", policy.policies, policy.origin);
            for warning in &health.warnings {
                let _ = writeln!(text, "  warning: {warning}");
            }
        }
        Err(error) => {
            let _ = writeln!(text, "{}: cannot take work ({}): {error}", runner.runner, error.kind());
        }
    }
}
