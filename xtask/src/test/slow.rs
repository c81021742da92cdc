//! The tests that `--quick` leaves out.

use std::process::Command;

use anyhow::Result;
use longshore_lab::shell;

/// What the names of tests in a module `slow` have in common.
const SLOW: &str = "::slow::";

/// The reason that the results show.
const REASON: &str = "--quick leaves it out";

/// Makes the test program `command` leave out its slow tests. Returns their names, which `list`, the
/// same program, prints, each with the reason.
pub(crate) fn leave_out(command: &mut Command, mut list: Command) -> Result<Vec<(String, String)>> {
    command.args(["--skip", SLOW]);
    let listed = shell::capture(list.arg("--list"))?;
    Ok(slow(&listed).map(|name| (name.to_owned(), REASON.to_owned())).collect())
}

fn slow(listed: &str) -> impl Iterator<Item = &str> {
    let names = listed.lines().filter_map(|line| line.strip_suffix(": test"));
    names.filter(|name| name.contains(SLOW))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_names_the_tests_that_it_leaves_out() {
        let mut list = Command::new("printf");
        list.arg("a::slow::b: test\na::c: test\nslow: test\n%s");
        let mut command = Command::new("true");
        let left_out = leave_out(&mut command, list).unwrap();
        assert_eq!(left_out, [("a::slow::b".to_owned(), REASON.to_owned())]);
        assert_eq!(command.get_args().collect::<Vec<_>>(), ["--skip", SLOW]);
    }
}
