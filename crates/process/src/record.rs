//! The record of an attempt: a file of JSON lines that is only appended to.
//!
//! Its first line exists from the moment the file appears, and contains the supervisor that may
//! start the job, or that none may. A line counts once its newline is written; of several ends, the
//! first counts. A small file takes one disk block, which is allocated before the job starts. A
//! disk that fills up meanwhile therefore cannot prevent the end from being written.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use longshore_core::{AttemptId, Error, InstallationId, JobId, Report, RunnerName};
use serde::{Deserialize, Serialize};

use crate::linux::ProcessIdentity;
use crate::outcome::RefusalKind;

/// The version of the record's format.
pub(crate) const VERSION: u32 = 1;

/// More than any record contains: its lines are few and short.
const MAX_BYTES: u64 = 1 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Entry {
    /// No supervisor may start the job any more.
    Fenced { at: Timestamp },
    /// This supervisor, and no other, may start the job.
    Starting(Starting),
    /// The job's main process runs.
    Started(Begin),
    /// The job's main process could not be started, and never will be.
    Refused(Refusal),
    /// The job has ended.
    Ended(End),
}

/// The supervisor and the attempt that it may start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Starting {
    pub(crate) version: u32,
    pub(crate) attempt: AttemptId,
    pub(crate) job: JobId,
    pub(crate) installation: InstallationId,
    pub(crate) runner: RunnerName,
    pub(crate) supervisor: ProcessIdentity,
    /// The cgroups of the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cgroups: Vec<PathBuf>,
    /// The job's timeout, which the supervisor enforces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    /// The grace period after the timeout.
    #[serde(default)]
    pub(crate) grace_ms: u64,
}

#[cfg(test)]
impl Starting {
    pub(crate) fn for_tests(supervisor: ProcessIdentity) -> Self {
        Self {
            version: VERSION,
            attempt: "job-1".parse().unwrap(),
            job: "job".parse().unwrap(),
            installation: "here".parse().unwrap(),
            runner: RunnerName::process(),
            supervisor,
            cgroups: Vec::new(),
            timeout_ms: None,
            grace_ms: 0,
        }
    }
}

/// The job's main process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Begin {
    pub(crate) pid: i32,
    pub(crate) at: Timestamp,
}

/// Why a job was not started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) message: String,
    /// Whether a directory of this attempt was created, which must be removed.
    #[serde(default)]
    pub(crate) committed: bool,
}

impl Refusal {
    pub(crate) fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), committed: false }
    }

    pub(crate) fn error(&self) -> Error {
        Error::new(self.kind.error_kind(), self.message.clone())
    }
}

/// How the job ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct End {
    pub(crate) report: Report,
    /// Bytes of stdout that could not be kept, after those that were.
    #[serde(default)]
    pub(crate) lost_stdout: u64,
    /// Bytes of stderr that could not be kept, after those that were.
    #[serde(default)]
    pub(crate) lost_stderr: u64,
}

impl End {
    pub(crate) const fn new(report: Report) -> Self {
        Self { report, lost_stdout: 0, lost_stderr: 0 }
    }
}

/// The content of a record, read to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// The supervisor that may start the job. `None`: the attempt is fenced, or the record is
    /// damaged.
    pub(crate) starting: Option<Starting>,
    /// Whether the first line is missing, so that it is unknown who may start the job.
    pub(crate) damaged: bool,
    pub(crate) started: Option<Begin>,
    pub(crate) refused: Option<Refusal>,
    pub(crate) ended: Option<End>,
}

impl Record {
    /// Reads the record at `path`.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let mut bytes = Vec::with_capacity(1024);
        File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    /// Parses the content of a record. A record whose first line is missing, after a power failure
    /// for example, may still have an end: a supervisor that lives goes on to write.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let starting = match complete_lines(bytes).next().map(serde_json::from_slice) {
            Some(Ok(Entry::Fenced { .. })) => Some(None),
            Some(Ok(Entry::Starting(starting))) => Some(Some(starting)),
            _ => None,
        };
        let damaged = starting.is_none();
        let starting = starting.flatten();
        let mut record = Self { starting, damaged, started: None, refused: None, ended: None };
        // A line that does not parse was torn by the death of its writer. It counts as not written.
        for entry in complete_lines(bytes).filter_map(|line| serde_json::from_slice(line).ok()) {
            match entry {
                Entry::Started(begin) => record.started = Some(begin),
                Entry::Refused(refusal) => record.refused = Some(refusal),
                Entry::Ended(end) => {
                    record.ended.get_or_insert(end);
                }
                Entry::Fenced { .. } | Entry::Starting(_) => {}
            }
        }
        record
    }

    /// Returns the cgroups of the job.
    pub(crate) fn cgroups(&self) -> &[PathBuf] {
        self.starting.as_ref().map_or(&[], |starting| &starting.cgroups)
    }

    /// Whether no supervisor may start the job any more.
    pub(crate) const fn is_fenced(&self) -> bool {
        self.starting.is_none() && !self.damaged
    }
}

fn complete_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = bytes.iter().rposition(|b| *b == b'\n').unwrap_or(0);
    bytes[..end].split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

/// Appends `entry` to the open record `file` in one write.
pub(crate) fn append(file: &mut File, entry: &Entry) -> io::Result<()> {
    // Terminates a line that another writer may have torn; an empty line has no meaning.
    let mut line = vec![b'\n'];
    serde_json::to_writer(&mut line, entry)?;
    line.push(b'\n');
    file.write_all(&line)
}

#[cfg(test)]
mod tests {
    use longshore_core::Outcome;

    use super::*;

    fn lines(entries: &[Entry]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for entry in entries {
            bytes.push(b'\n');
            serde_json::to_writer(&mut bytes, entry).unwrap();
            bytes.push(b'\n');
        }
        bytes
    }

    fn starting() -> Entry {
        Entry::Starting(Starting::for_tests(ProcessIdentity::for_tests(1)))
    }

    fn ended(code: i32) -> Entry {
        Entry::Ended(End::new(Report::new(Outcome::Exited { code, signal: None })))
    }

    #[test]
    fn of_several_ends_the_first_counts() {
        let record = Record::parse(&lines(&[starting(), ended(3), ended(4)]));
        let outcome = record.ended.unwrap().report.outcome;
        assert_eq!(outcome, Outcome::Exited { code: 3, signal: None });
    }

    #[test]
    fn a_torn_line_counts_as_not_written() {
        let mut bytes = lines(&[starting(), ended(3)]);
        bytes.truncate(bytes.len() - 5);
        assert_eq!(Record::parse(&bytes).ended, None);
        bytes.extend(lines(&[ended(4)]));
        let outcome = Record::parse(&bytes).ended.unwrap().report.outcome;
        assert_eq!(outcome, Outcome::Exited { code: 4, signal: None });
    }

    #[test]
    fn what_is_no_record_is_damaged_and_no_fence() {
        for bytes in [&b""[..], b"\n", b"{}\n", b"hello\n"] {
            let record = Record::parse(bytes);
            assert!(record.damaged && !record.is_fenced() && record.ended.is_none(), "{bytes:?}");
        }
        let record = Record::parse(&lines(&[ended(1)]));
        assert!(record.damaged && record.ended.is_some());
        assert!(Record::parse(&lines(&[Entry::Fenced { at: Timestamp::UNIX_EPOCH }])).is_fenced());
    }
}
