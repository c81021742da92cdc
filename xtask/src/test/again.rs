//! Retries a case that failed on a real backend once, alone: a machine with two cores that runs
//! three backends at once is sometimes slow. A case that then passes is counted as passed and
//! reported as flaky.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::book::Counts;
use super::execute::{self, Ended};
use super::interrupt::Interrupt;
use super::libtest;
use super::plan::{Case, Suite};

/// The maximum number of failures to retry: a machine that stalls once affects each of the six cases
/// that run at the same time. With more in one program, something is broken.
const AT_MOST: usize = 6;

/// Returns whether a failure of `case` may be chance. This excludes suites that check promises
/// under faults, and cases without a backend.
pub(crate) fn is_entitled(case: &Case, counts: &Counts) -> bool {
    let suite = matches!(
        case.suite,
        Suite::Integration | Suite::Conformance | Suite::EndToEnd | Suite::PullPolicy
    );
    let real = case.backend.is_some() || !case.needs.is_empty();
    suite && real && (1..=AT_MOST).contains(&counts.failures.len())
}

/// Runs each failed test again, with `command` and its name. Tests that pass are no longer
/// failures. `show` gets the log of each that fails again.
pub(crate) fn again(
    case: &Case,
    counts: &mut Counts,
    log: &Path,
    interrupt: &Interrupt,
    show: impl Fn(&Path),
    command: impl Fn() -> Result<Command>,
) -> Result<()> {
    for name in std::mem::take(&mut counts.failures) {
        let mut command = command()?;
        command.args(["--exact", &name]);
        let ended = execute::run(&mut command, log, case.suite.limit(), interrupt)?;
        let output = fs::read(log).unwrap_or_default();
        if has_passed(ended, &String::from_utf8_lossy(&output)) {
            counts.passed += 1;
            counts.flaky.push(name);
        } else {
            show(log);
            counts.failures.push(name);
        }
    }
    Ok(())
}

/// Returns whether the one test was found, ran, and passed.
fn has_passed(ended: Ended, output: &str) -> bool {
    let success = matches!(ended, Ended::Exited(status) if status.success());
    success && libtest::parse(output).passed == 1
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use super::super::backend_names::DOCKER29;
    use super::*;
    use longshore_lab::Group;

    fn case(suite: Suite) -> Case {
        Case { needs: vec![Group::Docker29], ..Case::step(suite, Some(DOCKER29)) }
    }

    fn failed(number: usize) -> Counts {
        let failures = (0..number).map(|i| format!("case::{i}")).collect();
        Counts { passed: 5, failures, ..Counts::default() }
    }

    #[test]
    fn a_few_failures_on_a_real_backend_get_a_second_chance() {
        assert!(is_entitled(&case(Suite::Conformance), &failed(6)));
        assert!(!is_entitled(&case(Suite::Conformance), &failed(0)));
        assert!(!is_entitled(&case(Suite::Conformance), &failed(7)));
        assert!(!is_entitled(&case(Suite::Disruptive), &failed(1)));
        assert!(!is_entitled(&Case::step(Suite::Integration, None), &failed(1)));
        assert!(is_entitled(&Case::step(Suite::EndToEnd, Some("process")), &failed(1)));
    }

    #[test]
    fn only_what_ran_and_passed_alone_is_no_failure_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let (never, _open) = Interrupt::never();
        let script = r#"case "$2" in
            case::0) echo "test result: ok. 1 passed; 0 failed; 0 ignored" ;;
            case::1) echo "test result: FAILED. 0 passed; 1 failed; 0 ignored"; exit 101 ;;
            *) echo "test result: ok. 0 passed; 0 failed; 1 ignored" ;;
        esac"#;
        let mut counts = failed(3);
        let shell = || {
            let mut command = Command::new("sh");
            command.args(["-c", script, "test"]);
            Ok(command)
        };
        let shown = Cell::new(0);
        let show = |_: &Path| shown.set(shown.get() + 1);
        again(&case(Suite::EndToEnd), &mut counts, &log, &never, show, shell).unwrap();
        assert_eq!(shown.get(), 2);
        assert_eq!(counts.passed, 6);
        assert_eq!(counts.flaky, ["case::0"]);
        assert_eq!(counts.failures, ["case::1", "case::2"]);
    }

    #[test]
    fn what_was_killed_has_not_passed() {
        let output = "test result: ok. 1 passed; 0 failed; 0 ignored";
        assert!(!has_passed(Ended::TimedOut(Duration::from_secs(1)), output));
    }
}
