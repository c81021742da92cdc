//! Checks a job's directory before anything starts.

use std::io::ErrorKind::{NotADirectory, NotFound};
use std::path::Path;

use longshore_core::{Error, ErrorKind, JobSpec};

/// Checks that the job directory exists and has the folders `input/` and `output/`. One backend
/// would create a missing folder, and another would refuse it.
///
/// # Errors
/// `InvalidSpec` naming the folder that is missing.
pub(crate) async fn check(spec: &JobSpec) -> Result<(), Error> {
    let Some(directory) = spec.job_directory.clone() else { return Ok(()) };
    let checked = tokio::task::spawn_blocking(move || check_now(&directory)).await;
    checked.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Internal, "failed to check the job directory").caused_by(error))
    })
}

/// Checks as [`check`] does, on this thread.
pub(crate) fn check_now(directory: &Path) -> Result<(), Error> {
    for folder in [Path::new(""), Path::new("input"), Path::new("output")] {
        let path = directory.join(folder);
        let missing = || {
            let needed = "the job directory must be a folder with the folders input and output";
            Error::new(ErrorKind::InvalidSpec, needed).with("missing", path.display())
        };
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Err(error) if !matches!(error.kind(), NotFound | NotADirectory) => {
                let failed = "failed to look into the job directory";
                let failed = Error::new(ErrorKind::InvalidSpec, failed);
                return Err(failed.with("folder", path.display()).caused_by(error));
            }
            _ => return Err(missing()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_folder_that_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let mut spec = JobSpec::process(["true"]);
        spec.job_directory = Some(folder.path().to_owned());
        std::fs::create_dir(folder.path().join("input")).unwrap();
        std::fs::write(folder.path().join("output"), "").unwrap();
        let error = check(&spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidSpec);
        assert!(error.to_string().ends_with("output)"), "{error}");
        std::fs::remove_file(folder.path().join("output")).unwrap();
        std::fs::create_dir(folder.path().join("output")).unwrap();
        check(&spec).await.unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_looked_into_is_not_called_missing() {
        // The name is too long for a file system: root too fails to look there.
        let directory = Path::new("/").join("a".repeat(300));
        let error = check_now(&directory).unwrap_err().to_string();
        assert!(error.starts_with("failed to look into the job directory"), "{error}");
        assert!(error.contains("too long") && !error.contains("missing"), "{error}");
    }
}
