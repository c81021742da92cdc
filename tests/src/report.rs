//! What came out, for people and for machines; in the form of the conformance suite's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

/// Counts what became of each case.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Counts>);

/// What became of the cases.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// The cases that could not run, and why.
    pub(crate) unsupported: BTreeMap<String, String>,
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

impl Counts {
    pub(crate) const fn executed(&self) -> usize {
        self.passed + self.failed
    }

    /// The closing lines.
    pub(crate) fn summary(&self, runner: &str) -> String {
        let mut text = String::new();
        for (case, reason) in &self.unsupported {
            // Writing to a String does not fail.
            let _ = writeln!(text, "unsupported: {case}: {reason}");
        }
        let (executed, unsupported) = (self.executed(), self.unsupported.len());
        let _ = writeln!(
            text,
            "end-to-end {runner}: {executed} executed, {} passed, {unsupported} unsupported",
            self.passed
        );
        text
    }

    /// Writes the counts to `folder`.
    pub(crate) fn write(&self, runner: &str, folder: &Path) -> std::io::Result<()> {
        let unsupported: Vec<_> = self
            .unsupported
            .iter()
            .map(|(case, reason)| json!({"case": case, "reason": reason}))
            .collect();
        let record = json!({
            "suite": "end-to-end",
            "runner": runner,
            "executed": self.executed(),
            "passed": self.passed,
            "failed": self.failed,
            "unsupported": unsupported,
        });
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(format!("end-to-end-{runner}.json")), format!("{record:#}\n"))
    }
}
