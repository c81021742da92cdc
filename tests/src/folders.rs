//! The folders of one case.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// The folders of one case. They are removed when this value is dropped.
pub(crate) struct Folders {
    root: TempDir,
    /// The folder of the job directories, if the backend needs them elsewhere.
    jobs: Option<TempDir>,
}

impl Folders {
    /// Creates the folders. Job directories are in `volume`, if one is given.
    pub(crate) fn new(volume: Option<&Path>) -> Result<Self> {
        let root = tempfile::Builder::new().prefix("longshore-e2e-").tempdir()?;
        for name in ["home", "jobs"] {
            fs::create_dir(root.path().join(name))?;
        }
        let inside = |volume| tempfile::Builder::new().prefix("e2e-").tempdir_in(volume);
        let jobs = volume.map(inside).transpose().context("failed to use the claim's volume")?;
        Ok(Self { root, jobs })
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.root().join("home")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    pub(crate) fn result(&self) -> PathBuf {
        self.root().join("result.json")
    }

    /// Creates the file `name` with `text`.
    pub(crate) fn file(&self, name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.root().join(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// Creates a job directory with input/ and output/.
    pub(crate) fn job_directory(&self, name: &str) -> Result<JobDirectory> {
        let parent =
            self.jobs.as_ref().map_or_else(|| self.root().join("jobs"), |jobs| jobs.path().into());
        let directory = JobDirectory(parent.join(name));
        fs::create_dir(directory.path())?;
        for part in ["input", "output"] {
            fs::create_dir(directory.path().join(part))?;
        }
        Ok(directory)
    }
}

/// A job directory.
#[derive(Clone, Debug)]
pub(crate) struct JobDirectory(PathBuf);

impl JobDirectory {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn input(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        Ok(fs::write(self.0.join("input").join(name), text)?)
    }

    /// Returns the content of a file in output/, if it exists.
    pub(crate) fn output(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join("output").join(name)).ok()
    }
}
