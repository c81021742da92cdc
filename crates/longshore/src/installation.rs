//! The identity of this Longshore installation.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use longshore_core::InstallationId;

/// Returns the folder for the persistent state: the configured one, else
/// `$XDG_STATE_HOME/longshore`, else `~/.local/state/longshore` (the XDG base directory
/// specification).
pub(crate) fn state_directory(configured: Option<&Path>) -> io::Result<PathBuf> {
    if let Some(path) = configured {
        return std::path::absolute(path);
    }
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let xdg = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).and_then(absolute);
    let home = || std::env::home_dir().and_then(absolute).map(|home| home.join(".local/state"));
    xdg.or_else(home).map(|base| base.join("longshore")).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::NotFound,
            "there is no state directory: set job.stateDirectory, XDG_STATE_HOME or HOME",
        )
    })
}

/// Returns the identity of the installation whose state is in `directory`. Creates it on first use.
pub(crate) fn load_or_create(directory: &Path) -> io::Result<InstallationId> {
    let path = directory.join("installation");
    let found = match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(directory, &path),
        found => found,
    };
    found.map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", directory.display())))
}

fn read(path: &Path) -> io::Result<InstallationId> {
    let text = fs::read_to_string(path)?;
    let invalid =
        |e| io::Error::new(io::ErrorKind::InvalidData, format!("the file installation: {e}"));
    text.trim().parse().map_err(invalid)
}

/// Writes the whole file under a unique name and links it into place. Of several concurrent
/// commands, exactly one therefore wins, and none reads a partial file.
fn create(directory: &Path, path: &Path) -> io::Result<InstallationId> {
    make_private(directory)?;
    let id = InstallationId::random();
    let own = directory.join(format!("installation.{id}"));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&own)?;
    let written = writeln!(file, "{id}").and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&own, path));
    fs::remove_file(&own)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(path),
        other => other.map(|()| id),
    }
}

fn make_private(directory: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_commands_at_once_agree_on_one_installation() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("state");
        let all: Vec<_> = std::thread::scope(|scope| {
            let one = || load_or_create(&directory).unwrap();
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert!(all.iter().all(|id| *id == all[0]));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn a_damaged_installation_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("installation"), "Ünlesbar").unwrap();
        let error = load_or_create(folder.path()).unwrap_err().to_string();
        assert!(error.contains("installation"), "{error}");
    }
}
