//! Finds the container of an attempt and reads its log, one stream after another.

use std::sync::Arc;
use std::time::Duration;

use futures::AsyncReadExt;
use jiff::{SignedDuration, Timestamp};
use kube::api::LogParams;
use longshore_core::{Error, Result};
use tokio::time::{Instant, sleep_until, timeout};

use crate::backend::Backend;
use crate::client::Failure;
use crate::cursor::{Cursor, Finder};
use crate::follow::is_absent;
use crate::job_view::JobView;
use crate::location::Location;
use crate::names::Commit;
use crate::outcome::conclude;
use crate::pod_view::PodView;
use crate::snapshot::{Presence, Snapshot};
use crate::subscription::Subscription;
use crate::timestamps::TimestampStripper;

const CHUNK: usize = 64 * 1024;
/// How long to wait for the container's end after the stream has ended, before the stream is opened
/// again. The kubelet reports the end about a second later.
const END_REPORTED: Duration = Duration::from_secs(3);
/// How long before the end of the stream, by the API server's clock, the container may have ended, by
/// the node's, for its end to explain that of the stream. Otherwise the log is read once more: if a
/// kubelet goes away, its stream ends as if it were complete (`responsewriters.StreamObject`), and
/// the container may still write.
const EXPLAINS: SignedDuration = SignedDuration::from_secs(5);
/// How long a stream may be silent once the container has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The kubelet does not rotate a file with fewer bytes of output than this. Its default is 10 MiB,
/// which includes the time and the stream of each line.
pub(crate) const ROTATES: u64 = 256 * 1024;
/// If a stream that has carried that much is silent for this long, it is opened again. The kubelet
/// continues with the new file only if it had read the old one to its end before the rotation
/// (`cri-client/pkg/logs`, `ReadLogs`); otherwise the stream carries nothing more.
const STUCK: Duration = Duration::from_secs(2);
/// The kubelet looks for files to rotate every 10 seconds (`containerLogMonitorInterval`). A
/// younger stream can have missed at most one rotation, so the new file begins where the old one
/// ended.
const ROTATION: Duration = Duration::from_secs(9);

/// How often the position in a rotated file is searched in vain, from the beginning of the file to an end
/// that proves nothing, before it counts as not there.
const SEARCHES: u32 = 3;

/// How the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Until the job ends.
    Follow,
    /// Until the end of what exists now.
    Once,
}

/// The source of the output.
pub(crate) enum Source {
    /// From a Pod.
    Pod(Target),
    /// There is no output, because the job never started.
    Nothing,
    /// The attempt is not on the cluster, so any output is gone.
    Gone,
}

/// A container with output.
pub(crate) struct Target {
    pod: String,
    /// The job's container, which admission may have renamed.
    container: String,
}

impl Target {
    fn of(pod: &PodView) -> Self {
        Self { pod: pod.name.clone(), container: pod.job_container().to_owned() }
    }
}

/// The result of a read from a stream.
pub(crate) enum Read {
    Bytes(usize),
    End,
    /// The stream has carried a lot, and nothing for a while.
    Stuck,
    Broken,
}

/// The result of a search for the reader's position in a rotated file.
pub(crate) enum Located {
    /// Output goes on there without a gap.
    GoesOn,
    /// Output may be missing between what was read and what comes next.
    Gap,
    /// Nothing is proven, and the position is unchanged.
    Unproven,
}

/// What the end of a followed stream means.
pub(crate) enum StreamEnd {
    /// The container has ended, and this was all of its output.
    Complete,
    /// The container has ended, but perhaps at a different time than the stream.
    Doubtful,
    /// The container still runs.
    GoesOn,
}

