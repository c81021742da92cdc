//! Finds the program and the directory of a command.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use crate::cgroup::entry_failure;
use crate::outcome::RefusalKind;
use crate::record::Refusal;

/// As much of a script as the kernel reads to find its interpreter.
const FIRST_LINE: u64 = 256;

/// Checks that `path` is a directory.
pub(super) fn check_directory(path: &Path, what: &str, kind: RefusalKind) -> Result<(), Refusal> {
    let refuse = |why: String| Err(Refusal::new(kind, format!("{what} {why}")));
    match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => refuse(format!("is invalid: {} is not a directory", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            refuse(format!("is invalid: {} does not exist", path.display()))
        }
        Err(error) => refuse(format!("cannot be read: {}: {error}", path.display())),
    }
}

/// Returns the refusal of a command `name` whose start has failed, and which is the program `path`.
pub(super) fn not_started(name: &str, path: &Path, error: &io::Error) -> Refusal {
    let (kind, error) = match entry_failure(error) {
        Some(error) => (RefusalKind::Unsupported, format!("its cgroup refuses it: {error}")),
        None => (RefusalKind::of_spawn(error), why_not_started(path, error)),
    };
    Refusal::new(kind, format!("failed to start `{name}`: {error}"))
}

/// Returns why the existing program `path` was not started. If it is a script, its interpreter may be
/// what is wrong (execve(2)).
fn why_not_started(path: &Path, error: &io::Error) -> String {
    match (error.raw_os_error().map(Errno::from_raw_os_error), interpreter(path)) {
        (Some(Errno::NOENT), Some(interpreter)) => {
            format!("its interpreter `{}` does not exist", interpreter.escape_debug())
        }
        (Some(Errno::NOEXEC), None) => {
            format!("{error}; a script needs a first line such as #!/bin/sh")
        }
        _ => error.to_string(),
    }
}

/// Returns the interpreter that the script `path` names in its first line.
fn interpreter(path: &Path) -> Option<String> {
    let mut start = Vec::new();
    File::open(path).ok()?.take(FIRST_LINE).read_to_end(&mut start).ok()?;
    let line = start.strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    let line = line.trim_ascii_start();
    let end = line.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(line.len());
    Some(String::from_utf8_lossy(line.get(..end)?).into_owned())
}

/// Finds `name` as execvp(3) does. With a slash, it is a path relative to the working directory.
/// Otherwise, it is looked up in `search`, and files that may not be executed are skipped.
pub(super) fn find_program(
    name: &str,
    search: Option<&OsStr>,
    working_dir: &Path,
) -> Result<PathBuf, Refusal> {
    let mut not_executable = None;
    for candidate in candidates(name, search, working_dir) {
        match std::fs::metadata(&candidate) {
            Ok(found) if found.is_file() && is_executable(&candidate) => return Ok(candidate),
            Ok(_) => not_executable = Some(candidate),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                not_executable = Some(candidate);
            }
            Err(_) => {}
        }
    }
    Err(match not_executable {
        Some(path) => Refusal::new(
            RefusalKind::CommandNotExecutable,
            format!("`{name}` cannot be executed: {}", why_not_executable(name, &path)),
        ),
        None if name.contains('/') => {
            Refusal::new(RefusalKind::CommandNotFound, format!("`{name}` does not exist"))
        }
        None => Refusal::new(
            RefusalKind::CommandNotFound,
            format!("`{name}` is not in the job's PATH ({})", search.unwrap_or_default().display()),
        ),
    })
}

fn candidates(name: &str, search: Option<&OsStr>, working_dir: &Path) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![working_dir.join(name)];
    }
    let folders = search.unwrap_or_default().as_bytes().split(|b| *b == b':');
    // An empty entry is the working directory (POSIX, environment variable PATH).
    folders.map(|folder| working_dir.join(OsStr::from_bytes(folder)).join(name)).collect()
}

/// What is wrong with `path`, to which `name` leads.
fn why_not_executable(name: &str, path: &Path) -> String {
    let what = match std::fs::metadata(path) {
        Ok(found) if found.is_dir() => "is a directory",
        Ok(found) if !found.is_file() => "is not a regular file",
        Ok(_) => "has no execute permission for the job's user",
        Err(_) => "cannot be accessed",
    };
    if path == Path::new(name) {
        format!("it {what}")
    } else {
        format!("{} {what}", path.display())
    }
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_script_whose_interpreter_is_missing_is_not_said_to_be_missing() {
        let root = tempfile::tempdir().unwrap();
        let why = |text: &[u8], errno: Errno| {
            let path = root.path().join("script");
            std::fs::write(&path, text).unwrap();
            not_started("./script", &path, &errno.into()).message
        };
        assert!(
            why(b"#!/nope -x\n", Errno::NOENT).ends_with("its interpreter `/nope` does not exist")
        );
        // A file from Windows.
        let message = why(b"#! /bin/sh\r\necho\r\n", Errno::NOENT);
        assert!(message.ends_with("its interpreter `/bin/sh\\r` does not exist"), "{message}");
        assert!(why(b"echo\n", Errno::NOEXEC).contains("#!/bin/sh"));
        assert!(why(b"\x7fELF", Errno::NOENT).contains("No such file"), "its loader is missing");
    }

    #[test]
    fn a_program_is_found_as_execvp_does() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        file("a/tool", 0o644);
        file("b/tool", 0o755);
        file("a/data", 0o644);
        let text = format!("{0}/none:{0}/a:{0}/b", root.path().display());
        let find = |name: &str| find_program(name, Some(OsStr::new(&text)), root.path());
        assert_eq!(find("tool").unwrap(), root.path().join("b/tool"));
        assert_eq!(find("./b/tool").unwrap(), root.path().join("./b/tool"));
        let kind = |name: &str| find(name).unwrap_err().kind;
        assert_eq!(kind("data"), RefusalKind::CommandNotExecutable);
        assert_eq!(kind("a/tool"), RefusalKind::CommandNotExecutable);
        assert_eq!(kind("./a"), RefusalKind::CommandNotExecutable);
        assert_eq!(kind("nothing"), RefusalKind::CommandNotFound);
        assert_eq!(kind("a/nothing"), RefusalKind::CommandNotFound);
        let folder = root.path().join("a").display().to_string();
        let message = |name: &str| find(name).unwrap_err().message;
        assert_eq!(message(&folder), format!("`{folder}` cannot be executed: it is a directory"));
        assert_eq!(
            message("data"),
            format!(
                "`data` cannot be executed: {folder}/data has no execute permission for the job's \
                 user"
            )
        );
    }
}
