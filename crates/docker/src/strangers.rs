//! Warnings about containers with the labels of an attempt that are not provably the attempt's.

use std::collections::HashSet;

use parking_lot::Mutex;

/// The most strangers that are kept, for the warnings about them.
const MOST_STRANGERS: usize = 1024;

/// The containers about which this process has warned, by id.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<HashSet<String>>);

impl Strangers {
    /// Warns about the container `id`, once.
    pub(crate) fn warn(&self, id: &str, attempt: &str) {
        let mut known = self.0.lock();
        if known.len() < MOST_STRANGERS && known.insert(id.to_owned()) {
            tracing::warn!(
                container = id,
                attempt,
                "a container has the labels of an attempt and not its name: Longshore does not \
                 touch it"
            );
        }
    }
}
