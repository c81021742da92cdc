//! The suite's results, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use parking_lot::Mutex;
use serde_json::json;

/// Counts the results of the cases.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Counts>);

/// The results of the cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// The number of cases that passed.
    pub passed: usize,
    /// The number of cases that failed.
    pub failed: usize,
    /// The cases that could not run, with the reasons.
    pub unsupported: BTreeMap<String, String>,
}

impl Counts {
    /// Returns the number of cases that ran.
    #[must_use]
    pub const fn executed(&self) -> usize {
        self.passed + self.failed
    }

    /// Returns the summary of `suite` on `runner`.
    #[must_use]
    pub fn summary(&self, suite: &str, runner: &str) -> String {
        let mut text = String::new();
        for (case, reason) in &self.unsupported {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "unsupported: {case}: {reason}");
        }
        let _ = writeln!(
            text,
            "{suite} {runner}: {} executed, {} passed, {} unsupported",
            self.executed(),
            self.passed,
            self.unsupported.len()
        );
        text
    }

    fn record(&self, suite: &str, runner: &str) -> serde_json::Value {
        let unsupported: Vec<_> = self
            .unsupported
            .iter()
            .map(|(case, reason)| json!({"case": case, "reason": reason}))
            .collect();
        json!({
            "suite": suite,
            "runner": runner,
            "executed": self.executed(),
            "passed": self.passed,
            "failed": self.failed,
            "unsupported": unsupported,
        })
    }

    /// Writes the counts to `SUITE-RUNNER.json` in `folder`.
    ///
    /// # Errors
    /// The folder cannot be created or written to.
    pub fn write(&self, suite: &str, runner: &str, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{suite}-{runner}.json"));
        std::fs::write(path, format!("{:#}\n", self.record(suite, runner)))
    }
}

impl Ledger {
    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock());
    }

    /// Records a case that ran.
    pub fn executed(&self, passed: bool) {
        self.change(|counts| if passed { counts.passed += 1 } else { counts.failed += 1 });
    }

    /// Records a case that could not run, with the reason.
    pub fn unsupported(&self, case: &str, reason: &str) {
        self.change(|counts| drop(counts.unsupported.insert(case.to_owned(), reason.to_owned())));
    }

    /// Returns the results so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.lock().clone()
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
            counts.summary("conformance", "docker"),
            "unsupported: images::a: no registry\n\
             conformance docker: 2 executed, 1 passed, 1 unsupported\n"
        );
        let folder = tempfile::tempdir().unwrap();
        counts.write("conformance", "docker", &folder.path().join("new")).unwrap();
        let text = std::fs::read(folder.path().join("new/conformance-docker.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(record["executed"], 2);
        assert_eq!(record["unsupported"][0]["reason"], "no registry");
    }
}
