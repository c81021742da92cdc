//! Waits that always have a deadline.

use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::Failure;
use crate::failure::Checked;

/// The interval at which a condition is checked if no event announces it.
const LOOK: Duration = Duration::from_millis(50);

/// Awaits `future`, and fails with `what` after `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    future: impl Future<Output = T>,
) -> Checked<T> {
    timeout(limit, future).await.map_err(|_| Failure::new(format!("waited {limit:?} for {what}")))
}

/// Calls `look` until it finds something, and fails with `what` after `limit`.
pub(crate) async fn until<T, F>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> Checked<T>
where
    F: Future<Output = Checked<Option<T>>>,
{
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {limit:?} for {what}")));
        }
        sleep(LOOK).await;
    }
}

/// Calls `look` until its result has not changed for `still`, and fails with `what` after `limit`.
pub(crate) async fn until_still<T, F>(
    still: Duration,
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> F,
) -> Checked<T>
where
    T: PartialEq,
    F: Future<Output = Checked<T>>,
{
    let deadline = Instant::now() + limit;
    let mut last = look().await?;
    let mut since = Instant::now();
    loop {
        if since.elapsed() >= still {
            return Ok(last);
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("waited {limit:?} for {what}")));
        }
        sleep(LOOK).await;
        let seen = look().await?;
        if seen != last {
            last = seen;
            since = Instant::now();
        }
    }
}
