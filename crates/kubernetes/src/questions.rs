//! Bounds the requests for Events, which the API server answers slowly.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

/// How many requests a runner has in flight at most. The API server reads all Events of the namespace for
/// each of them, as Events have no index.
const AT_ONCE: usize = 2;
/// How long a caller waits for its turn and its answer.
const LIMIT: Duration = Duration::from_secs(3);

/// The requests for Events of one runner.
#[derive(Debug)]
pub(crate) struct Questions(Semaphore);

impl Questions {
    pub(crate) const fn new() -> Self {
        Self(Semaphore::const_new(AT_ONCE))
    }

    /// Returns the answer to `request`; `None` if it fails, or if there is none in time.
    pub(crate) async fn ask<T, E>(&self, request: impl Future<Output = Result<T, E>>) -> Option<T> {
        let asking = async {
            let _turn = self.0.acquire().await.ok()?;
            request.await.ok()
        };
        timeout(LIMIT, asking).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{Instant, sleep};

    use super::*;

    struct Over<'a>(&'a AtomicUsize);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// A hundred jobs that started at once asked a hundred times at once.
    #[tokio::test(start_paused = true)]
    async fn many_jobs_that_start_at_once_ask_for_events_in_turns() {
        let (questions, now, most) = (Questions::new(), AtomicUsize::new(0), AtomicUsize::new(0));
        let begun = Instant::now();
        let jobs = (0..100).map(|_| {
            questions.ask(async {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // A request is over, too, when its caller gives it up.
                let _over = Over(&now);
                sleep(LIMIT * 2 / 3).await;
                Ok::<_, ()>(())
            })
        });
        let answers = futures::future::join_all(jobs).await;
        assert_eq!(most.load(Ordering::SeqCst), AT_ONCE);
        let answered = answers.iter().flatten().count();
        assert_eq!(answered, AT_ONCE, "the others had no turn, or no answer in time");
        assert!(begun.elapsed() < LIMIT * 2, "{:?}", begun.elapsed());
        // A turn that was given up is free again.
        assert_eq!(questions.ask(async { Ok::<_, ()>(1) }).await, Some(1));
    }
}
