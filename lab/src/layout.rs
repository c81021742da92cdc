//! The paths of the lab's files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

/// The name of the node and of the cgroup that holds every container.
pub(crate) const NODE: &str = "longshore-lab";
/// The namespace of the volume claim.
pub const NAMESPACE: &str = "longshore-test";
/// The claim on the lab's volume.
pub(crate) const CLAIM: &str = "longshore-jobs";

/// The maximum length of the run folder's path. The kernel limits the path of a
/// Unix socket to 108 bytes including the final NUL; the longest socket below the
/// run folder needs 55.
const LONGEST_RUN: usize = 107 - 55;

/// The folders of the lab of one checkout.
#[derive(Debug, Clone)]
pub struct Lab {
    root: PathBuf,
    run: PathBuf,
}

impl Lab {
    /// Opens the lab in `dir`, or in `target/lab` of this checkout. Starts nothing.
    ///
    /// # Errors
    /// If the folder cannot be created.
    pub fn open(dir: Option<PathBuf>) -> Result<Self> {
        let root = dir.unwrap_or_else(|| checkout().join("target/lab"));
        fs::create_dir_all(&root)
            .with_context(|| format!("failed to create the lab's folder {}", root.display()))?;
        let root =
            root.canonicalize().with_context(|| format!("failed to resolve {}", root.display()))?;
        let run = run_dir(&root);
        Ok(Self { root, run })
    }

    /// Returns the lab's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of a socket or of runtime state. It is in the lab's folder
    /// if that path is short enough for a socket.
    pub(crate) fn run(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    pub(crate) fn run_root(&self) -> &Path {
        &self.run
    }

    /// Returns the path of a program that is built from source.
    #[must_use]
    pub fn bin(&self, name: &str) -> PathBuf {
        self.root.join("bin").join(name)
    }

    /// Returns the path of generated configuration, keys and kubeconfigs.
    pub(crate) fn etc(&self, name: &str) -> PathBuf {
        self.root.join("etc").join(name)
    }

    /// Returns the path of a component's data.
    pub(crate) fn data(&self, name: &str) -> PathBuf {
        self.root.join("data").join(name)
    }

    /// Returns the path of a component's log.
    #[must_use]
    pub fn log(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }

    /// Returns the folder with the records of what was started.
    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Returns the folder behind the persistent volume.
    #[must_use]
    pub fn volume(&self) -> PathBuf {
        self.root.join("volume")
    }

    /// Returns the kubeconfig of the cluster's administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.etc("admin.kubeconfig")
    }

    /// Locks the lab. A command holds the lock while it changes the lab, so that
    /// concurrent commands take turns.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let file = File::create(&path)
            .with_context(|| format!("failed to open the lab's lock {}", path.display()))?;
        flock(&file, FlockOperation::LockExclusive)
            .with_context(|| format!("failed to lock {}", path.display()))?;
        Ok(file)
    }

    /// Writes a file below the lab's folder, readable only by its owner.
    pub(crate) fn write(&self, path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        if let Some(parent) = path.parent() {
            make_dir(parent)?;
        }
        fs::write(path, content).with_context(|| format!("failed to write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("failed to protect {}", path.display()))
    }
}

/// Returns the checkout that this program was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Returns the folder of the lab's own files in the repository.
pub(crate) fn source() -> PathBuf {
    checkout().join("tests/lab")
}

/// Creates a folder and those above it.
///
/// # Errors
/// If it cannot be created. The error names it.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("failed to create {}", path.display()))
}

/// Returns the first 16 hex digits of the SHA-256 of `parts`, each prefixed by its length.
pub(crate) fn short_hash(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_le_bytes());
        hash.update(part);
    }
    hex(&hash.finalize()[..8])
}

/// Returns `bytes` as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn run_dir(root: &Path) -> PathBuf {
    let near = root.join("run");
    if near.as_os_str().len() <= LONGEST_RUN {
        return near;
    }
    let hash = short_hash(&[root.as_os_str().as_encoded_bytes()]);
    Path::new("/run").join(format!("longshore-lab-{hash}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_checkout_keeps_its_sockets_beside_it() {
        assert_eq!(run_dir(Path::new("/src/target/lab")), Path::new("/src/target/lab/run"));
    }

    #[test]
    fn a_long_checkout_gets_a_short_folder_of_its_own() {
        let long = format!("/{}/target/lab", "x".repeat(80));
        let run = run_dir(Path::new(&long));
        assert!(run.starts_with("/run"), "{run:?}");
        assert!(run.as_os_str().len() <= LONGEST_RUN);
        assert_ne!(run, run_dir(Path::new(&format!("{long}2"))));
    }

    #[test]
    fn the_hash_tells_where_a_part_ends() {
        assert_ne!(short_hash(&[b"ab", b"c"]), short_hash(&[b"a", b"bc"]));
    }
}
