//! What the processes with one journal share about runners: that a server does not answer, so that
//! only one of them waits for it, and that a runner is ready, so that only one of them asks.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use longshore_core::{Error, ErrorKind, Runner};
use longshore_journal::{Access, Journal, Outage};
use tokio::time::timeout;
use tracing::warn;

use crate::store::Store;

/// How long a probe must take to fail before its failure is shared. A faster failure costs the next
/// process little, and that process learns at once when the server is back.
const SLOW: Duration = Duration::from_millis(500);

/// How long a shared failure holds. After that, one process probes again, and the others still pass
/// the runner over meanwhile.
const HOLDS: SignedDuration = SignedDuration::from_secs(30);

/// How long after its end an outage still counts for those who do not probe. After a longer time, all
/// probe.
const STALE: SignedDuration = SignedDuration::from_mins(10);

/// How long a runner may take to say which server it is for. It may have to read a configuration, and a
/// file on a network may never answer.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// The outages in the journal.
#[derive(Debug)]
pub(crate) struct Outages {
    store: Arc<Store>,
    /// How long a probe may take.
    connect_timeout: SignedDuration,
}

impl Outages {
    pub(crate) fn new(store: Arc<Store>, connect_timeout: Duration) -> Self {
        let connect_timeout = SignedDuration::try_from(connect_timeout).unwrap_or(HOLDS);
        Self { store, connect_timeout }
    }

    /// Returns why to pass `runner` over without a probe, if another process found that its server
    /// does not answer. Returns `None` if the caller must probe.
    pub(crate) async fn recall(&self, runner: &dyn Runner) -> Option<Error> {
        let journal = self.journal().await?;
        let now = Timestamp::now();
        let outage = ignore(journal.outage(runner.name()).await).flatten()?;
        // A clock that was set back makes no outage last longer.
        let age = now.duration_since(outage.since);
        let left = outage.until.duration_since(now);
        if age.is_negative() || left < -STALE || soon(runner.server()).await? != outage.server {
            return None;
        }
        if left.is_negative() {
            let until = now.checked_add(self.connect_timeout).ok()?;
            if ignore(journal.extend_outage(runner.name(), &outage, until).await)? {
                return None;
            }
        }
        let error = Error::new(ErrorKind::Unavailable, outage.message);
        let seen = format!("{}s ago by another process", age.as_secs());
        Some(error.with("seen", seen))
    }

    /// Shares what a probe found after `time`.
    pub(crate) async fn share(
        &self,
        runner: &dyn Runner,
        answer: Result<(), &Error>,
        time: Duration,
    ) {
        let Some(journal) = self.journal().await else { return };
        let name = runner.name();
        match answer {
            Err(error) if error.kind() == ErrorKind::Unavailable && time >= SLOW => {
                let Some(server) = soon(runner.server()).await else { return };
                let since = Timestamp::now();
                let Ok(until) = since.checked_add(HOLDS) else { return };
                let outage = Outage { server, message: error.to_string(), since, until };
                ignore(journal.record_outage(name, outage).await);
            }
            // Whatever this is, the server answers. A read costs less than a write.
            _ => {
                if ignore(journal.outage(name).await).flatten().is_some() {
                    ignore(journal.forget_outage(name).await);
                }
            }
        }
    }

    /// Returns for how long `runner` counts as ready, if another process has found that.
    pub(crate) async fn recall_ready(&self, runner: &dyn Runner) -> Option<Duration> {
        let journal = self.journal().await?;
        let known = ignore(journal.access(runner.name()).await).flatten()?;
        let age = Timestamp::now().duration_since(known.since);
        // A clock that was set back makes no answer last longer.
        if age.is_negative() || age >= HOLDS || soon(runner.access()).await? != known.access {
            return None;
        }
        Some(HOLDS.saturating_sub(age).unsigned_abs())
    }

    /// Shares that `runner` is ready.
    pub(crate) async fn share_ready(&self, runner: &dyn Runner) {
        let Some(journal) = self.journal().await else { return };
        let Some(access) = soon(runner.access()).await else { return };
        let access = Access { access, since: Timestamp::now() };
        ignore(journal.record_access(runner.name(), access).await);
    }

    /// Makes the next process ask `runner` again, after a refusal that a probe would have shown.
    pub(crate) async fn forget_ready(&self, runner: &dyn Runner, error: &Error) {
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied) {
            return;
        }
        let Some(journal) = self.journal().await else { return };
        if ignore(journal.access(runner.name()).await).flatten().is_some() {
            ignore(journal.forget_access(runner.name()).await);
        }
    }

    /// Returns the journal, if other processes may have it open.
    async fn journal(&self) -> Option<&Journal> {
        if self.store.forgets() {
            return None;
        }
        self.store.journal().await.ok()
    }
}

/// Returns what `answer` yields, if it yields that soon.
pub(crate) async fn soon<T>(answer: impl Future<Output = Option<T>>) -> Option<T> {
    timeout(SOON, answer).await.ok().flatten()
}

/// Reports an error of the journal. A probe gives the answer that the journal could have given.
fn ignore<T>(step: longshore_journal::Result<T>) -> Option<T> {
    step.inspect_err(|error| warn!(%error, "failed to share the state of a runner")).ok()
}
