//! What a case comes to, and how expectations are said.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// What a case comes to.
pub(crate) type Checked<T = ()> = Result<T>;

/// Fails unless `seen` is what was `expected`.
pub(crate) fn same<T: PartialEq<U> + Debug, U: Debug>(what: &str, seen: T, expected: U) -> Checked {
    ensure!(seen == expected, "{what}: expected {expected:?}, seen {seen:?}");
    Ok(())
}

/// Fails unless `text` holds each of `parts`.
pub(crate) fn says(text: &str, parts: &[&str]) -> Checked {
    for part in parts {
        ensure!(text.contains(part), "it does not say {part:?}: {text:?}");
    }
    Ok(())
}

/// Looks until `look` finds something, and fails with `what` after `limit`.
pub(crate) fn until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> Checked<Option<T>>,
) -> Checked<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("waited {limit:?} in vain for {what}");
        }
        thread::sleep(Duration::from_millis(25));
    }
}
