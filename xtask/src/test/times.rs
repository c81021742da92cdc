//! Remembers how long each case took when it last ran in this checkout.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::plan::Case;

const FILE: &str = "times.json";

/// The milliseconds that each case took, by its label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Times(BTreeMap<String, u64>);

impl Times {
    /// Reads the times of the last run. There are none before the first.
    pub(crate) fn read(folder: &Path) -> Self {
        let text = fs::read(folder.join(FILE)).unwrap_or_default();
        Self(serde_json::from_slice(&text).unwrap_or_default())
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(&self.0)?;
        fs::write(folder.join(FILE), text).with_context(|| format!("failed to write {FILE}"))
    }

    pub(crate) fn record(&mut self, case: &Case, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.0.insert(case.label(), millis);
    }

    /// Sorts `cases` by how long they took. Those that never ran come first.
    pub(crate) fn longest_first(&self, cases: &mut [&Case]) {
        cases.sort_by_key(|case| Reverse(self.0.get(&case.label()).copied().unwrap_or(u64::MAX)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::Suite;
    use super::*;

    #[test]
    fn the_times_of_the_last_run_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let cases = [Suite::Doc, Suite::Unit].map(|suite| Case::step(suite, None));
        let mut times = Times::read(folder.path());
        times.record(&cases[0], Duration::from_secs(1));
        times.write(folder.path()).unwrap();
        let times = Times::read(folder.path());
        let mut sorted: Vec<&Case> = cases.iter().collect();
        times.longest_first(&mut sorted);
        assert_eq!(sorted, [&cases[1], &cases[0]]);
    }
}
