//! A job's output, read from the kubelet's log of its container.

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures::{AsyncReadExt, Stream};
use kube::api::LogParams;
use longshore_core::{Error, LogChunk, LogPosition, LogStream, Result};
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::Failure;
use crate::cursor::{Cursor, Finder, Taken};
use crate::follow::is_absent;
use crate::hub::Subscription;
use crate::inner::Inner;
use crate::outcome::conclude;
use crate::place::Place;
use crate::stamps::Stamps;
use crate::view::{PodView, Snapshot};
use crate::watching::Pause;

const CHUNK: usize = 64 * 1024;
/// How long to wait for the container's end after the stream has ended, before the stream is opened
/// again. The kubelet reports the end about a second later.
const UNTIL_TOLD: Duration = Duration::from_secs(3);
/// How many seconds before the end of the stream, by the API server's clock, the container may have
/// ended, by the node's, for its end to explain that of the stream. Otherwise the log is read once
/// more: if a kubelet goes away, its stream ends as if it were complete
/// (`responsewriters.StreamObject`), and the container may still write.
const EXPLAINS: i64 = 5;
/// How long a stream may be silent once the container has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The kubelet does not rotate a file with fewer bytes of output than this. Its default is 10 MiB,
/// which includes the time and the stream of each line.
const ROTATES: u64 = 256 * 1024;
/// If a stream that has carried that much is silent for this long, it is opened again. The kubelet
/// continues with the new file only if it had read the old one to its end before the rotation
/// (`cri-client/pkg/logs`, `ReadLogs`); otherwise the stream carries nothing more.
const STUCK: Duration = Duration::from_secs(2);
/// The kubelet looks for files to rotate every 10 seconds (`containerLogMonitorInterval`). A
/// younger stream can have missed at most one rotation, so the new file begins where the old one
/// ended.
const ROTATION: Duration = Duration::from_secs(9);

/// Returns the output of the attempt at `place` from `since` on.
pub(crate) fn logs(
    inner: Arc<Inner>,
    place: Place,
    since: LogPosition,
    follow: bool,
) -> impl Stream<Item = Result<LogChunk>> + Send {
    stream! {
        let mut cursor = Cursor::new(since.stdout);
        let mut reader = Reader::new(inner, place);
        let mut rotated = false;
        let mut pause = Pause::default();
        let mut mode = if follow { Mode::Follow } else { Mode::Once };
        loop {
            let source = match reader.source(mode).await {
                Ok(source) => source,
                Err(error) => {
                    yield Err(error);
                    if mode == Mode::Once && !follow {
                        return;
                    }
                    pause.wait().await;
                    continue;
                }
            };
            let pod = match source {
                Source::Pod(pod) => pod,
                Source::Nothing => return,
                Source::Gone => {
                    yield Ok(LogChunk::gap(LogStream::Stdout, cursor.have(), None));
                    return;
                }
            };
            let mut stream = match reader.open(&pod, mode).await {
                Ok(stream) => stream,
                Err(failure) if failure.code() == Some(404) => {
                    yield Ok(LogChunk::gap(LogStream::Stdout, cursor.have(), None));
                    return;
                }
                Err(failure) => {
                    yield Err(failure.into());
                    if !follow {
                        return;
                    }
                    pause.wait().await;
                    continue;
                }
            };
            cursor.rewind();
            reader.opened.again();
            let drained = 'reading: loop {
                let read = match reader.read(&mut stream, mode).await {
                    Read::Bytes(read) => read,
                    Read::End => break Drained::Ended,
                    Read::Stuck => break Drained::Stuck,
                    Read::Broken => break Drained::Not,
                };
                pause.reset();
                let leap = reader.leap.take();
                let cut = leap.unwrap_or(read);
                for part in [0..cut, cut..read] {
                    if part.start == cut && leap.is_some() && cursor.is_new() {
                        yield Ok(LogChunk::gap(LogStream::Stdout, cursor.have(), None));
                    }
                    let piece = &reader.buffer[part];
                    match cursor.take(piece) {
                        Taken::Nothing => {}
                        Taken::Bytes { offset, from } => {
                            reader.opened.new_bytes(piece.len() - from);
                            let bytes = Bytes::copy_from_slice(&piece[from..]);
                            yield Ok(LogChunk::data(LogStream::Stdout, offset, bytes));
                        }
                        Taken::Rotated => {
                            rotated = true;
                            break 'reading Drained::Not;
                        }
                    }
                }
            };
            drop(stream);
            rotated |= drained == Drained::Ended && cursor.is_short();
            if rotated {
                match reader.locate(&pod, &mut cursor).await {
                    Ok(true) => {}
                    Ok(false) => {
                        yield Ok(LogChunk::gap(LogStream::Stdout, cursor.have(), None));
                    }
                    Err(error) => {
                        yield Err(error.into());
                        if !follow {
                            return;
                        }
                    }
                }
                rotated = false;
                pause.wait().await;
                continue;
            }
            reader.opened.drained = drained != Drained::Not;
            match (drained, mode) {
                (Drained::Ended, Mode::Once) => return,
                (Drained::Ended, Mode::Follow) => match reader.after_end().await {
                    After::Complete if cursor.at() < ROTATES => return,
                    After::Complete | After::Doubtful => mode = Mode::Once,
                    After::GoesOn => pause.wait().await,
                },
                (Drained::Stuck, _) => {}
                (Drained::Not, _) => pause.wait().await,
            }
        }
    }
}

