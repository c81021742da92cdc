//! The result of a case, and functions for expectations.

use std::fmt::Debug;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

/// The result of a case.
pub(crate) type Checked<T = ()> = Result<T>;

/// Fails unless `seen` equals `expected`.
pub(crate) fn same<T: PartialEq<U> + Debug, U: Debug>(what: &str, seen: T, expected: U) -> Checked {
    ensure!(seen == expected, "{what}: expected {expected:?}, seen {seen:?}");
    Ok(())
}

/// Fails unless `text` contains each of `parts`.
pub(crate) fn says(text: &str, parts: &[&str]) -> Checked {
    for part in parts {
        ensure!(text.contains(part), "it does not contain {part:?}: {text:?}");
    }
    Ok(())
}

/// Calls `look` until it finds something, and fails with `what` after `limit`.
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
