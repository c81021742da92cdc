//! When a job of the toy wrote its output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{LogChunk, LogStream, Report, TimedChunk};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::sleep;

use super::Flaw::{self, *};
use super::command;

/// How often the output files are looked at while the job runs.
const LOOK: Duration = Duration::from_millis(50);

/// The times of one job's output.
#[derive(Debug)]
pub(super) struct Times {
    seen: Mutex<[Seen; 2]>,
    flaw: Option<Flaw>,
}

/// The times of one stream.
#[derive(Clone, Debug, Default)]
struct Seen {
    length: u64,
    /// What was there before, and when more came.
    times: Vec<(u64, Timestamp)>,
}

impl Seen {
    /// Records that the stream has at least `length` bytes now.
    fn grow(&mut self, length: u64) {
        if length > self.length {
            self.times.push((self.length, Timestamp::now()));
            self.length = length;
        }
    }
}

fn of(stream: LogStream) -> usize {
    usize::from(stream == LogStream::Stderr)
}

impl Times {
    /// Looks at the output in `files` until the job has `ended`.
    pub(super) fn watch(
        files: PathBuf,
        ended: watch::Receiver<Option<Report>>,
        flaw: Option<Flaw>,
    ) -> Arc<Self> {
        let times = Arc::new(Self { seen: Mutex::default(), flaw });
        let watched = Arc::clone(&times);
        tokio::spawn(async move {
            loop {
                let over = ended.borrow().is_some();
                for stream in [LogStream::Stdout, LogStream::Stderr] {
                    let file = std::fs::metadata(command::output(&files, stream));
                    let length = file.map_or(0, |file| file.len());
                    watched.seen.lock()[of(stream)].grow(length);
                }
                if over {
                    return;
                }
                sleep(LOOK).await;
            }
        });
        times
    }

    /// Splits `chunk` by its times.
    pub(super) fn split(&self, chunk: LogChunk) -> Vec<TimedChunk> {
        let LogChunk::Data { stream, offset, bytes } = &chunk else {
            return vec![TimedChunk::new(None, chunk)];
        };
        if self.flaw == Some(TimesWhatIsRead) {
            return vec![TimedChunk::new(Some(Timestamp::now()), chunk)];
        }
        let mut end = offset + bytes.len() as u64;
        let seen = {
            let seen = &mut self.seen.lock()[of(*stream)];
            // What was written since the last look has come now.
            seen.grow(end);
            seen.times.clone()
        };
        if self.flaw == Some(TimesOnlyTheFirstLine) {
            end = end
                .min(offset + 1 + bytes.iter().take_while(|byte| **byte != b'\n').count() as u64);
        }
        let mut parts = Vec::new();
        let mut begin = *offset;
        while begin < end {
            let next = seen.iter().map(|(at, _)| *at).find(|at| *at > begin).unwrap_or(end);
            let next = next.min(end);
            let time = seen.iter().rfind(|(at, _)| *at <= begin).map(|(_, time)| *time);
            let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let part = LogChunk::data(*stream, begin, bytes.slice(index(begin)..index(next)));
            parts.push(TimedChunk::new(time, part));
            begin = next;
        }
        parts
    }
}
