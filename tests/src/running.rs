//! A running command, and its result.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::check::until;

/// How long one command may take, with several others on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A running command. When dropped, it is ended as a user would do it: Ctrl-C, then kill.
pub(crate) struct Running {
    child: Child,
    stdout: Tap,
    stderr: Tap,
    result: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    /// The content of the result file, if one was requested and written.
    pub(crate) result: Option<Value>,
}

impl Running {
    pub(crate) fn new(mut child: Child, result: Option<PathBuf>) -> Self {
        let stdout = child.stdout.take().map_or_else(Tap::over, Tap::new);
        let stderr = child.stderr.take().map_or_else(Tap::over, Tap::new);
        Self { child, stdout, stderr, result }
    }

    /// A command whose standard output is a terminal, of which `master` is the other end.
    pub(crate) fn at_terminal(child: Child, result: Option<PathBuf>, master: File) -> Self {
        let mut running = Self::new(child, result);
        running.stdout = Tap::new(master);
        running
    }

    /// Waits until the standard output contains `text`.
    pub(crate) fn until_stdout(&self, text: &str) -> Result<()> {
        self.stdout.until(text).with_context(|| format!("stderr: {}", self.stderr.text()))
    }

    /// Waits until the standard error contains `text`.
    pub(crate) fn until_stderr(&self, text: &str) -> Result<()> {
        self.stderr.until(text)
    }

    /// Returns the complete lines of the standard output so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = self.stdout.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Returns the standard error so far.
    pub(crate) fn errors(&self) -> String {
        self.stderr.text()
    }

    pub(crate) fn stdin(&mut self) -> Result<&mut std::process::ChildStdin> {
        self.child.stdin.as_mut().context("it has no standard input")
    }

    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).context("failed to signal the command")
    }

    /// Waits for its end.
    pub(crate) fn finish(self) -> Result<Ran> {
        self.finish_within(PATIENCE)
    }

    /// Waits for its end and for the end of its output. A process left behind would keep the output
    /// open.
    pub(crate) fn finish_within(mut self, limit: Duration) -> Result<Ran> {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + limit;
        let status = match until(limit, "the command's end", || Ok(self.child.try_wait()?)) {
            Ok(status) => status,
            Err(error) => bail!(
                "{error}; stdout: {:?}; stderr: {:?}",
                end_of(&self.stdout.text()),
                end_of(&self.stderr.text())
            ),
        };
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_secs(2));
        let stdout = self.stdout.whole(left)?;
        let stderr = String::from_utf8_lossy(&self.stderr.whole(left)?).into_owned();
        let result = self.result.as_ref().and_then(|path| std::fs::read(path).ok());
        let result = result
            .map(|text| serde_json::from_slice(&text))
            .transpose()
            .context("the result file is no JSON")?;
        Ok(Ran { status, stdout, stderr, result })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = self.signal(Signal::INT);
        let ended = until(Duration::from_secs(15), "its end", || Ok(self.child.try_wait()?));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

impl Ran {
    /// Returns the exit code, or `None` after a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Returns the content of the result file.
    pub(crate) fn result(&self) -> Result<&Value> {
        self.result.as_ref().with_context(|| format!("no result was written: {}", self.stderr))
    }

    /// Returns the outcome in the result file.
    pub(crate) fn outcome(&self) -> Result<&Value> {
        Ok(&self.result()?["outcome"])
    }

    /// Fails unless it exited with `code`.
    pub(crate) fn exits(&self, code: i32) -> Result<()> {
        if self.code() == Some(code) {
            return Ok(());
        }
        bail!(
            "expected exit code {code}, seen {}; stdout: {:?}; stderr: {:?}; result: {:?}",
            self.status,
            end_of(&self.text()),
            end_of(&self.stderr),
            self.result
        )
    }
}

/// Returns the end of `text`, for error messages.
fn end_of(text: &str) -> String {
    let skipped = text.chars().count().saturating_sub(2000);
    text.chars().skip(skipped).collect()
}

/// Reads a pipe to its end on its own thread.
#[derive(Clone, Default)]
struct Tap(Arc<(Mutex<Heard>, Condvar)>);

#[derive(Default)]
struct Heard {
    bytes: Vec<u8>,
    over: bool,
}

impl Tap {
    /// Returns a tap without a pipe, which is already at its end.
    fn over() -> Self {
        let tap = Self::default();
        tap.lock().over = true;
        tap
    }

    fn new(mut pipe: impl Read + Send + 'static) -> Self {
        let tap = Self::default();
        let own = tap.clone();
        thread::spawn(move || {
            let mut buffer = [0; 64 * 1024];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                own.lock().bytes.extend_from_slice(&buffer[..count]);
                own.0.1.notify_all();
            }
            own.lock().over = true;
            own.0.1.notify_all();
        });
        tap
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.0.lock()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    fn wait(
        &self,
        limit: Duration,
        done: impl Fn(&Heard) -> bool,
    ) -> Option<MutexGuard<'_, Heard>> {
        let mut read = self.lock();
        self.0.1.wait_while_for(&mut read, |read| !done(read), limit);
        done(&read).then_some(read)
    }

    fn until(&self, text: &str) -> Result<()> {
        let has = |read: &Heard| String::from_utf8_lossy(&read.bytes).contains(text);
        match self.wait(PATIENCE, |read| has(read) || read.over) {
            Some(read) if has(&read) => Ok(()),
            Some(heard) => {
                let said = String::from_utf8_lossy(&heard.bytes);
                bail!("the command ended without printing {text:?}: {said:?}")
            }
            None => bail!("waited {PATIENCE:?} in vain for {text:?}: {:?}", self.text()),
        }
    }

    fn whole(&self, limit: Duration) -> Result<Vec<u8>> {
        match self.wait(limit, |read| read.over) {
            Some(mut read) => Ok(std::mem::take(&mut read.bytes)),
            None => {
                bail!("the command ended, and a process that it left behind keeps its output open")
            }
        }
    }
}
