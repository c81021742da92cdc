//! Requests that a job end early, from anywhere and at any time.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Ends a job early, wherever it runs. Cheap to clone. Outlives its [`Job`](crate::Job).
#[derive(Clone, Debug)]
pub struct Canceller {
    asked: CancellationToken,
    grace: Arc<watch::Sender<Option<Duration>>>,
    own_grace: Duration,
}

impl Canceller {
    /// Creates a canceller for a job whose own grace period is `own_grace`.
    pub(crate) fn new(own_grace: Duration) -> Self {
        let (grace, _) = watch::channel(None);
        Self { asked: CancellationToken::new(), grace: Arc::new(grace), own_grace }
    }

    /// Ends the job early: TERM, the job's own grace period, KILL.
    pub fn cancel(&self) {
        self.cancel_within(self.own_grace);
    }

    /// Ends the job early with another grace period. Of several, the shortest wins.
    pub fn cancel_within(&self, grace: Duration) {
        self.grace.send_if_modified(|asked| {
            let shortens = asked.is_none_or(|before| grace < before);
            if shortens {
                *asked = Some(grace);
            }
            shortens
        });
        self.asked.cancel();
    }

    /// Ends the job without a grace period.
    pub fn kill(&self) {
        self.cancel_within(Duration::ZERO);
    }

    /// Returns whether both are clones of one canceller.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.grace, &other.grace)
    }

    /// The token that the first request cancels.
    pub(crate) const fn token(&self) -> &CancellationToken {
        &self.asked
    }

    /// The requested grace period, and every shorter one that is requested later.
    pub(crate) fn graces(&self) -> watch::Receiver<Option<Duration>> {
        self.grace.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_cancel_only_ever_shortens_the_grace_period() {
        let canceller = Canceller::new(Duration::from_secs(10));
        let graces = canceller.graces();
        assert!(!canceller.token().is_cancelled());
        canceller.cancel();
        assert!(canceller.token().is_cancelled());
        canceller.kill();
        canceller.cancel();
        assert_eq!(*graces.borrow(), Some(Duration::ZERO));
    }
}
