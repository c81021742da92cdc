//! Runs a credential helper: `docker-credential-X get`, with the server on its standard input.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use longshore_core::{Error, ErrorKind, HumanDuration, RegistryAuth, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::answer::{Output, understand};
use crate::program::Program;
use crate::server::docker_name;

/// The maximum size of an answer. The longest tokens have some KiB.
const LARGEST_ANSWER: usize = 64 * 1024;
/// How much of an error message is kept.
const LARGEST_COMPLAINT: usize = 8 * 1024;
/// How long to continue reading after the helper has ended.
///
/// The helper's output is complete by then, but a process that it left behind may keep the output
/// open.
const LINGER: Duration = Duration::from_millis(500);

/// How to run helpers.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    /// The folders to search for helpers.
    pub(crate) path: &'a OsStr,
    pub(crate) timeout: Duration,
}

impl Asking<'_> {
    /// Asks the helper for the credentials for `registry`. Returns `None` if it has none.
    ///
    /// # Errors
    /// `InvalidSpec` if the helper does not exist, does not start, fails, hangs or prints an invalid
    /// answer. The error contains no secret.
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
            return Err(failed().caused_by("its answer is larger than 64 KiB"));
        }
        understand(output, registry).map_err(|error| failed().caused_by(error))
    }
}

/// A running helper, the leader of its own process group.
struct Helper(Child);

impl Helper {
    fn start(file: PathBuf) -> io::Result<Self> {
        let mut command = Command::new(file);
        command.arg("get").process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(command.spawn()?))
    }

    /// Writes the server to the helper and reads its whole answer.
    async fn converse(&mut self, server: &str) -> io::Result<Output> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (stdin, out, err) = (self.0.stdin.take(), self.0.stdout.take(), self.0.stderr.take());
        let status = {
            let pipes = async {
                let say = async {
                    if let Some(mut stdin) = stdin {
                        // A helper that does not read its input may still answer.
                        let _ = stdin.write_all(server.as_bytes()).await;
                    }
                };
                tokio::join!(
                    say,
                    // One byte more than allowed reveals an answer that is too long, and closes the
                    // pipe.
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

    /// Kills the helper and the processes that it started.
    async fn end(&mut self) {
        self.kill();
        let _ = tokio::time::timeout(LINGER, self.0.wait()).await;
    }

    fn kill(&self) {
        // The id is present only until the helper has been waited for. Until then no other process
        // can have the same id.
        if let Some(group) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Reads at most `most` bytes from `pipe` into `heard`.
///
/// If `all` is set, reads and discards the rest, so that the helper does not block. If the future is
/// dropped, `heard` keeps what was read.
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
