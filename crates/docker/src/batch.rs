//! Batching items that arrive close together.
//!
//! The engine sends each record separately, and a record may be two bytes. Passing on each one
//! wakes a chain of tasks and threads, which costs more than all other work on it.

use std::pin::Pin;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::time::{Instant, sleep_until};

/// How long a record may wait for the ones after it. A record that follows a pause of that length
/// does not wait.
const WAIT: Duration = Duration::from_millis(5);
/// How many bytes are enough.
const ENOUGH: usize = 64 * 1024;

/// Returns the next items of `items`, or `None` at its end; `size` gives the bytes of an item. The
/// engine's stream is behind a channel of one item, so it never has more than a few ready.
pub(crate) async fn next_batch<S: Stream>(
    mut items: Pin<&mut S>,
    size: impl Fn(&S::Item) -> usize,
) -> Option<Vec<S::Item>> {
    let asked = Instant::now();
    let first = items.next().await?;
    let now = Instant::now();
    let follows = now.duration_since(asked) < WAIT;
    let mut late = std::pin::pin!(sleep_until(if follows { now + WAIT } else { now }));
    let mut bytes = size(&first);
    let mut some = vec![first];
    while bytes < ENOUGH {
        let next = tokio::select! {
            biased;
            next = items.next() => next,
            () = &mut late => break,
        };
        // The stream is fused: the next call returns `None` again.
        let Some(next) = next else { break };
        bytes += size(&next);
        some.push(next);
    }
    Some(some)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::stream;
    use tokio::time::sleep;

    use super::*;

    /// Items, each after a pause of so many milliseconds.
    fn paced(pauses: &[u64]) -> impl Stream<Item = usize> {
        stream::iter(pauses.to_vec()).enumerate().then(|(item, pause)| async move {
            sleep(Duration::from_millis(pause)).await;
            item
        })
    }

    async fn next(items: Pin<&mut impl Stream<Item = usize>>) -> Option<(Vec<usize>, u128)> {
        let asked = Instant::now();
        let some = next_batch(items, |_| 1).await?;
        Some((some, asked.elapsed().as_millis()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_record_after_a_pause_is_handed_on_at_once() {
        let mut items = pin!(paced(&[100, 100]).fuse());
        assert_eq!(next(items.as_mut()).await, Some((vec![0], 100)));
        assert_eq!(next(items.as_mut()).await, Some((vec![1], 100)));
        assert_eq!(next(items.as_mut()).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn records_that_follow_each_other_closely_are_handed_on_together() {
        let mut items = pin!(paced(&[100, 1, 1, 1, 100]).fuse());
        assert_eq!(next(items.as_mut()).await, Some((vec![0], 100)));
        assert_eq!(next(items.as_mut()).await, Some((vec![1, 2, 3], 6)));
        assert_eq!(next(items.as_mut()).await, Some((vec![4], 97)));
    }

    #[tokio::test(start_paused = true)]
    async fn no_record_waits_once_there_is_enough() {
        let mut items = pin!(stream::iter(0..9).fuse());
        let some = next_batch(items.as_mut(), |_| ENOUGH / 4).await;
        assert_eq!(some, Some(vec![0, 1, 2, 3]));
        assert_eq!(next(items.as_mut()).await, Some((vec![4, 5, 6, 7, 8], 0)));
        assert_eq!(next(items.as_mut()).await, None);
    }
}
