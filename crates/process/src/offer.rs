//! How a process offers a supervisor a command to run in the job.
//!
//! A file `exec.TIME` in the attempt's directory is the offer. It names the process that offers and those
//! of its descriptors that are the command's streams, the request, and the pipe for the answers. The
//! supervisor opens them as `/proc/PID/fd/FD`, as [`crate::stdin`] does in the other direction. So no
//! argument and no variable is in a file.

use std::fs;
use std::io::{self, Write};
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::linux::ProcessIdentity;
use crate::location::Location;
use crate::record::Refusal;
use crate::store::{create, missing_is_none};

const PREFIX: &str = "exec.";

/// A command that a process offers to a supervisor. The numbers are descriptors of that process.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Offer {
    pub(crate) process: ProcessIdentity,
    pub(crate) request: RawFd,
    pub(crate) stdin: Option<RawFd>,
    pub(crate) stdout: RawFd,
    pub(crate) stderr: RawFd,
    pub(crate) answers: RawFd,
}

/// What to run. Has no `Debug`: a variable may be a secret.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecRequest {
    pub(crate) command: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) working_dir: Option<String>,
    /// Whether the command has a terminal, which is each of its streams.
    pub(crate) tty: bool,
}

/// What a supervisor answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ExecAnswer {
    /// The command runs. `Exited` follows.
    Started,
    Refused(Refusal),
    /// The command has ended, with this exit code or 128 and the number of the signal.
    Exited(i32),
}

impl Location {
    /// Stores `offer`. Returns its path.
    pub(crate) fn offer(&self, offer: &Offer) -> io::Result<PathBuf> {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::now().as_nanosecond();
        let unique = format!("{now:020}-{}-{number}", std::process::id());
        let path = self.directory().join(format!("{PREFIX}{unique}"));
        // A supervisor never sees a part of it.
        let new = self.directory().join(format!("new-{PREFIX}{unique}"));
        create(&new)?.write_all(&serde_json::to_vec(offer)?)?;
        fs::rename(new, &path)?;
        Ok(path)
    }

    /// Takes the commands that are offered, in the order in which they were.
    pub(crate) fn take_offers(&self) -> io::Result<Vec<Offer>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(self.directory())? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX)) {
                paths.push(entry.path());
            }
        }
        paths.sort();
        let mut offers = Vec::new();
        for path in paths {
            let text = missing_is_none(fs::read(&path))?;
            // An offer that was taken back is not obeyed.
            if missing_is_none(fs::remove_file(path))?.is_some() {
                offers.extend(text.and_then(|text| serde_json::from_slice(&text).ok()));
            }
        }
        Ok(offers)
    }
}
