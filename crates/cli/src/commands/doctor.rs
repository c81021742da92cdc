//! `longshore doctor`.

use std::fmt::Write;

use longshore::{RunnerHealth, RunnerName};

use crate::args::ConfigArgs;
use crate::error::CliError;
use crate::{output, settings};

/// Prints whether each configured runner can take work. Exit code 1 if none can.
pub async fn doctor(args: &ConfigArgs) -> Result<u8, CliError> {
    let dispatcher = settings::dispatcher(args)?;
    let runners = dispatcher.doctor().await;
    let pulls = |name: &RunnerName| {
        dispatcher.runners().any(|r| r.name() == name && r.capabilities().container)
    };
    let mut text = String::new();
    for health in &runners {
        render(&mut text, health, pulls(&health.runner));
    }
    output::print(&text)?;
    Ok(u8::from(runners.iter().all(|health| health.result.is_err())))
}

fn render(text: &mut String, runner: &RunnerHealth, pulls: bool) {
    match &runner.result {
        Ok(health) => {
            let _ = writeln!(text, "{}: can take work: {}", runner.runner, health.version);
            for (name, value) in &health.facts {
                let _ = writeln!(text, "  {name}: {value}");
            }
            if pulls {
                let policy = &runner.pull_policy;
                let _ =
                    writeln!(text, "  pull policy: {} (from {})", policy.policies, policy.origin);
            }
            for warning in &health.warnings {
                let _ = writeln!(text, "  warning: {warning}");
            }
        }
        Err(error) => {
            let _ =
                writeln!(text, "{}: cannot take work ({}): {error}", runner.runner, error.kind());
        }
    }
}
