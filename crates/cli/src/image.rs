//! What is known about a job's image before anything starts, for a person.

use longshore::image::{ImagePreview, LocalImage, RunnerImage};
use longshore::runner::RunnerName;

/// Returns what applies to the image on every runner.
pub fn about_registry(preview: &ImagePreview) -> Vec<String> {
    let mut lines = vec![format!("image: {}", preview.image)];
    lines.push(match &preview.login {
        Ok(Some(login)) => format!("login for {}: {login}", preview.image.registry()),
        Ok(None) => format!("login for {}: none, anonymous", preview.image.registry()),
        Err(error) => {
            format!("login for {}: the job would be refused: {error}", preview.image.registry())
        }
    });
    lines.extend(preview.warnings.iter().map(|warning| format!("warning: {warning}")));
    lines
}

/// Returns what applies to the image on the runner `name`.
pub fn about_runner(preview: Option<&ImagePreview>, name: &RunnerName) -> Vec<String> {
    let Some(found) = preview.and_then(|o| o.runners.iter().find(|r| r.runner == *name)) else {
        return Vec::new();
    };
    let mut lines = vec![format!("image: {}", local(found))];
    lines.extend(found.warning.iter().map(|warning| format!("warning: {warning}")));
    lines
}

fn local(found: &RunnerImage) -> String {
    match &found.local {
        LocalImage::Present { digest: Some(digest) } => format!("present, {digest}"),
        LocalImage::Present { digest: None } => "present, without a digest".to_owned(),
        LocalImage::Absent => "absent".to_owned(),
        _ => "not known whether it is present".to_owned(),
    }
}
