//! `--result FILE`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, fchown};
use std::path::{Path, PathBuf};

use longshore::JobResult;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use tokio::task::spawn_blocking;

use crate::error::CliError;
use crate::output;
use crate::signals::Interruption;

/// The most symbolic links that are followed, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// The file for the job's result. It is opened before anything starts, so that no job runs whose
/// result cannot be written.
#[derive(Debug)]
pub struct ResultFile {
    path: PathBuf,
    target: Target,
}

/// How the result gets to its file. A symbolic link is followed first.
#[derive(Debug)]
enum Target {
    /// A regular file, or none yet: it is put in place as a whole.
    Regular { path: PathBuf, temporary: tempfile::NamedTempFile },
    /// A regular file in a folder where no other file can be created.
    InPlace(PathBuf),
    /// A device, or a descriptor of this process, such as `/dev/fd/3`.
    Open(File),
    /// A named pipe. It is opened once there is something to write, because that waits for a
    /// reader.
    Fifo,
}

impl ResultFile {
    /// Prepares to write `path`.
    ///
    /// # Errors
    /// If the folder or the file cannot be written to, or if `path` is a folder or a socket.
    pub fn prepare(path: &Path) -> Result<Self, CliError> {
        let target = target(path).map_err(|error| {
            let (error, path) = (error.to_string(), path.display());
            // Without the name of a temporary file, which the library adds.
            let error = error.split(" at path \"").next().unwrap_or_default();
            CliError::failed(format!("--result {path}: failed to write there: {error}"))
        })?;
        Ok(Self { path: path.to_owned(), target })
    }

    /// Writes `result`, as [`write`](Self::write) does, unless this command is asked to end meanwhile: a
    /// named pipe may never have a reader.
    ///
    /// # Errors
    /// The same, or if this command is asked to end.
    pub async fn write_unless_interrupted(
        self,
        result: &JobResult,
        quiet: bool,
    ) -> Result<(), CliError> {
        let path = self.path.display().to_string();
        if !quiet && self.has_no_reader() {
            output::say(&format!("waiting for a process that reads {path}"));
        }
        let mut interruption = Interruption::watch()?;
        let result = result.clone();
        let writing = spawn_blocking(move || self.write(&result));
        tokio::select! {
            biased;
            written = writing => {
                written.unwrap_or_else(|error| Err(CliError::failed(error.to_string())))
            }
            _ = interruption.seen() => Err(CliError::failed(format!(
                "--result {path}: not written: interrupted before the file could be written"
            ))),
        }
    }

    /// Whether it is a named pipe that no process has open for reading.
    fn has_no_reader(&self) -> bool {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        matches!(self.target, Target::Fifo)
            && rustix::fs::open(&self.path, flags, Mode::empty())
                .is_err_and(|error| error == Errno::NXIO)
    }

    /// Writes `result`. Replaces the content of an existing regular file.
    ///
    /// # Errors
    /// If the disk is full, the folder has gone, or no process reads the file any more.
    pub fn write(self, result: &JobResult) -> Result<(), CliError> {
        let Self { path, target } = self;
        let mut text = serde_json::to_vec_pretty(result).map_err(io::Error::from);
        if let Ok(text) = &mut text {
            text.push(b'\n');
        }
        text.and_then(|text| match target {
            Target::Regular { path, mut temporary } => {
                temporary.write_all(&text)?;
                match temporary.persist(&path) {
                    Ok(_) => Ok(()),
                    // A file that is mounted by itself, or of another user in a folder such as /tmp.
                    Err(error) if is_in_the_way(&error.error) => write_in_place(&path, &text),
                    Err(error) => Err(error.error),
                }
            }
            Target::InPlace(path) => write_in_place(&path, &text),
            Target::Open(mut file) => file.write_all(&text),
            Target::Fifo => OpenOptions::new().write(true).open(&path)?.write_all(&text),
        })
        .map_err(|error| {
            CliError::failed(format!("--result {}: failed to write: {error}", path.display()))
        })
    }
}

fn target(path: &Path) -> io::Result<Target> {
    if path.as_os_str().as_bytes().ends_with(b"/") {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let kind = match fs::metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return regular(path),
        Err(error) => return Err(error),
    };
    if kind.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if kind.is_fifo() && !is_descriptor(path) {
        return Ok(Target::Fifo);
    }
    if kind.is_file() && !is_descriptor(path) {
        return regular(path);
    }
    OpenOptions::new().append(true).open(path).map(Target::Open)
}

/// Whether `path` names an open descriptor of this process, directly or as `/dev/stdout` does.
fn is_descriptor(path: &Path) -> bool {
    let named = |path: &Path| path.starts_with("/proc/self/fd") || path.starts_with("/dev/fd");
    named(path) || fs::read_link(path).is_ok_and(|path| named(&path))
}

