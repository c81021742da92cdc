//! `longshore plan`.

use std::fmt::Write;

use longshore::{PlanFormat, RunnerPlan};

use crate::args::JobArgs;
use crate::error::CliError;
use crate::{output, settings, spec};

/// Prints what each runner would submit, or why it would be passed over. Exit code 0 if any of
/// them could take the job, else 1.
pub async fn plan(args: &JobArgs) -> Result<u8, CliError> {
    let job = spec::build(args)?;
    let plans = settings::dispatcher(&args.config)?.plan(&job)?;
    let mut text = String::new();
    for (number, plan) in plans.iter().enumerate() {
        render(&mut text, number + 1, plan);
    }
    output::print(&text)?;
    Ok(u8::from(plans.iter().all(|plan| plan.result.is_err())))
}

fn render(text: &mut String, number: usize, plan: &RunnerPlan) {
    let runner = &plan.runner;
    match &plan.result {
        Err(passed) => {
            let _ = writeln!(text, "# {number}. {runner}: would be passed over");
            let _ = writeln!(text, "#    {}: {}", passed.kind, passed.message);
        }
        Ok(submitted) => {
            let _ = writeln!(text, "# {number}. {runner}: would submit");
            if submitted.format != PlanFormat::Argv {
                let policy = &plan.pull_policy;
                let _ =
                    writeln!(text, "#    pull policy {} (from {})", policy.policies, policy.origin);
            }
            for note in &submitted.notes {
                let _ = writeln!(text, "#    {note}");
            }
            let _ = writeln!(text, "{}", submitted.text.trim_end());
        }
    }
    text.push('\n');
}
