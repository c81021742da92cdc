//! The output of a job as the engine receives it.
//!
//! A launch attaches to its container before it starts it, if its process will read the output. An
//! engine passes attached output on as it is, in large pieces; it takes a log apart line by line,
//! which takes several times as long. Whatever else than the end of the job ends an attachment, the
//! log has the rest: see [`logs`](crate::logs).
//!
//! An engine blocks the job while a client that is attached does not read. So an attachment ends soon
//! after its buffer is full: a slow reader delays no job, and reads the rest from the log. Only that
//! of a terminal stays, as with docker: a person can stop the output with Ctrl-S.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::AttemptId;
use parking_lot::Mutex;
use tokio::io::AsyncRead;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::body::{self, Record};
use crate::client::Engine;
use crate::snapshot::{Coverage, Snapshot};

/// How many records wait for the reader: about 2 MiB of output that is written fast.
const WAITING: usize = 64;
/// How long an attachment waits for its reader when its buffer is full.
const STALL: Duration = Duration::from_millis(250);
/// How long after the engine closed an attachment its job may be seen to end. A proxy in between may
/// close one at any time.
const END_SHOWS: Duration = Duration::from_secs(1);
/// How much is read at once.
const PIECE: usize = 64 << 10;

/// The attachments that nobody reads yet.
#[derive(Debug, Default)]
pub(crate) struct Attachments(Mutex<HashMap<String, Attachment>>);

impl Attachments {
    /// Attaches to the container `id` of `attempt`, which this process is about to start. If that
    /// fails, the output is read from the log.
    pub(crate) async fn open(
        &self,
        engine: &Engine,
        attempt: &AttemptId,
        id: &str,
        snapshot: watch::Receiver<Snapshot>,
        tty: bool,
    ) {
        match engine.attach(id).await {
            Ok(connection) => {
                let attachment = Attachment::new(connection, snapshot, tty);
                self.0.lock().insert(attempt.to_string(), attachment);
            }
            Err(fault) => tracing::debug!(container = id, ?fault, "failed to attach"),
        }
    }

    /// Takes the attachment of `attempt`, if there is one.
    pub(crate) fn take(&self, attempt: &AttemptId) -> Option<Attachment> {
        self.0.lock().remove(attempt.as_str())
    }
}

/// The output of a container from its beginning. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Attachment {
    records: mpsc::Receiver<Record>,
    whole: oneshot::Receiver<()>,
    task: AbortHandle,
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Attachment {
    fn new(
        connection: impl AsyncRead + Send + 'static,
        snapshot: watch::Receiver<Snapshot>,
        tty: bool,
    ) -> Self {
        let (sender, records) = mpsc::channel(WAITING);
        let (report, whole) = oneshot::channel();
        let task = tokio::spawn(async move {
            if read(connection, sender, tty).await && ends_now(snapshot).await {
                let _ = report.send(());
            }
        });
        Self { records, whole, task: task.abort_handle() }
    }

    /// Waits for output, and returns what is there, in order. `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<Record>> {
        let mut some = Vec::new();
        let count = self.records.recv_many(&mut some, WAITING).await;
        (count > 0).then_some(some)
    }

    /// Whether this was all of the output, once [`next`](Self::next) has returned `None`.
    pub(crate) async fn ended_whole(mut self) -> bool {
        (&mut self.whole).await.is_ok()
    }
}

/// Passes records on until the engine closes the connection. Returns whether it did so after a whole
/// record, and the reader has taken each.
async fn read(connection: impl AsyncRead + Send, sender: mpsc::Sender<Record>, tty: bool) -> bool {
    let pieces = ReaderStream::with_capacity(connection, PIECE);
    let mut records = match tty {
        true => body::shown(pieces).boxed(),
        false => body::records(pieces).boxed(),
    };
    while let Some(record) = records.next().await {
        let Ok(record) = record else { return false };
        let sent = match tty {
            // The log of a terminal lacks the line that is not finished, such as a question.
            true => sender.send(record).await.is_ok(),
            false => matches!(timeout(STALL, sender.send(record)).await, Ok(Ok(()))),
        };
        if !sent {
            return false;
        }
    }
    true
}

/// Whether the job ends now, and no event of it was missed: its engine has not gone down.
async fn ends_now(mut snapshot: watch::Receiver<Snapshot>) -> bool {
    let ended = |known: &Snapshot| known.death.is_some() && known.coverage == Coverage::All;
    matches!(timeout(END_SHOWS, snapshot.wait_for(ended)).await, Ok(Ok(_)))
}

