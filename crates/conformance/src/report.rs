//! What came out, for people and for machines.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

/// Counts what became of each case.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Counts>);

/// What became of the cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// The cases that could not run, and why.
    pub(crate) unsupported: BTreeMap<String, String>,
}

impl Counts {
    pub(crate) const fn executed(&self) -> usize {
        self.passed + self.failed
    }

    /// The closing lines of the suite.
    pub(crate) fn summary(&self, runner: &str) -> String {
        let mut text = String::new();
        for (case, reason) in &self.unsupported {
            // Writing to a String does not fail.
            let _ = writeln!(text, "unsupported: {case}: {reason}");
        }
        let _ = writeln!(
            text,
            "conformance {runner}: {} executed, {} passed, {} unsupported",
            self.executed(),
            self.passed,
            self.unsupported.len()
        );
        text
    }

    fn record(&self, runner: &str) -> serde_json::Value {
        let unsupported: Vec<_> = self
            .unsupported
            .iter()
            .map(|(case, reason)| json!({"case": case, "reason": reason}))
            .collect();
        json!({
            "suite": "conformance",
            "runner": runner,
            "executed": self.executed(),
            "passed": self.passed,
            "failed": self.failed,
            "unsupported": unsupported,
        })
    }

    /// Writes the counts to `folder`, if one is named.
    pub(crate) fn write(&self, runner: &str, folder: Option<&OsStr>) -> std::io::Result<()> {
        let Some(folder) = folder else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        let path = Path::new(folder).join(format!("conformance-{runner}.json"));
        std::fs::write(path, format!("{:#}\n", self.record(runner)))
    }
}

impl Ledger {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn executed(&self, passed: bool) {
        self.change(|counts| if passed { counts.passed += 1 } else { counts.failed += 1 });
    }

    pub(crate) fn unsupported(&self, case: &str, reason: &str) {
        self.change(|counts| drop(counts.unsupported.insert(case.to_owned(), reason.to_owned())));
    }

    pub(crate) fn counts(&self) -> Counts {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_told_to_people_and_to_machines() {
        let ledger = Ledger::default();
        ledger.executed(true);
        ledger.executed(false);
        ledger.unsupported("images::a", "no registry");
        let counts = ledger.counts();
        assert_eq!(
            counts.summary("docker"),
            "unsupported: images::a: no registry\n\
             conformance docker: 2 executed, 1 passed, 1 unsupported\n"
        );
        let folder = tempfile::tempdir().unwrap();
        counts.write("docker", Some(folder.path().join("new").as_os_str())).unwrap();
        let text = std::fs::read(folder.path().join("new/conformance-docker.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(record["executed"], 2);
        assert_eq!(record["unsupported"][0]["reason"], "no registry");
    }
}
