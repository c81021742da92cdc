//! Asking a credential helper: `docker-credential-X get`, the server on its standard input.

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, HumanDuration, RegistryAuth, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::answer::{Output, understand};
use crate::server::docker_name;

/// Larger than any answer; the longest tokens have some KiB.
const LARGEST_ANSWER: usize = 64 * 1024;
/// As much of a complaint as may be looked at.
const LARGEST_COMPLAINT: usize = 8 * 1024;
/// How long to go on reading after the helper has ended: what it said is there, only a process that
/// it left behind may keep its output open.
const LINGER: Duration = Duration::from_millis(500);

/// The program of a helper: `docker-credential-X`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program(String);

impl Program {
    /// The program of the helper called `name`, which must not lead out of the folders of `PATH`.
    pub(crate) fn of(name: &str) -> std::result::Result<Self, &'static str> {
        let plain = |it: char| it.is_ascii_alphanumeric() || "._-".contains(it);
        if name.is_empty() || !name.chars().all(plain) {
            return Err("is not a helper's plain name: `X` for the program `docker-credential-X`");
        }
        Ok(Self(format!("docker-credential-{name}")))
    }

    /// The first that may be run in the folders of `path`. Relative folders are passed over: what
    /// lies in the current folder is anyone's.
    async fn find(&self, path: &OsStr) -> Option<PathBuf> {
        for folder in std::env::split_paths(path).filter(|folder| folder.is_absolute()) {
            let file = folder.join(&self.0);
            let metadata = tokio::fs::metadata(&file).await;
            if metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0) {
                return Some(file);
            }
        }
        None
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How helpers are asked.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// The folders where they are looked for.
    pub(crate) path: &'a OsStr,
    pub(crate) timeout: Duration,
}

impl Asking<'_> {
    /// Who the helper says we are to `registry`; `None` if it does not know.
    ///
    /// # Errors
    /// `InvalidSpec` if it is not there, does not start, fails, hangs or says what no helper does;
    /// without a secret.
    pub(crate) async fn ask(
        self,
        program: &Program,
        registry: &str,
    ) -> Result<Option<RegistryAuth>> {
        let failed = || {
            Error::new(ErrorKind::InvalidSpec, "failed to ask a credential helper")
                .with("program", program)
        };
        let server = docker_name(registry);
        let file = program.find(self.path).await;
        let file = file.ok_or_else(|| failed().caused_by("it is not in a folder of PATH"))?;
        let mut helper = Helper::start(file).map_err(|error| failed().caused_by(error))?;
        let Ok(output) = tokio::time::timeout(self.timeout, helper.converse(server)).await else {
            helper.end().await;
            let limit = HumanDuration::from(self.timeout);
            return Err(failed().caused_by(format!("it did not answer within {limit}")));
        };
        let output = output.map_err(|error| failed().caused_by(error))?;
        if output.stdout.len() > LARGEST_ANSWER {
            return Err(failed().caused_by("it answers more than 64 KiB"));
        }
        understand(output, registry).map_err(|error| failed().caused_by(error))
    }
}

/// A helper that runs, the leader of a process group of its own.
struct Helper(Child);

impl Helper {
    fn start(file: PathBuf) -> io::Result<Self> {
        let mut command = Command::new(file);
        command.arg("get").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Tells it the server and hears it out.
    async fn converse(&mut self, server: &str) -> io::Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (stdin, out, err) = (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take());
        let status = {
            let pipes = async {
                let say = async {
                    if let Some(mut stdin) = stdin {
                        // A helper that does not listen may still answer.
                        let _ = stdin.write_all(server.as_bytes()).await;
                    }
                };
                tokio::join!(
                    say,
                    // One more than is allowed tells what is too long, and ends the pipe.
                    hear(out, &mut stdout, LARGEST_ANSWER + 1, false),
                    hear(err, &mut stderr, LARGEST_COMPLAINT, true),
                )
            };
            tokio::pin!(pipes);
            let mut open = true;
            let status = loop {
                tokio::select! {
                    status = self.0.wait() => break status?,
                    _ = &mut pipes, if open => open = false,
                }
            };
            if open {
                let _ = tokio::time::timeout(LINGER, pipes).await;
            }
            status
        };
        Ok(Output { status, stdout, stderr })
    }

    /// Ends it and what it started.
    async fn end(&mut self) {
        self.kill();
        let _ = tokio::time::timeout(LINGER, self.0.wait()).await;
    }

    fn kill(&self) {
        // There is an id only as long as the helper has not been waited for: until then no other
        // process can have it.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(group) = id {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads `pipe` into `heard`, at most `most` bytes; the rest is read as well if `all`, so that the
/// helper does not wait for us. What was heard stays if this is dropped half-way.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, heard: &mut Vec<u8>, most: usize, all: bool) {
    let Some(mut pipe) = pipe else { return };
    let mut part = [0; 4096];
    loop {
        let Ok(read @ 1..) = pipe.read(&mut part).await else { return };
        let kept = read.min(most - heard.len());
        heard.extend_from_slice(&part[..kept]);
        if heard.len() == most && !all {
            return;
        }
    }
}
