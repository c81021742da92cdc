//! Determines the result of a program.

use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::book::Counts;
use super::execute::Ended;
use super::libtest;
use super::plan::{Case, Suite};

/// The result of a test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Counted(Counts),
    /// It had nothing to test against, with the reason.
    NotRun(String),
}

/// The report that a suite that knows its backend writes.
#[derive(Debug, Clone, Deserialize)]
struct Report {
    passed: usize,
    failed: usize,
    unsupported: Vec<Unsupported>,
}

#[derive(Debug, Clone, Deserialize)]
struct Unsupported {
    case: String,
    reason: String,
}

/// Judges a program by how it ended, what it printed, and the file `report` if
/// its suite writes one.
pub(crate) fn judge(case: &Case, ended: Ended, output: &str, report: Option<&Path>) -> Verdict {
    let failed_by_itself = match ended {
        Ended::Exited(status) if status.success() => None,
        Ended::Exited(status) => Some(format!("{}: {status}", case.label())),
        Ended::TimedOut(limit) => {
            Some(format!("{}: killed after {} s", case.label(), limit.as_secs()))
        }
        Ended::Interrupted => return Verdict::NotRun("interrupted".to_owned()),
    };
    let mut counts = match report {
        None => counted(case, output),
        Some(path) => match read(path) {
            Ok(report) if report.passed + report.failed == 0 => match nothing(&report) {
                Some(reason) => return Verdict::NotRun(reason),
                None => counted(case, output),
            },
            Ok(report) => reported(report, output),
            Err(problem) => Counts { failures: vec![problem], ..counted(case, output) },
        },
    };
    // The program died, or failed outside of any test.
    if counts.failures.is_empty() || !matches!(ended, Ended::Exited(_)) {
        counts.failures.extend(failed_by_itself);
    }
    Verdict::Counted(counts)
}

fn counted(case: &Case, output: &str) -> Counts {
    let said = libtest::parse(output);
    let mut failures = said.failures;
    // Doc tests of an empty crate have no summary of their own.
    if said.summaries == 0 && case.suite != Suite::Doc {
        failures.push(format!("{}: it printed no test results", case.label()));
    }
    Counts { passed: said.passed, failures, unsupported: said.ignored, ..Counts::default() }
}

fn read(path: &Path) -> Result<Report, String> {
    let problem = |error: &dyn std::fmt::Display| format!("no report {}: {error}", path.display());
    let text = fs::read(path).map_err(|error| problem(&error))?;
    serde_json::from_slice(&text).map_err(|error| problem(&error))
}

fn nothing(report: &Report) -> Option<String> {
    report.unsupported.first().map(|unsupported| unsupported.reason.clone())
}

fn reported(report: Report, output: &str) -> Counts {
    let mut failures = libtest::parse(output).failures;
    failures.truncate(report.failed);
    let unnamed = report.failed.saturating_sub(failures.len());
    failures.extend((0..unnamed).map(|_| "a case".to_owned()));
    let unsupported = report.unsupported.into_iter().map(|it| (it.case, it.reason)).collect();
    Counts { passed: report.passed, failures, unsupported, ..Counts::default() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;
    use std::time::Duration;

    use super::*;

    fn case() -> Case {
        Case::step(Suite::Conformance, Some("docker"))
    }

    fn exited(code: i32) -> Ended {
        Ended::Exited(ExitStatus::from_raw(code << 8))
    }

    fn counts(verdict: Verdict) -> Counts {
        match verdict {
            Verdict::Counted(counts) => counts,
            Verdict::NotRun(reason) => panic!("not run: {reason}"),
        }
    }

    fn reporting(report: &str, ended: Ended, output: &str) -> Verdict {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("report.json");
        fs::write(&path, report).unwrap();
        judge(&case(), ended, output, Some(&path))
    }

    #[test]
    fn a_program_that_died_has_failed_whatever_it_had_counted() {
        let output = "test result: ok. 2 passed; 0 failed; 0 ignored";
        let found = counts(judge(&case(), exited(3), output, None));
        assert_eq!((found.passed, found.failures.len()), (2, 1));
        let found = counts(judge(&case(), Ended::TimedOut(Duration::from_secs(9)), "", None));
        assert!(found.failures.iter().any(|it| it.contains("killed after 9 s")), "{found:?}");
    }

    #[test]
    fn a_program_that_says_nothing_has_failed() {
        assert_eq!(counts(judge(&case(), exited(0), "", None)).failures.len(), 1);
    }

    #[test]
    fn a_failed_test_counts_once() {
        let output = "test a ... FAILED\ntest result: FAILED. 2 passed; 1 failed; 0 ignored";
        assert_eq!(counts(judge(&case(), exited(101), output, None)).failures, ["a"]);
    }

    #[test]
    fn a_report_is_believed_before_the_output() {
        let report = r#"{"suite": "conformance", "runner": "docker", "executed": 4, "passed": 3,
            "failed": 1, "unsupported": [{"case": "b", "reason": "no streams"}]}"#;
        let found = counts(reporting(report, exited(101), "test a ... FAILED\n"));
        assert_eq!((found.passed, found.failures), (3, vec!["a".to_owned()]));
        assert_eq!(found.unsupported, [("b".to_owned(), "no streams".to_owned())]);
    }

    #[test]
    fn a_suite_with_nothing_to_test_against_did_not_run() {
        let report = r#"{"passed": 0, "failed": 0,
            "unsupported": [{"case": "b", "reason": "set DOCKER_HOST"}]}"#;
        let found = reporting(report, exited(101), "");
        assert_eq!(found, Verdict::NotRun("set DOCKER_HOST".to_owned()));
    }

    #[test]
    fn a_missing_report_is_a_failure() {
        let found = judge(&case(), exited(0), "", Some(Path::new("no/such.json")));
        assert!(counts(found).failures[0].contains("no/such.json"));
    }
}