/// The last bytes of a stream that an attachment has delivered. They show whether the log has the same
/// output before the place where its reader continues: an engine that is killed may have passed on
/// output that is not in its log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Bytes);

impl Tail {
    /// How many bytes are kept at most.
    const KEPT: usize = 4096;

    pub(crate) fn push(&mut self, bytes: &Bytes) {
        let kept = bytes.len().min(Self::KEPT);
        let new = bytes.slice(bytes.len().saturating_sub(kept)..);
        let old = self.0.len().min(Self::KEPT.saturating_sub(new.len()));
        let old = self.0.slice(self.0.len().saturating_sub(old)..);
        // A copy, so that the tail keeps no larger buffer alive.
        self.0 = [old, new].concat().into();
    }

    /// Whether `bytes`, which begin at `offset` in the stream, agree with this tail, which ends at
    /// `end`.
    pub(crate) fn agrees(&self, end: u64, offset: u64, bytes: &[u8]) -> bool {
        let begin = end.saturating_sub(self.0.len() as u64);
        let from = begin.max(offset);
        let to = end.min(offset.saturating_add(bytes.len() as u64));
        let part = |of: &[u8], at: u64| -> Option<Vec<u8>> {
            let range = usize::try_from(from.checked_sub(at)?).ok()?
                ..usize::try_from(to.checked_sub(at)?).ok()?;
            of.get(range).map(<[u8]>::to_vec)
        };
        from >= to || part(&self.0, begin) == part(bytes, offset)
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::LogStream;
    use tokio::io::AsyncWriteExt;
    use tokio::time::Instant;

    use super::*;
    use crate::outcome::Death;

    fn frame(bytes: &[u8]) -> Vec<u8> {
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        [&[1, 0, 0, 0][..], &length, bytes].concat()
    }

    /// An attachment, the engine's side of it, and what is known of its job.
    fn attachment() -> (tokio::io::DuplexStream, Attachment, watch::Sender<Snapshot>) {
        let (engine, client) = tokio::io::duplex(1 << 10);
        let snapshot = watch::Sender::new(Snapshot::default());
        (engine, Attachment::new(client, snapshot.subscribe(), false), snapshot)
    }

    fn ended(coverage: Coverage) -> Snapshot {
        let mut known = Snapshot::default();
        (known.coverage, known.death) = (coverage, Some(Death::default()));
        known
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stalls_ends_the_attachment_and_not_the_job() {
        let (mut engine, mut attachment, _snapshot) = attachment();
        let begun = Instant::now();
        // A job that writes until nobody takes it.
        let mut written = 0;
        while engine.write_all(&frame(&[b'x'; 1000])).await.is_ok() {
            written += 1;
        }
        assert!(begun.elapsed() < STALL * 2, "{:?}", begun.elapsed());
        let mut read = 0;
        while let Some(records) = attachment.next().await {
            read += records.len();
        }
        assert!(read >= WAITING && read < written, "{read} of {written}");
        assert!(!attachment.ended_whole().await, "the rest is in the log");
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_end_after_a_whole_record_with_the_end_of_the_job_is_one() {
        let whole = frame(b"ab");
        for (bytes, snapshot, is_end) in [
            (&whole[..], ended(Coverage::All), true),
            (&whole[..9], ended(Coverage::All), false),
            (&whole, ended(Coverage::Part), false),
            (&whole, Snapshot::default(), false),
        ] {
            let (mut engine, mut attachment, known) = attachment();
            engine.write_all(bytes).await.unwrap();
            drop(engine);
            let expected = vec![(LogStream::Stdout, Bytes::from_static(b"ab"))];
            let expected = Some(expected).filter(|_| bytes.len() == whole.len());
            assert_eq!(attachment.next().await, expected);
            assert_eq!(attachment.next().await, None);
            known.send_replace(snapshot.clone());
            assert_eq!(attachment.ended_whole().await, is_end, "{snapshot:?}");
        }
    }

    #[test]
    fn a_tail_disagrees_with_other_output_at_its_place() {
        let mut tail = Tail::default();
        tail.push(&Bytes::from(vec![b'a'; 5000]));
        tail.push(&Bytes::from_static(b"xyz"));
        let agrees = |offset, bytes: &[u8]| tail.agrees(5003, offset, bytes);
        assert!(agrees(4990, b"aaaaaaaaaaxyznew"));
        assert!(agrees(5002, b"z") && agrees(5003, b"new") && agrees(0, b"before the tail"));
        assert!(!agrees(4990, b"aaaaaaaaaxyznew") && !agrees(5002, b"y"));
    }
}
