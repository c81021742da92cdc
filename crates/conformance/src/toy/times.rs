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

/// The times of one job's output: what was in each stream before, and when more came.
#[derive(Debug)]
pub(super) struct Times {
    seen: Mutex<Vec<(LogStream, u64, Timestamp)>>,
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
        tokio::spawn(async move {
            let streams = [LogStream::Stdout, LogStream::Stderr];
            let mut lengths = streams.map(|stream| (stream, 0));
            loop {
                let over = ended.borrow().is_some();
                let now = Timestamp::now();
                for (stream, length) in &mut lengths {
                    let file = std::fs::metadata(command::output(&files, *stream));
                    let found = file.map_or(0, |file| file.len());
                    if found > *length {
                        watched.seen.lock().push((*stream, *length, now));
                        *length = found;
                    }
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
        let seen = self.seen.lock().clone();
        let seen: Vec<_> = seen.iter().filter(|(of, ..)| of == stream).collect();
        let mut end = offset + bytes.len() as u64;
        if self.flaw == Some(TimesOnlyTheFirstLine) {
            end = end
                .min(offset + 1 + bytes.iter().take_while(|byte| **byte != b'\n').count() as u64);
        }
        let mut parts = Vec::new();
        let mut begin = *offset;
        while begin < end {
            let next = seen.iter().map(|(_, at, _)| *at).find(|at| *at > begin).unwrap_or(end);
            let next = next.min(end);
            let time = seen.iter().rfind(|(_, at, _)| *at <= begin).map(|(.., time)| *time);
            let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX);
            let part = LogChunk::data(*stream, begin, bytes.slice(index(begin)..index(next)));
            // What was written since the last look has come now.
            parts.push(TimedChunk::new(time.or_else(|| Some(Timestamp::now())), part));
            begin = next;
        }
        parts
    }
}
