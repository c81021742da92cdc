//! `--result FILE`.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use longshore::JobResult;

use crate::error::CliError;

/// The file for the job's result. It is opened before anything starts, so that no job runs whose
/// result cannot be written. It is put in place as a whole.
#[derive(Debug)]
pub struct ResultFile {
    path: PathBuf,
    temporary: tempfile::NamedTempFile,
}

impl ResultFile {
    /// Prepares to write `path`.
    ///
    /// # Errors
    /// If the folder cannot be written to, or if `path` is a folder.
    pub fn prepare(path: &Path) -> Result<Self, CliError> {
        let failed = |e: std::io::Error| {
            CliError::failed(format!("--result {}: failed to write there: {e}", path.display()))
        };
        if path.is_dir() {
            return Err(failed(std::io::ErrorKind::IsADirectory.into()));
        }
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".longshore-result-")
            .permissions(mode())
            .tempfile_in(folder)
            .map_err(failed)?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// Writes `result` and replaces an existing file.
    ///
    /// # Errors
    /// If the disk is full or the folder has gone.
    pub fn write(mut self, result: &JobResult) -> Result<(), CliError> {
        let path = self.path.display().to_string();
        let failed = |e: &dyn std::fmt::Display| {
            CliError::failed(format!("--result {path}: failed to write: {e}"))
        };
        let mut text = serde_json::to_vec_pretty(result).map_err(|e| failed(&e))?;
        text.push(b'\n');
        self.temporary.write_all(&text).map_err(|e| failed(&e))?;
        self.temporary.persist(&self.path).map_err(|e| failed(&e.error))?;
        Ok(())
    }
}

/// The mode of an ordinary new file; the system applies the umask.
fn mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}
