//! Turns a request into a running process, or into the reason why not.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::Timestamp;
use longshore_core::LogStream;
use rustix::fs::Access;

use super::copy::Copy;
use super::input::Input;
use super::job::Job;
use super::kept::StreamFiles;
use crate::limits;
use crate::linux::ProcessIdentity;
use crate::location::Location;
use crate::outcome::RefusalKind;
use crate::record::{self, Begin, Entry, Refusal, Starting};
use crate::store::Files;
use crate::wire::{Environment, StartRequest, lookup};

/// The result of a request.
pub(super) enum Launched {
    Started(Box<Job>),
    Taken,
    Refused(Refusal),
}

/// Starts the job of `request`, unless the attempt was started or fenced before.
///
/// Everything that can be checked is checked before the commit. After it, only the kernel itself
/// can refuse. That refusal is recorded, so that another runner that waits for this attempt sees it
/// too.
pub(super) fn launch(
    request: &StartRequest,
    environment: &Environment,
    own: &ProcessIdentity,
) -> Launched {
    let program = match check(request, environment) {
        Ok(program) => program,
        Err(refusal) => return Launched::Refused(refusal),
    };
    let location = Location::new(&request.state_directory, &request.attempt);
    let files = match location.commit(&starting(request, own), request.fsync) {
        Ok(Some(files)) => files,
        Ok(None) => return Launched::Taken,
        Err(error) => return Launched::Refused(no_room(&location, &error)),
    };
    match spawn(request, environment, &program, &location) {
        Ok((child, input)) => started(request, location, files, child, input),
        Err(error) => {
            let refusal = not_started(request, &error);
            let mut record = files.record;
            // If this cannot be written, the runner still receives the refusal from us.
            let _ = record::append(&mut record, &Entry::Refused(refusal.clone()));
            Launched::Refused(refusal)
        }
    }
}

fn starting(request: &StartRequest, own: &ProcessIdentity) -> Entry {
    Entry::Starting(Starting {
        version: record::VERSION,
        attempt: request.attempt.clone(),
        job: request.job.clone(),
        installation: request.installation.clone(),
        runner: request.runner.clone(),
        supervisor: own.clone(),
        timeout_ms: request.timeout_ms,
        grace_ms: request.grace_ms,
    })
}

fn no_room(location: &Location, error: &io::Error) -> Refusal {
    let directory = location.directory().display();
    let message = format!("failed to create the attempt's directory {directory}: {error}");
    Refusal::new(RefusalKind::Unavailable, message)
}

fn not_started(request: &StartRequest, error: &io::Error) -> Refusal {
    let message = format!("failed to start `{}`: {error}", request.argv[0]);
    Refusal { committed: true, ..Refusal::new(RefusalKind::of_spawn(error), message) }
}

fn started(
    request: &StartRequest,
    location: Location,
    files: Files,
    mut child: Child,
    input: Option<Input>,
) -> Launched {
    let begin = Begin { pid: child.id().cast_signed(), at: Timestamp::now() };
    let mut record = files.record;
    // The job runs, and is supervised to its end whether or not this line can be written.
    let _ = record::append(&mut record, &Entry::Started(begin));
    let stdout = StreamFiles::new(LogStream::Stdout, files.stdout);
    let stderr = StreamFiles::new(LogStream::Stderr, files.stderr);
    let stdout = child.stdout.take().map(|pipe| Copy::new(pipe.into(), stdout));
    let stderr = child.stderr.take().map(|pipe| Copy::new(pipe.into(), stderr));
    let outputs = [stdout, stderr];
    Launched::Started(Box::new(Job::new(request, location, record, begin, outputs, input)))
}

/// Starts the process. With these settings, the standard library uses `posix_spawn`: the program
/// has a path, and nothing runs between fork and exec, unless the job has limits of its own.
fn spawn(
    request: &StartRequest,
    environment: &Environment,
    program: &Path,
    location: &Location,
) -> io::Result<(Child, Option<Input>)> {
    let (input, stdin) = match request.stdin {
        true => {
            let (input, reader) = Input::create(location)?;
            (Some(input), Stdio::from(reader))
        }
        false => (None, Stdio::null()),
    };
    let mut command = Command::new(program);
    command
        .arg0(&request.argv[0])
        .args(&request.argv[1..])
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&request.working_dir)
        .process_group(0)
        .stdin(stdin)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    limits::limit(&mut command, &request.limits);
    Ok((command.spawn()?, input))
}

/// Checks what the job needs, and finds its program.
fn check(request: &StartRequest, environment: &Environment) -> Result<PathBuf, Refusal> {
    if let Some(message) = limits::obstacle() {
        return Err(Refusal::new(RefusalKind::Unavailable, message));
    }
    if let Some(directory) = &request.job_directory {
        for part in [directory.clone(), directory.join("input"), directory.join("output")] {
            check_directory(&part, "the job directory", RefusalKind::InvalidSpec)?;
        }
        let output = directory.join("output");
        if let Err(error) = rustix::fs::access(&output, Access::WRITE_OK | Access::EXEC_OK) {
            let message = format!("the job cannot write to {}: {error}", output.display());
            return Err(Refusal::new(RefusalKind::InvalidSpec, message));
        }
    }
    check_directory(&request.working_dir, "the working directory", RefusalKind::WorkingDirectory)?;
    let name = request.argv.first().map(String::as_str).unwrap_or_default();
    find_program(name, lookup(environment, "PATH"), &request.working_dir)
}

fn check_directory(path: &Path, what: &str, kind: RefusalKind) -> Result<(), Refusal> {
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

/// Finds `name` as execvp(3) does. With a slash, it is a path relative to the working directory.
/// Otherwise, it is looked up in `search`, and files that may not be executed are skipped.
fn find_program(
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