fn regular(path: &Path) -> io::Result<Target> {
    let path = follow(path)?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = tempfile::Builder::new()
        .prefix(".longshore-result-")
        .permissions(mode())
        .tempfile_in(folder);
    let temporary = match temporary {
        Ok(temporary) => temporary,
        Err(_) if OpenOptions::new().write(true).open(&path).is_ok() => {
            return Ok(Target::InPlace(path));
        }
        Err(error) => return Err(error),
    };
    if let Ok(metadata) = fs::metadata(&path) {
        // Not root: then it stays a file of this user.
        let _ = fchown(&temporary, Some(metadata.uid()), Some(metadata.gid()));
        temporary.as_file().set_permissions(metadata.permissions())?;
    }
    Ok(Target::Regular { path, temporary })
}

/// Whether `error` says that an existing file cannot be replaced, although it may be writable.
fn is_in_the_way(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ResourceBusy)
}

fn write_in_place(path: &Path, text: &[u8]) -> io::Result<()> {
    OpenOptions::new().write(true).truncate(true).open(path)?.write_all(text)
}

/// Returns the path to which the symbolic links at `path` lead, whether or not a file is there.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MOST_LINKS {
        match fs::read_link(&path) {
            // A relative link begins at the folder of the link.
            Ok(next) => path = path.parent().map_or(next.clone(), |folder| folder.join(&next)),
            // Not a link, or nothing there.
            Err(_) => return Ok(path),
        }
    }
    Err(io::Error::other("too many symbolic links"))
}

/// The mode of an ordinary new file; the system applies the umask.
fn mode() -> fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use longshore::Outcome;

    use super::*;

    fn write(path: &Path) -> Result<(), CliError> {
        let outcome = Outcome::Exited { code: 7, signal: None };
        let result = JobResult::new("job".parse().unwrap(), outcome);
        ResultFile::prepare(path)?.write(&result)
    }

    fn is_result(text: &str) -> bool {
        text.ends_with("}\n") && text.contains("\"code\": 7")
    }

    /// Runs a program that creates `path`.
    fn make(program: &str, path: &Path, arguments: &[&str]) -> bool {
        let made = Command::new(program).arg(path).args(arguments).output();
        made.is_ok_and(|output| output.status.success())
    }

    #[test]
    fn a_regular_file_is_replaced_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        fs::write(&path, "old ".repeat(1000)).unwrap();
        let prepared = ResultFile::prepare(&path).unwrap();
        assert!(fs::read_to_string(&path).unwrap().starts_with("old"), "not before the end");
        drop(prepared);
        write(&path).unwrap();
        assert!(is_result(&fs::read_to_string(&path).unwrap()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_private_file_stays_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_written_in_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result");
        fs::write(&path, "old ".repeat(1000)).unwrap();
        write_in_place(&path, b"new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(is_in_the_way(&Errno::BUSY.into()) && is_in_the_way(&Errno::ACCESS.into()));
        assert!(!is_in_the_way(&Errno::NOSPC.into()));
    }

    #[test]
    fn a_symbolic_link_is_followed_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("elsewhere")).unwrap();
        for target in ["elsewhere/there", "elsewhere/new"] {
            let _ = fs::remove_file(at("link"));
            symlink(target, at("link")).unwrap();
            if target.ends_with("there") {
                fs::write(at(target), "old").unwrap();
            }
            write(&at("link")).unwrap();
            assert!(at("link").is_symlink());
            assert!(is_result(&fs::read_to_string(at(target)).unwrap()), "{target}");
        }
        symlink("loop", at("loop")).unwrap();
        assert!(write(&at("loop")).is_err());
    }

    #[test]
    fn a_device_is_written_to_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let null = folder.path().join("null");
        if !make("mknod", &null, &["c", "1", "3"]) {
            println!("unsupported: only root can make a device");
            return;
        }
        write(&null).unwrap();
        assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
    }

    #[test]
    fn a_named_pipe_is_written_to_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(make("mkfifo", &pipe, &[]));
        let reader = pipe.clone();
        let reader = std::thread::spawn(move || fs::read_to_string(reader).unwrap());
        write(&pipe).unwrap();
        assert!(is_result(&reader.join().unwrap()));
        assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    }

    #[test]
    fn an_open_descriptor_is_written_to() {
        use std::io::Seek;
        use std::os::fd::AsRawFd;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"before\n").unwrap();
        write(&PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()))).unwrap();
        file.rewind().unwrap();
        let text = io::read_to_string(file).unwrap();
        assert!(text.starts_with("before\n") && is_result(&text), "{text}");
    }

    #[test]
    fn a_folder_is_refused_before_anything_starts() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("new/")] {
            let refused = ResultFile::prepare(&path).unwrap_err().to_string();
            assert!(refused.contains("is a directory"), "{refused}");
        }
        let refused = ResultFile::prepare(&folder.path().join("no/file")).unwrap_err().to_string();
        assert!(refused.contains("No such file") && !refused.contains(".longshore"), "{refused}");
    }
}