/// Reads the log of an attempt.
pub(crate) struct LogReader {
    backend: Arc<Backend>,
    location: Location,
    subscription: Option<Subscription>,
    /// Whether the source was determined before.
    source_known: bool,
    raw: Vec<u8>,
    /// The last piece, without the times of the lines.
    pub(crate) buffer: Vec<u8>,
    pub(crate) timestamps: TimestampStripper,
    keep_times: bool,
    /// The latest time among the lines that were read. All lines of a file that was read to some line
    /// count, so another file is proven to be another one by a first line that is later.
    latest: Option<Timestamp>,
    /// How often the position was searched in vain since the last new byte.
    searches: u32,
    /// Where in the buffer output is missing.
    pub(crate) leap: Option<usize>,
    pub(crate) opened: OpenedFile,
}

impl LogReader {
    /// Creates a reader, which keeps the times of the lines if `keep_times` is set.
    pub(crate) fn new(backend: Arc<Backend>, location: Location, keep_times: bool) -> Self {
        let now = backend.connection.server_time();
        let timestamps = TimestampStripper::new(now, Instant::now());
        Self {
            backend,
            location,
            subscription: None,
            source_known: false,
            raw: vec![0; CHUNK],
            buffer: Vec::with_capacity(CHUNK),
            timestamps,
            keep_times,
            latest: None,
            searches: 0,
            leap: None,
            opened: OpenedFile::new(),
        }
    }

    pub(crate) async fn source(&mut self, mode: Mode) -> Result<Source> {
        let first = !self.source_known;
        let source = match mode {
            Mode::Once => self.source_now(first).await,
            Mode::Follow => self.source_followed(first).await,
        };
        self.source_known |= source.is_ok();
        source
    }

    async fn source_now(&self, first: bool) -> Result<Source> {
        let cluster = self.backend.cluster_of(&self.location).await?;
        let mut pods: Vec<PodView> =
            cluster.pods_of(&self.location).await?.iter().map(PodView::from).collect();
        pods.sort_by_key(|pod| pod.created);
        let without_pods = pods.is_empty();
        let pod = pods.into_iter().find(|pod| pod.container.created);
        if pod.is_none() && !first {
            return Ok(Source::Gone);
        }
        // The Pods of a removed Job remain for a moment.
        let known = pod.as_ref().is_some_and(|pod| !first || pod.job.is_none());
        if !known {
            let Some(job) = cluster.get_job(&self.location).await? else { return Ok(Source::Gone) };
            if without_pods && ended_without_pods(&JobView::from(&job)) {
                return Ok(Source::Gone);
            }
        }
        Ok(pod.map_or(Source::Nothing, |pod| Source::Pod(Target::of(&pod))))
    }

    /// Waits until the container has started, or until it is known that it never will.
    async fn source_followed(&mut self, first: bool) -> Result<Source> {
        let (backend, location) = (&self.backend, &self.location);
        let subscription =
            self.subscription.get_or_insert_with(|| backend.informer.subscribe(location));
        loop {
            let snapshot = subscription.snapshot();
            let without_job = snapshot.job.is_none() || snapshot.job_presence.is_gone();
            let removed = first && without_job;
            if removed && !subscription.health().is_synced() {
                subscription.changed().await;
                continue;
            }
            if is_absent(backend, location, &snapshot, subscription, removed).await? {
                return Ok(Source::Gone);
            }
            if let Some(observed) =
                snapshot.pod().filter(|observed| observed.pod.container.has_started())
            {
                let target = Target::of(&observed.pod);
                // A Pod that lost its labels also seems to be deleted.
                let is_gone = observed.presence.is_gone()
                    && !exists(backend, location, &observed.pod).await?;
                return Ok(if is_gone { Source::Gone } else { Source::Pod(target) });
            }
            if subscription.health().is_synced() && conclude(&snapshot, Instant::now()).is_some() {
                return Ok(if lacks_pod(&snapshot) { Source::Gone } else { Source::Nothing });
            }
            subscription.changed().await;
        }
    }

