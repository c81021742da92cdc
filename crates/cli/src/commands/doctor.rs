//! `longshore doctor`.

use std::fmt::Write;

use longshore::config::Loaded;
use longshore::doctor::{DoctorReport, Examination, RunnerHealth};
use longshore::image::{ImagePreview, ImageRef};
use longshore::runner::{Finding, Severity};
use longshore::{Config, JobSpec};

use crate::args::{DoctorArgs, ReportFormat};
use crate::error::CliError;
use crate::policy::Policies;
use crate::{image, output, settings};

/// The image of the sample job. Nothing pulls it.
const SAMPLE: &str = "busybox:1.37";

/// Prints whether each configured runner would take a job, and what is known about an image. The
/// exit code is 1 if none would.
pub async fn doctor(args: &DoctorArgs) -> Result<u8, CliError> {
    let (loaded, dispatcher) = settings::assemble(&args.config, false)?;
    let mut found = dispatcher.examine(&sample(args)?).await?;
    if args.image.is_none() {
        // Nobody asked about the image of the sample job.
        found.image = None;
    }
    match args.output {
        ReportFormat::Json => output::print_json(&DoctorReport::new(&found, &loaded.value))?,
        ReportFormat::Text => output::print(&text(&found, loaded))?,
    };
    let no_login = found.image.as_ref().is_some_and(|image| image.login.is_err());
    Ok(u8::from(no_login || !found.runners.iter().any(RunnerHealth::is_ready)))
}

/// Returns the job that the runners are asked about: one that every runner can express.
fn sample(args: &DoctorArgs) -> Result<JobSpec, CliError> {
    let image = match &args.image {
        Some(image) => image.clone(),
        None => SAMPLE.parse::<ImageRef>().map_err(|e| CliError::failed(e.to_string()))?,
    };
    let mut spec = JobSpec::container(image).or_process(["true"]);
    spec.runners.clone_from(&args.runners);
    Ok(spec)
}

fn text(found: &Examination, loaded: &Loaded<Config>) -> String {
    let preview = found.image.as_ref();
    let policies = Policies::of(loaded);
    let mut text = String::new();
    for line in preview.iter().flat_map(|preview| image::about_registry(preview)) {
        let _ = writeln!(text, "{line}");
    }
    for health in &found.runners {
        render(&mut text, health, &policies, preview);
    }
    text
}

/// Renders one runner.
fn render(
    text: &mut String,
    runner: &RunnerHealth,
    policies: &Policies<'_>,
    preview: Option<&ImagePreview>,
) {
    let name = &runner.runner;
    match &runner.result {
        Ok(health) => {
            let can = if runner.is_ready() { "can take work" } else { "would refuse jobs" };
            let _ = writeln!(text, "{name}: {can}: {}", health.version);
            for (name, value) in &health.facts {
                let _ = writeln!(text, "  {name}: {value}");
            }
            // Rules depend on the image.
            let of_image = preview.and_then(|it| it.runners.iter().find(|it| it.runner == *name));
            let policy = of_image.map(|found| &found.pull_policy).or(runner.pull_policy.as_ref());
            if let Some(policy) = policy {
                let policy = policies.in_words(policy, None);
                let _ = writeln!(text, "  pull policy: {policy}");
            }
            for line in image::about_runner(preview, name) {
                let _ = writeln!(text, "  {line}");
            }
            for warning in &health.warnings {
                let _ = writeln!(text, "  warning: {warning}");
            }
            for finding in &runner.findings {
                about(text, finding);
            }
        }
        Err(error) => {
            let _ = writeln!(text, "{name}: cannot take work ({}): {error}", error.kind());
        }
    }
}

fn about(text: &mut String, finding: &Finding) {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        _ => "note",
    };
    let _ = writeln!(text, "  {severity}: {}", finding.message);
    if let Some(hint) = &finding.hint {
        let _ = writeln!(text, "    hint: {hint}");
    }
}
