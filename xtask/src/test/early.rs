//! The steps that are no test programs and need no lab: tidy, and doc tests.

use anyhow::Result;

use super::book::Counts;
use super::environment;
use super::judge::Verdict;
use super::plan::Case;
use super::suites::Floor;
use crate::lab::shell::say;
use crate::tidy;
use crate::workspace::cargo;

/// Each rule counts as one test. Whether generated files are fresh is a test
/// of the facade's.
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

/// Every crate's doc tests, by cargo itself.
pub(crate) fn doc(floor: &Floor<'_>, case: &Case) -> Result<Verdict> {
    let mut command = cargo();
    command.args(["test", "--doc", "--workspace", "--locked", "--no-fail-fast"]);
    environment::clean(&mut command, floor.scratch);
    floor.judge(case, &mut command, None)
}