    /// Returns whether the Pod provably does not exist.
    pub(crate) async fn is_gone(&self, target: &Target) -> bool {
        let Ok(cluster) = self.backend.cluster_of(&self.location).await else { return false };
        matches!(cluster.pod_named(&self.location, &target.pod).await, Ok(None))
    }

    pub(crate) async fn open(
        &mut self,
        target: &Target,
        mode: Mode,
    ) -> std::result::Result<impl futures::AsyncBufRead + Unpin + use<>, OpenError> {
        let cluster =
            self.backend.cluster_of(&self.location).await.map_err(OpenError::Connection)?;
        let params = LogParams {
            container: Some(target.container.clone()),
            follow: mode == Mode::Follow,
            timestamps: true,
            ..<_>::default()
        };
        let pods = cluster.pods(&self.location);
        let (opened, begun) = (self.backend.connection.server_time(), Instant::now());
        let opening = pods.log_stream(&target.pod, &params);
        let stream = cluster.ask("failed to read the job's output", opening).await;
        let timestamps = self.timestamps.next(opened, begun).after(self.latest);
        self.timestamps = timestamps.keeping(self.keep_times);
        self.leap = None;
        stream.map(Box::pin).map_err(OpenError::Request)
    }

    /// Reads the next piece. A stream may be silent while the container runs, but must end soon
    /// after the container has ended.
    pub(crate) async fn read(
        &mut self,
        stream: &mut (impl futures::AsyncRead + Unpin),
        mode: Mode,
    ) -> Read {
        let limit = self.backend.config.request_timeout.get();
        let mut dead_at = (mode == Mode::Once).then(|| Instant::now() + limit);
        let limit = limit.min(LAST_WORDS);
        let stuck_at =
            (mode == Mode::Follow && self.opened.bytes > ROTATES).then(|| Instant::now() + STUCK);
        loop {
            if dead_at.is_none()
                && self
                    .subscription
                    .as_mut()
                    .is_some_and(|subscription| ended(&subscription.snapshot()))
            {
                dead_at = Some(Instant::now() + limit);
            }
            let subscription = async {
                match &mut self.subscription {
                    Some(subscription) => subscription.changed().await,
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
                () = subscription => {}
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
            self.timestamps.finish(&mut self.buffer);
            return;
        }
        let leap = self.timestamps.strip(&self.raw[..read], &mut self.buffer, Instant::now());
        // A kubelet that does not follow reads one file, and skips none.
        self.leap = leap.filter(|_| mode == Mode::Follow);
    }

    /// Records that `count` bytes of the last piece are new.
    pub(crate) fn took(&mut self, count: usize) {
        self.opened.new_bytes(count);
        self.latest = self.latest.max(self.timestamps.latest());
        self.searches = 0;
    }

    /// Finds the reader's position in the rotated file.
    ///
    /// A line that is later than everything that was read proves that all of the file was searched that
    /// can contain the position. The end of the stream does not: it also ends if a kubelet goes away.
    pub(crate) async fn locate(
        &mut self,
        target: &Target,
        cursor: &mut Cursor,
    ) -> std::result::Result<Located, OpenError> {
        let mut stream = self.open(target, Mode::Once).await?;
        let mut finder = Finder::new(cursor.tail());
        // What cannot be read now is read with the next stream.
        let proven = loop {
            match self.read(&mut stream, Mode::Once).await {
                Read::Bytes(read) => {
                    let later = self.timestamps.later();
                    finder.take(&self.buffer[..later.unwrap_or(read)]);
                    if later.is_some() {
                        break true;
                    }
                }
                Read::End => break false,
                Read::Broken | Read::Stuck => return Ok(Located::Unproven),
            }
        };
        let found = finder.found().or_else(|| finder.found_end().filter(|_| proven));
        if let Some(at) = found {
            cursor.relocate(at);
            return Ok(Located::GoesOn);
        }
        self.searches += 1;
        if !proven && self.searches < SEARCHES {
            return Ok(Located::Unproven);
        }
        // A reader that continues where another process stopped has no tail, so its position in
        // this file is unknown. It skips the file: an unnecessary gap is better than output that
        // appears twice. So does a reader that has read these lines by their times.
        let is_unknown = cursor.tail().is_empty() || proven && finder.length() > 0;
        cursor.relocate(if is_unknown { finder.length() } else { 0 });
        Ok(if self.opened.is_next() && !is_unknown { Located::GoesOn } else { Located::Gap })
    }

    pub(crate) async fn after_end(&mut self) -> StreamEnd {
        let at = self.backend.connection.server_time();
        let Some(subscription) = &mut self.subscription else { return StreamEnd::Complete };
        let end_reported = async {
            while !ended(&subscription.snapshot()) {
                subscription.changed().await;
            }
        };
        if timeout(END_REPORTED, end_reported).await.is_err() {
            // Either the container still runs, or the watch has failed silently.
            if let Ok(cluster) = self.backend.cluster_of(&self.location).await
                && let Ok(pods) = cluster.pods_of(&self.location).await
            {
                subscription.record_end(&self.location.attempt, &pods);
            }
            if !ended(&subscription.snapshot()) {
                return StreamEnd::GoesOn;
            }
        }
        let snapshot = subscription.snapshot();
        let finished = snapshot
            .pod()
            .and_then(|s| s.pod.container.terminated.as_ref())
            .and_then(|t| t.finished);
        // The node's time is truncated to whole seconds, and the API server's clock is never ahead.
        let explains = finished.is_some_and(|finished| {
            let later = at.duration_since(finished);
            !later.is_negative() && later <= EXPLAINS
        });
        if explains { StreamEnd::Complete } else { StreamEnd::Doubtful }
    }
}

/// What is known of the file that the reader reads.
pub(crate) struct OpenedFile {
    /// When the stream was opened.
    at: Instant,
    /// When the file was last known to be the current one.
    current: Instant,
    /// How many new bytes the stream has carried.
    bytes: u64,
    /// Whether all of the file had been read when the stream was opened again.
    pub(crate) drained: bool,
}

impl OpenedFile {
    fn new() -> Self {
        let now = Instant::now();
        Self { at: now, current: now, bytes: 0, drained: false }
    }

    pub(crate) fn reopened(&mut self) {
        self.at = Instant::now();
        self.bytes = 0;
    }

    pub(crate) fn new_bytes(&mut self, count: usize) {
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
pub(crate) enum OpenError {
    Connection(Error),
    Request(Failure),
}

impl OpenError {
    pub(crate) fn code(&self) -> Option<u16> {
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

/// Asks the API server whether `pod` exists.
async fn exists(backend: &Backend, location: &Location, pod: &PodView) -> Result<bool> {
    let cluster = backend.cluster_of(location).await?;
    let found = cluster.pod_named(location, &pod.name).await?;
    Ok(found.is_some_and(|found| found.metadata.uid.as_deref() == Some(&pod.uid)))
}

/// Returns whether `job`, which has no Pod, had one: it ended after its release. A client, a drained
/// node or the garbage collector of Pods deletes a Pod and its output, and the Job stays.
fn ended_without_pods(job: &JobView) -> bool {
    job.commit == Some(Commit::Committed) && job.over.is_some()
}

/// Returns whether the attempt of `snapshot`, of which no Pod is known to have started, may have had
/// one with output that is gone.
fn lacks_pod(snapshot: &Snapshot) -> bool {
    if snapshot.pods.is_empty() {
        let job = snapshot.job.as_deref();
        return snapshot.job_presence.is_gone() || job.is_some_and(ended_without_pods);
    }
    snapshot.pods.iter().any(|observed| observed.presence == Presence::Vanished)
}

fn ended(snapshot: &Snapshot) -> bool {
    snapshot.pod().is_some_and(|observed| {
        observed.pod.container.terminated.is_some()
            || observed.pod.ended
            || observed.presence.is_gone()
    })
}
