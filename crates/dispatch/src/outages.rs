//! What the processes with one journal share about runners: that a server does not answer, so that
//! only one of them waits for it, and that a runner is ready, so that only one of them asks.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use longshore_core::{Error, ErrorKind, Runner, RunnerName};
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

/// What names the server behind a runner, and the access to it: [`Runner::server`] and
/// [`Runner::access`].
#[derive(Debug)]
pub(crate) struct Names {
    server: Option<String>,
    access: Option<String>,
}

impl Names {
    pub(crate) async fn of(runner: &dyn Runner) -> Self {
        let (server, access) = tokio::join!(soon(runner.server()), soon(runner.access()));
        Self { server, access }
    }
}

/// The outages in the journal. Nothing is shared about a runner that does not give the name in question.
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
    pub(crate) async fn recall(&self, runner: &RunnerName, names: &Names) -> Option<Error> {
        let server = names.server.as_ref()?;
        let journal = self.journal().await?;
        let now = Timestamp::now();
        let outage = ignore(journal.outage(runner).await).flatten()?;
        // A clock that was set back makes no outage last longer.
        let age = now.duration_since(outage.since);
        let left = outage.until.duration_since(now);
        if age.is_negative() || left < -STALE || *server != outage.server {
            return None;
        }
        if left.is_negative() {
            let until = now.checked_add(self.connect_timeout).ok()?;
            if ignore(journal.extend_outage(runner, &outage, until).await)? {
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
        runner: &RunnerName,
        names: &Names,
        answer: Result<(), &Error>,
        time: Duration,
    ) {
        let Some(server) = names.server.clone() else { return };
        let Some(journal) = self.journal().await else { return };
        match answer {
            Err(error) if error.kind() == ErrorKind::Unavailable && time >= SLOW => {
                let since = Timestamp::now();
                let Ok(until) = since.checked_add(HOLDS) else { return };
                let outage = Outage { server, message: error.to_string(), since, until };
                ignore(journal.record_outage(runner, outage).await);
            }
            // Whatever this is, the server answers. A read costs less than a write.
            _ => {
                if ignore(journal.outage(runner).await).flatten().is_some() {
                    ignore(journal.forget_outage(runner).await);
                }
            }
        }
    }

    /// Returns for how long `runner` counts as ready, if another process has found that.
    pub(crate) async fn recall_ready(
        &self,
        runner: &RunnerName,
        names: &Names,
    ) -> Option<Duration> {
        let access = names.access.as_ref()?;
        let journal = self.journal().await?;
        let known = ignore(journal.access(runner).await).flatten()?;
        let age = Timestamp::now().duration_since(known.since);
        // A clock that was set back makes no answer last longer.
        if age.is_negative() || age >= HOLDS || *access != known.access {
            return None;
        }
        Some(HOLDS.saturating_sub(age).unsigned_abs())
    }

    /// Shares that `runner` is ready.
    pub(crate) async fn share_ready(&self, runner: &RunnerName, names: &Names) {
        let Some(access) = names.access.clone() else { return };
        let Some(journal) = self.journal().await else { return };
        let access = Access { access, since: Timestamp::now() };
        ignore(journal.record_access(runner, access).await);
    }

    /// Makes the next process ask `runner` again, after a refusal that a probe would have shown.
    pub(crate) async fn forget_ready(&self, runner: &RunnerName, error: &Error) {
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied) {
            return;
        }
        let Some(journal) = self.journal().await else { return };
        if ignore(journal.access(runner).await).flatten().is_some() {
            ignore(journal.forget_access(runner).await);
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
