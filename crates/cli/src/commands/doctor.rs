//! `longshore doctor`.

use std::fmt::Write;

use longshore::config::Loaded;
use longshore::{Config, Dispatcher, ImagePreview, JobSpec, RunnerHealth, RunnerName};

use crate::args::DoctorArgs;
use crate::error::CliError;
use crate::{image, output, policy, settings};

/// Prints whether each configured runner can take work, and what is known about an image. The exit
/// code is 1 if none can.
pub async fn doctor(args: &DoctorArgs) -> Result<u8, CliError> {
    let (loaded, dispatcher) = settings::assemble(&args.config, false)?;
    let (runners, preview) = tokio::join!(dispatcher.doctor(), look(&dispatcher, args));
    let preview = preview?;
    let pulls = |name: &RunnerName| {
        dispatcher.runners().any(|r| r.name() == name && r.capabilities().container)
    };
    let mut text = String::new();
    for line in preview.iter().flat_map(image::about_registry) {
        let _ = writeln!(text, "{line}");
    }
    for health in &runners {
        let pulls = pulls(&health.runner);
        render(&mut text, health, pulls.then_some(&loaded), preview.as_ref());
    }
    output::print(&text)?;
    Ok(u8::from(runners.iter().all(|health| health.result.is_err())))
}

async fn look(
    dispatcher: &Dispatcher,
    args: &DoctorArgs,
) -> Result<Option<ImagePreview>, CliError> {
    match &args.image {
        Some(image) => Ok(dispatcher.look_at_image(&JobSpec::container(image.clone())).await?),
        None => Ok(None),
    }
}

/// Renders one runner. `loaded` is given for a runner that pulls images.
fn render(
    text: &mut String,
    runner: &RunnerHealth,
    loaded: Option<&Loaded<Config>>,
    preview: Option<&ImagePreview>,
) {
    match &runner.result {
        Ok(health) => {
            let _ = writeln!(text, "{}: can take work: {}", runner.runner, health.version);
            for (name, value) in &health.facts {
                let _ = writeln!(text, "  {name}: {value}");
            }
            if let Some(loaded) = loaded {
                // Rules depend on the image.
                let of_image =
                    preview.and_then(|o| o.runners.iter().find(|r| r.runner == runner.runner));
                let policy = of_image.map_or(&runner.pull_policy, |found| &found.pull_policy);
                let policy = policy::in_words(policy, loaded, None);
                let _ = writeln!(text, "  pull policy: {policy}");
            }
            for line in image::about_runner(preview, &runner.runner) {
                let _ = writeln!(text, "  {line}");
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