/// Whether all bytes of the opened file have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drained {
    /// Yes, and the stream has ended.
    Ended,
    /// Probably: nothing more comes.
    Stuck,
    /// Perhaps not.
    Not,
}

/// How the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Until the job ends.
    Follow,
    /// Until the end of what exists now.
    Once,
}

/// The source of the output.
enum Source {
    /// From a Pod.
    Pod(Target),
    /// There is no output, because the job never started.
    Nothing,
    /// The attempt is not on the cluster, so any output is gone.
    Gone,
}

/// A container with output.
struct Target {
    pod: String,
    /// The job's container, which admission may have renamed.
    container: String,
}

impl Target {
    fn of(pod: &PodView) -> Self {
        Self { pod: pod.name.clone(), container: pod.job_container().to_owned() }
    }
}

enum Read {
    Bytes(usize),
    End,
    /// The stream has carried a lot, and nothing for a while.
    Stuck,
    Broken,
}

/// What the end of a followed stream means.
enum After {
    /// The container has ended, and this was all of its output.
    Complete,
    /// The container has ended, but perhaps at a different time than the stream.
    Doubtful,
    /// The container still runs.
    GoesOn,
}

struct Reader {
    inner: Arc<Inner>,
    place: Place,
    news: Option<Subscription>,
    /// Whether the source was looked for before.
    asked: bool,
    raw: Vec<u8>,
    /// The last piece, without the times of the lines.
    buffer: Vec<u8>,
    stamps: Stamps,
    /// Where in the buffer output is missing.
    leap: Option<usize>,
    opened: Opened,
}

impl Reader {
    fn new(inner: Arc<Inner>, place: Place) -> Self {
        let stamps = Stamps::new(inner.connection.server_time());
        Self {
            inner,
            place,
            news: None,
            asked: false,
            raw: vec![0; CHUNK],
            buffer: Vec::with_capacity(CHUNK),
            stamps,
            leap: None,
            opened: Opened::new(),
        }
    }

    async fn source(&mut self, mode: Mode) -> Result<Source> {
        let first = !self.asked;
        let source = match mode {
            Mode::Once => self.source_now(first).await,
            Mode::Follow => self.source_followed(first).await,
        };
        self.asked |= source.is_ok();
        source
    }

