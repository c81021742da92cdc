//! The cases, in groups after the trait's methods.

mod cancel;
mod launch;
mod leftovers;
mod logs;
mod outcome;

use crate::case::Case;

/// Every case that may run beside the others.
pub(crate) fn all() -> Vec<Case> {
    [launch::cases(), outcome::cases(), logs::cases(), cancel::cases()]
        .into_iter()
        .flatten()
        .collect()
}

/// The cases that run when all others are done.
pub(crate) fn last() -> Vec<Case> {
    leftovers::cases()
}

/// A job that runs `command` with `args`, in whichever way the fixture's jobs run.
pub(crate) fn with_command(
    bench: &crate::bench::Bench,
    command: &[&str],
    args: &[&str],
) -> longshore_core::JobSpec {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let mut spec = bench.fixture().job("exit 0");
    if let Some(container) = &mut spec.container {
        container.command = texts(command);
        container.args = texts(args);
    }
    if let Some(process) = &mut spec.process {
        process.command = texts(command);
        process.args = texts(args);
    }
    spec
}
