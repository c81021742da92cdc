//! When a job of the toy wrote its output.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use longshore_core::{LogChunk, LogStream, Report, TimedChunk};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Flaw::{self, *};
use super::command;

/// How often the output files are looked at while the job runs.
const LOOK: Duration = Duration::from_millis(10);

/// A part of a stream, and when it was there.
#[derive(Clone, Copy, Debug)]
struct Seen {
    stream: LogStream,
    begin: u64,
    end: u64,
    at: Timestamp,
}

/// The times of one job's output.
#[derive(Debug)]
pub(super) struct Times {
    seen: Mutex<Vec<Seen>>,
    flaw: Option<Flaw>,
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
        // In a thread of its own: a task would wait while others keep the runtime busy.
        std::thread::spawn(move || {
            let streams = [LogStream::Stdout, LogStream::Stderr];
            let mut lengths = streams.map(|stream| (stream, 0));
            loop {
                let over = ended.borrow().is_some();
                let at = Timestamp::now();
                for (stream, length) in &mut lengths {
                    let file = std::fs::metadata(command::output(&files, *stream));
                    let end = file.map_or(0, |file| file.len());
                    if end > *length {
                        let (stream, begin) = (*stream, *length);
                        watched.seen.lock().push(Seen { stream, begin, end, at });
                        *length = end;
                    }
                }
                if over {
                    return;
                }
                std::thread::sleep(LOOK);
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
        let seen = self.seen.lock().clone();
        let seen: Vec<_> = seen.iter().filter(|seen| seen.stream == *stream).collect();
        let mut end = offset + bytes.len() as u64;
        if self.flaw == Some(TimesOnlyTheFirstLine) {
            end = end
                .min(offset + 1 + bytes.iter().take_while(|byte| **byte != b'\n').count() as u64);
        }
        let mut parts = Vec::new();
        let mut begin = *offset;
        while begin < end {
            // What was written since the last look has come now.
            let part = seen.iter().find(|seen| seen.begin <= begin && begin < seen.end);
            let (next, at) = part.map_or((end, Timestamp::now()), |part| (part.end, part.at));
            let next = next.min(end);
            let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let part = LogChunk::data(*stream, begin, bytes.slice(index(begin)..index(next)));
            parts.push(TimedChunk::new(Some(at), part));
            begin = next;
        }
        parts
    }
}
