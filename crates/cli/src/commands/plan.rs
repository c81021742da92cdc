//! `longshore plan`.

use std::fmt::Write;

use longshore::dispatch::RunnerPlan;
use longshore::image::ImagePreview;
use longshore::runner::PlanFormat;

use crate::error::CliError;
use crate::job_args::JobArgs;
use crate::policy::Policies;
use crate::stdin::Input;
use crate::{image, output, settings, spec};

/// Prints what each runner would submit, or why it would be passed over. The exit code is 0 if any
/// of them could take the job, else 1.
pub async fn plan(args: &JobArgs) -> Result<u8, CliError> {
    let mut job = spec::build(args)?;
    // As `run` with the same arguments. Nothing is read.
    job.stdin |= Input::choose(args, job.tty)?.is_some();
    let (loaded, dispatcher) = settings::assemble(&args.config, false)?;
    let preview = dispatcher.look_at_image(&job).await?;
    let plans = dispatcher.plan(&job, preview.as_ref())?;
    // Without a runner for containers, no registry would be asked.
    let preview = preview.filter(|preview| !preview.runners.is_empty());
    let policies = Policies::of(loaded);
    let mut text = String::new();
    if let Some(preview) = &preview {
        for line in image::about_registry(preview) {
            let _ = writeln!(text, "# {line}");
        }
        text.push('\n');
    }
    for (number, plan) in plans.iter().enumerate() {
        let plan =
            Shown { number: number.saturating_add(1), plan, preview: preview.as_ref(), args };
        plan.render(&mut text, &policies);
    }
    output::print(&text)?;
    let no_login = preview.is_some_and(|preview| preview.login.is_err());
    Ok(u8::from(no_login || plans.iter().all(|plan| plan.result.is_err())))
}

struct Shown<'a> {
    number: usize,
    plan: &'a RunnerPlan,
    preview: Option<&'a ImagePreview>,
    args: &'a JobArgs,
}

impl Shown<'_> {
    fn render(&self, text: &mut String, policies: &Policies<'_>) {
        let Self { number, plan, .. } = self;
        let runner = &plan.runner;
        match &plan.result {
            Err(passed) => {
                let _ = writeln!(text, "# {number}. {runner}: would be passed over");
                let _ = writeln!(text, "#    {}: {}", passed.kind, passed.message);
            }
            Ok(submitted) => {
                let _ = writeln!(text, "# {number}. {runner}: would submit");
                if submitted.format != PlanFormat::Argv {
                    let policy = policies.in_words(&plan.pull_policy, Some(self.args));
                    let _ = writeln!(text, "#    pull policy: {policy}");
                    for line in image::about_runner(self.preview, runner) {
                        let _ = writeln!(text, "#    {line}");
                    }
                }
                for note in &submitted.notes {
                    let _ = writeln!(text, "#    {note}");
                }
                let _ = writeln!(text, "{}", submitted.text.trim_end());
            }
        }
        text.push('\n');
    }
}
