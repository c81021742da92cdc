//! Reads job files.

use std::io::Read;
use std::path::{Path, PathBuf};

use longshore::JobSpec;
use longshore::config::{Format, parse_document, read_document};
use longshore::job::SecretSource;

use crate::error::CliError;

/// The maximum size of a job on stdin, in bytes; that of a file is the same.
const LARGEST: u64 = 1 << 20;

/// Reads the job file at `file`, or stdin if it is `-`. Paths in a file are relative to the file's
/// own folder, those on stdin to the working directory.
///
/// # Errors
/// If it cannot be read or is not a job.
pub fn read(file: &Path) -> Result<JobSpec, CliError> {
    let stdin = file == Path::new("-");
    let mut job = if stdin { read_stdin()? } else { read_document(file)? };
    let folder = file.parent().filter(|_| !stdin).unwrap_or(Path::new("."));
    if let Some(directory) = &job.job_directory {
        job.job_directory = Some(absolute(folder, directory)?);
    }
    for volume in &mut job.volumes {
        volume.host_path = absolute(folder, &volume.host_path)?;
    }
    for login in &mut job.registries {
        if let Some(path) = &mut login.password_file {
            *path = absolute(folder, path)?;
        }
    }
    for source in job.secret_env.values_mut() {
        if let SecretSource::File(path) = source {
            *path = absolute(folder, path)?;
        }
    }
    Ok(job)
}

fn read_stdin() -> Result<JobSpec, CliError> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(LARGEST.saturating_add(1)).read_to_string(&mut text);
    let size = read.map_err(|error| CliError::failed(format!("failed to read stdin: {error}")))?;
    if size as u64 > LARGEST {
        return Err(CliError::failed("the job on stdin is larger than 1 MiB"));
    }
    Ok(parse_document("stdin", format_of(&text), &text)?)
}

/// Returns the format of a job without a file name, by its first line that is not a comment.
fn format_of(text: &str) -> Format {
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    let before = |mark: char| first.find(mark).unwrap_or(usize::MAX);
    if first.starts_with('{') {
        Format::Json
    } else if first.starts_with('[') || before('=') < before(':') {
        Format::Toml
    } else {
        Format::Yaml
    }
}

/// Returns `path` as an absolute path, relative to `folder`.
pub fn absolute(folder: &Path, path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(folder.join(path))
        .map(|path| path.components().collect())
        .map_err(|e| CliError::usage(format!("`{}` is not a path: {e}", path.display())))
}

/// Whether `path` has the extension of a job file.
pub fn is_named_like_one(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    matches!(extension, Some("toml" | "yaml" | "yml" | "json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_on_stdin_has_the_format_of_its_first_line() {
        for (text, format) in [
            ("{\"process\": 1}", Format::Json),
            ("# a = 1\n\n[process]\n", Format::Toml),
            ("name = 'a: b'\n", Format::Toml),
            ("name: a=b\n", Format::Yaml),
            ("---\nname: a\n", Format::Yaml),
            ("", Format::Yaml),
        ] {
            assert_eq!(format_of(text), format, "{text}");
        }
    }
}
