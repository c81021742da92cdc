//! The steps that are not test programs and need no lab: tidy, and doc tests.

use anyhow::Result;
use longshore_lab::say;

use super::book::Counts;
use super::environment;
use super::judge::Verdict;
use super::plan::Case;
use super::suites::Floor;
use crate::tidy;
use crate::workspace::cargo;

/// Runs the rules; each counts as one test. A test of the facade checks whether
/// generated files are up to date.
pub(crate) fn tidy(floor: &Floor<'_>) -> Result<Verdict> {
    let mut counts = Counts::default();
    for (rule, found) in tidy::check(floor.workspace)? {
        found.iter().for_each(|finding| say!("{finding}"));
        match found.len() {
            0 => counts.passed += 1,
            number => counts.failures.push(format!("{rule}: {number} found")),
        }
    }
    Ok(Verdict::Counted(counts))
}

/// Runs every crate's doc tests, with cargo itself.
pub(crate) fn doc(floor: &Floor<'_>, case: &Case) -> Result<Verdict> {
    let mut command = cargo();
    command.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]);
    environment::clean(&mut command, floor.scratch);
    floor.judge(case, &mut command, None)
}