    async fn source_now(&self, first: bool) -> Result<Source> {
        let cluster = self.inner.connection.cluster().await?;
        let mut pods: Vec<PodView> =
            cluster.pods_of(&self.place).await?.iter().map(PodView::from).collect();
        pods.sort_by_key(|pod| pod.created);
        let pod = pods.into_iter().find(|pod| pod.container.created);
        // The Pods of a removed Job remain for a moment.
        let known = pod.as_ref().is_some_and(|pod| !first || pod.job.is_none());
        if !known && cluster.get_job(&self.place).await?.is_none() {
            return Ok(Source::Gone);
        }
        Ok(pod.map_or(Source::Nothing, |pod| Source::Pod(Target::of(&pod))))
    }

    /// Waits until the container has started, or until it is known that it never will.
    async fn source_followed(&mut self, first: bool) -> Result<Source> {
        let (inner, place) = (&self.inner, &self.place);
        let news = self.news.get_or_insert_with(|| inner.hub.subscribe(place));
        loop {
            let snapshot = news.now();
            let without_job = snapshot.job.is_none() || snapshot.job_presence.is_gone();
            let removed = first && without_job;
            if removed && !news.health().complete() {
                news.changed().await;
                continue;
            }
            if is_absent(inner, place, &snapshot, news, removed).await? {
                return Ok(Source::Gone);
            }
            if let Some(seen) = snapshot.pod().filter(|seen| seen.pod.container.has_started()) {
                return Ok(if seen.presence.is_gone() {
                    Source::Gone
                } else {
                    Source::Pod(Target::of(&seen.pod))
                });
            }
            if news.health().complete() && conclude(&snapshot, Instant::now()).is_some() {
                let is_gone = snapshot.job_presence.is_gone() && snapshot.pods.is_empty();
                return Ok(if is_gone { Source::Gone } else { Source::Nothing });
            }
            news.changed().await;
        }
    }

    async fn open(
        &mut self,
        target: &Target,
        mode: Mode,
    ) -> std::result::Result<impl futures::AsyncBufRead + Unpin + use<>, OpenError> {
        let cluster = self.inner.connection.cluster().await.map_err(OpenError::Connection)?;
        let params = LogParams {
            container: Some(target.container.clone()),
            follow: mode == Mode::Follow,
            timestamps: true,
            ..<_>::default()
        };
        let pods = cluster.pods(&self.place);
        let opening = pods.log_stream(&target.pod, &params);
        let stream = cluster.ask("failed to read the job's output", opening).await;
        self.stamps = Stamps::new(self.inner.connection.server_time());
        self.leap = None;
        stream.map(Box::pin).map_err(OpenError::Request)
    }

