//! Runs the cases and says what came out.

use std::env;
use std::future::Future;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use longshore_core::{Capabilities, InstallationId};
use tokio::runtime::{Handle, Runtime};

use crate::bench::{Bench, World};
use crate::case::Case;
use crate::failure::Checked;
use crate::report::{Counts, Ledger};
use crate::{Failure, Fixture, Unsupported, cases};

/// Runs the suite against the runner that `start` sets up, and gives what `main` returns.
///
/// `runner` is the name under which the counts are reported, and which `LONGSHORE_REQUIRE` may
/// list. `start` is not called for `--list`.
///
/// The exit code is 0 if every case that ran has passed and at least one ran, or if `start` says
/// that there is nothing to test against and `LONGSHORE_REQUIRE` does not ask for it; else 101.
pub fn main<F, S, Fut>(runner: &str, start: S) -> ExitCode
where
    F: Fixture,
    S: FnOnce() -> Fut,
    Fut: Future<Output = Result<F, Unsupported>>,
{
    match run(runner, start) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(failure) => {
            say(&format!("conformance {runner}: {failure}\n"));
            ExitCode::from(101)
        }
    }
}

fn run<F, S, Fut>(runner: &str, start: S) -> Checked<bool>
where
    F: Fixture,
    S: FnOnce() -> Fut,
    Fut: Future<Output = Result<F, Unsupported>>,
{
    let mut arguments = Arguments::from_args();
    if arguments.list {
        let trials = every_case().map(|case| Trial::test(case.name, || Ok(()))).collect();
        let _ = libtest_mimic::run(&arguments, trials);
        return Ok(true);
    }
    let runtime = Runtime::new()?;
    let fixture = match runtime.block_on(start()) {
        Ok(fixture) => fixture,
        Err(reason) => return nothing_to_test(runner, &reason),
    };
    arguments.test_threads.get_or_insert(fixture.concurrency());
    let whole = is_whole(&arguments);
    let suite = runtime.block_on(Suite::new(fixture, runtime.handle().clone()))?;
    let suite = Arc::new(suite);
    let first = libtest_mimic::run(&arguments, suite.trials(cases::all()));
    // What is left behind shows only when all others are done.
    let last = libtest_mimic::run(&arguments, suite.trials(cases::last()));
    let counts = suite.ledger.counts();
    close(runner, &counts)?;
    if whole && counts.executed() == 0 {
        return Err(Failure::new("no case was executed: that proves nothing"));
    }
    Ok(!first.has_failed() && !last.has_failed())
}

/// Whether the arguments select every case.
fn is_whole(arguments: &Arguments) -> bool {
    arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored
}

fn every_case() -> impl Iterator<Item = Case> {
    cases::all().into_iter().chain(cases::last())
}

fn nothing_to_test(runner: &str, reason: &Unsupported) -> Checked<bool> {
    let ledger = Ledger::default();
    for case in every_case() {
        ledger.unsupported(&case.name, &reason.to_string());
    }
    let counts = ledger.counts();
    counts.write(runner, env::var_os("LONGSHORE_TEST_REPORT"))?;
    say(&format!(
        "unsupported: {reason}\nconformance {runner}: 0 executed, 0 passed, {} unsupported\n",
        counts.unsupported.len()
    ));
    let required = env::var("LONGSHORE_REQUIRE").unwrap_or_default();
    if is_required(runner, &required) {
        return Err(Failure::new("LONGSHORE_REQUIRE asks for this runner"));
    }
    Ok(true)
}

fn is_required(runner: &str, required: &str) -> bool {
    required.split(',').map(str::trim).any(|name| name == runner || name == "all")
}

fn close(runner: &str, counts: &Counts) -> Checked {
    say(&counts.summary(runner));
    counts
        .write(runner, env::var_os("LONGSHORE_TEST_REPORT"))
        .map_err(|e| Failure::from(e).while_doing("failed to write LONGSHORE_TEST_REPORT"))
}

fn say(text: &str) {
    // A closed pipe is the reader's wish; the exit code still tells.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

struct Suite {
    world: Arc<World>,
    capabilities: Capabilities,
    ledger: Arc<Ledger>,
    runtime: Handle,
}

impl Suite {
    async fn new(fixture: impl Fixture, runtime: Handle) -> Checked<Self> {
        let capabilities = *fixture.runner().await?.capabilities();
        let world = Arc::new(World::new(Box::new(fixture), InstallationId::random()));
        Ok(Self { world, capabilities, ledger: Arc::default(), runtime })
    }

    fn trials(self: &Arc<Self>, cases: Vec<Case>) -> Vec<Trial> {
        cases
            .into_iter()
            .map(|case| {
                let suite = Arc::clone(self);
                Trial::ignorable_test(case.name.clone(), move || suite.execute(&case))
            })
            .collect()
    }

    fn execute(&self, case: &Case) -> Result<Completion, Failed> {
        if let Some(reason) = case.unsupported(&self.capabilities, self.world.fixture()) {
            self.ledger.unsupported(&case.name, &reason);
            return Ok(Completion::ignored_with(format!("unsupported: {reason}")));
        }
        let bench = Arc::new(Bench::new(Arc::clone(&self.world), self.capabilities));
        let result = self.runtime.block_on(bounded(case, bench));
        self.ledger.executed(result.is_ok());
        result.map(|()| Completion::Completed).map_err(Failed::from)
    }
}

/// Runs a case within its time, and removes what it launched, however it went.
async fn bounded(case: &Case, bench: Arc<Bench>) -> Checked {
    let limit = bench.patience() * case.patience;
    // A task of its own, so that a panic in a runner is a failure of the case, and its jobs are
    // still removed.
    let mut task = tokio::spawn((case.body)(Arc::clone(&bench)));
    let result = match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => Err(Failure::new(format!("the case panicked: {panic}"))),
        Err(_) => {
            task.abort();
            Err(Failure::new(format!(
                "the case was not done after {limit:?}; {}",
                bench.last_step()
            )))
        }
    };
    let cleaned = bench.clean_up().await;
    result.and(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_is_required_by_its_name_or_by_all() {
        assert!(is_required("docker", "process, docker"));
        assert!(is_required("docker", "all"));
        assert!(!is_required("docker", ""));
        assert!(!is_required("docker", "dockerish"));
    }

    #[test]
    fn the_suite_has_enough_cases_and_no_name_twice() {
        let names: std::collections::BTreeSet<_> = every_case().map(|case| case.name).collect();
        assert_eq!(names.len(), every_case().count());
    }
}
