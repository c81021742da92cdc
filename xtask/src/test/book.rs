//! Keeps the results.

use std::collections::BTreeMap;
use std::time::Duration;

use super::plan::{Case, Suite};

/// The result of one case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub passed: usize,
    /// The failures, one line each.
    pub failures: Vec<String>,
    /// The tests that could not run, each with the reason.
    pub unsupported: Vec<(String, String)>,
    /// The passed tests that had failed at first.
    pub flaky: Vec<String>,
}

impl Counts {
    pub(crate) fn executed(&self) -> usize {
        self.passed + self.failures.len()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        self.unsupported.extend(other.unsupported);
        self.flaky.extend(other.flaky);
    }

    /// Returns a summary such as `12 passed, 1 failed, 2 unsupported`.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("{} passed", self.passed);
        for (number, word) in [
            (self.failures.len(), "failed"),
            (self.unsupported.len(), "unsupported"),
            (self.flaky.len(), "flaky"),
        ] {
            if number > 0 {
                text.push_str(&format!(", {number} {word}"));
            }
        }
        text
    }
}

/// A suite on a backend.
pub(crate) type Key = (Suite, Option<String>);

/// The results of all cases.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    pub rows: BTreeMap<Key, (Counts, Duration)>,
    /// The labels of the cases that did not run at all, by suite, backend and reason.
    pub not_run: BTreeMap<(Key, String), Vec<String>>,
    /// The required backends that were not exercised.
    pub missing: Vec<String>,
    /// Errors outside of any test: in the build, or when taking the lab down.
    pub broken: Vec<String>,
}

impl Book {
    pub(crate) fn record(&mut self, case: &Case, counts: Counts, took: Duration) {
        let row = self.rows.entry(key(case)).or_default();
        row.0.add(counts);
        row.1 += took;
    }

    pub(crate) fn not_run(&mut self, case: &Case, reason: impl Into<String>) {
        self.not_run.entry((key(case), reason.into())).or_default().push(case.label());
    }

    /// Records which of the `required` backends had no test executed.
    pub(crate) fn require(&mut self, required: &[String]) {
        let exercised = |backend: &String| {
            self.rows.iter().any(|((suite, of), (counts, _))| {
                let proves = !matches!(suite, Suite::Readme);
                proves && of.as_ref() == Some(backend) && counts.executed() > 0
            })
        };
        self.missing = required.iter().filter(|backend| !exercised(backend)).cloned().collect();
    }

    pub(crate) fn passed(&self) -> usize {
        self.rows.values().map(|(counts, _)| counts.passed).sum()
    }

    pub(crate) fn failed(&self) -> usize {
        let failed: usize = self.rows.values().map(|(counts, _)| counts.failures.len()).sum();
        failed + self.missing.len() + self.broken.len()
    }

    pub(crate) fn skipped(&self) -> usize {
        let unsupported: usize =
            self.rows.values().map(|(counts, _)| counts.unsupported.len()).sum();
        unsupported + self.not_run.values().map(Vec::len).sum::<usize>()
    }

    /// Returns whether something ran, everything that ran passed, and everything required ran.
    pub(crate) fn is_good(&self) -> bool {
        // If nothing ran, the absence of leftovers proves nothing.
        let mut rows = self.rows.iter().filter(|((suite, _), _)| *suite != Suite::Leftovers);
        rows.any(|(_, (counts, _))| counts.passed > 0) && self.failed() == 0
    }
}

fn key(case: &Case) -> Key {
    (case.suite, case.backend.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(number: usize) -> Counts {
        Counts { passed: number, ..Counts::default() }
    }

    #[test]
    fn nothing_executed_is_not_good() {
        let mut book = Book::default();
        assert!(!book.is_good());
        book.not_run(&Case::step(Suite::Conformance, Some("docker")), "no engine");
        book.record(&Case::step(Suite::Leftovers, None), passed(3), Duration::ZERO);
        assert!(!book.is_good());
        book.record(&Case::step(Suite::Unit, None), passed(1), Duration::ZERO);
        assert!(book.is_good());
    }

    #[test]
    fn a_required_backend_without_an_executed_test_is_a_failure() {
        let mut book = Book::default();
        let case = |backend| Case::step(Suite::Conformance, Some(backend));
        book.record(&case("process"), passed(2), Duration::ZERO);
        book.record(&case("docker"), passed(0), Duration::ZERO);
        book.record(&Case::step(Suite::Readme, Some("ssh")), passed(1), Duration::ZERO);
        book.require(&["process".into(), "docker".into(), "ssh".into()]);
        assert_eq!(book.missing, ["docker", "ssh"]);
        assert_eq!((book.passed(), book.failed()), (3, 2));
        assert!(!book.is_good());
    }
}