    /// Reads the next piece. A stream may be silent while the container runs, but must end soon
    /// after the container has ended.
    async fn read(&mut self, stream: &mut (impl futures::AsyncRead + Unpin), mode: Mode) -> Read {
        let limit = self.inner.config.request_timeout.get();
        let mut dead_at = (mode == Mode::Once).then(|| Instant::now() + limit);
        let limit = limit.min(LAST_WORDS);
        let stuck_at =
            (mode == Mode::Follow && self.opened.bytes > ROTATES).then(|| Instant::now() + STUCK);
        loop {
            if dead_at.is_none() && self.news.as_mut().is_some_and(|news| ended(&news.now())) {
                dead_at = Some(Instant::now() + limit);
            }
            let news = async {
                match &mut self.news {
                    Some(news) => news.changed().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = stream.read(&mut self.raw) => match read {
                    Ok(read) => {
                        self.strip(read, mode);
                        match self.buffer.len() {
                            0 if read == 0 => return Read::End,
                            0 => {}
                            length => return Read::Bytes(length),
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a log stream broke and is resumed");
                        return Read::Broken;
                    }
                },
                () = news => {}
                () = sleep_until(dead_at.unwrap_or_else(Instant::now)), if dead_at.is_some() => {
                    return Read::Broken;
                }
                () = sleep_until(stuck_at.unwrap_or_else(Instant::now)), if stuck_at.is_some() => {
                    return Read::Stuck;
                }
            }
        }
    }

    /// Puts the `read` raw bytes into the buffer, without the times of the lines.
    fn strip(&mut self, read: usize, mode: Mode) {
        self.buffer.clear();
        if read == 0 {
            self.stamps.finish(&mut self.buffer);
            return;
        }
        let leap = self.stamps.strip(&self.raw[..read], &mut self.buffer, Instant::now());
        // A kubelet that does not follow reads one file, and skips none.
        self.leap = leap.filter(|_| mode == Mode::Follow);
    }

    /// Finds the reader's position in the rotated file. Returns `false` if output may be missing
    /// between what was read and what comes next.
    async fn locate(
        &mut self,
        target: &Target,
        cursor: &mut Cursor,
    ) -> std::result::Result<bool, OpenError> {
        let mut stream = self.open(target, Mode::Once).await?;
        let mut finder = Finder::new(cursor.tail());
        // What cannot be read now is read with the next stream.
        while let Read::Bytes(read) = self.read(&mut stream, Mode::Once).await {
            finder.take(&self.buffer[..read]);
        }
        if let Some(at) = finder.found() {
            cursor.relocate(at);
            return Ok(true);
        }
        // A reader that continues where another process stopped has no tail, so its position in
        // this file is unknown. It skips the file: an unnecessary gap is better than output that
        // appears twice.
        cursor.relocate(if cursor.tail().is_empty() { finder.length() } else { 0 });
        Ok(self.opened.is_next() && !cursor.tail().is_empty())
    }

    async fn after_end(&mut self) -> After {
        let at = self.inner.connection.server_time();
        let Some(news) = &mut self.news else { return After::Complete };
        let told = async {
            while !ended(&news.now()) {
                news.changed().await;
            }
        };
        if timeout(UNTIL_TOLD, told).await.is_err() {
            // Either the container still runs, or the watch has failed silently.
            if let Ok(cluster) = self.inner.connection.cluster().await
                && let Ok(pods) = cluster.pods_of(&self.place).await
            {
                news.saw(&self.place.attempt, &pods);
            }
            if !ended(&news.now()) {
                return After::GoesOn;
            }
        }
        let snapshot = news.now();
        let finished = snapshot
            .pod()
            .and_then(|s| s.pod.container.terminated.as_ref())
            .and_then(|t| t.finished);
        // Both times are truncated to whole seconds.
        let explains =
            finished.is_some_and(|it| (0..=EXPLAINS).contains(&at.duration_since(it).as_secs()));
        if explains { After::Complete } else { After::Doubtful }
    }
}

/// What is known of the file that the reader reads.
struct Opened {
    /// When the stream was opened.
    at: Instant,
    /// When the file was last known to be the current one.
    current: Instant,
    /// How many new bytes the stream has carried.
    bytes: u64,
    /// Whether all of the file had been read when the stream was opened again.
    drained: bool,
}

impl Opened {
    fn new() -> Self {
        let now = Instant::now();
        Self { at: now, current: now, bytes: 0, drained: false }
    }

    fn again(&mut self) {
        self.at = Instant::now();
        self.bytes = 0;
    }

    fn new_bytes(&mut self, count: usize) {
        // These bytes follow what was read before, so the file is still the one that was opened.
        self.current = self.current.max(self.at);
        self.bytes += count as u64;
    }

    /// Returns whether the current file begins where the previous one, which was read, ended.
    fn is_next(&self) -> bool {
        self.drained && self.current.elapsed() < ROTATION
    }
}

/// Why a log could not be opened.
enum OpenError {
    Connection(Error),
    Request(Failure),
}

impl OpenError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Connection(_) => None,
            Self::Request(failure) => failure.code(),
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Connection(error) => error,
            OpenError::Request(failure) => failure.into(),
        }
    }
}

fn ended(snapshot: &Snapshot) -> bool {
    snapshot.pod().is_some_and(|seen| {
        seen.pod.container.terminated.is_some() || seen.pod.ended || seen.presence.is_gone()
    })
}
