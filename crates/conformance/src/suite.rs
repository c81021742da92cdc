//! Runs the cases and reports the results.

use std::env;
use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use longshore_core::{Capabilities, InstallationId, Runner};
use tokio::runtime::{Handle, Runtime};
use tokio::time::Instant;

use crate::bench::{Bench, World};
use crate::case::Case;
use crate::failure::Checked;
use crate::report::{Counts, Ledger};
use crate::{Failure, Fixture, Unsupported, cases};

/// The suite's name in the report.
const NAME: &str = "conformance";

/// Runs the suite against the runner that `start` sets up, and returns the exit code for `main`.
///
/// `runner` is the name under which the counts are reported, and which `LONGSHORE_REQUIRE` may
/// list. `start` is not called for `--list`.
///
/// The exit code is 0 if at least one case ran and every case that ran passed. It is also 0 if
/// `start` returns `Unsupported` and `LONGSHORE_REQUIRE` does not name the runner. Otherwise it is
/// 101.
pub fn main<F, S, Fut>(runner: &str, start: S) -> ExitCode
where
    F: Fixture,
    S: FnOnce() -> Fut,
    Fut: Future<Output = Result<F, Unsupported>>,
{
    let settings = Settings {
        arguments: Arguments::from_args(),
        required: env::var("LONGSHORE_REQUIRE").unwrap_or_default(),
        report: env::var_os("LONGSHORE_TEST_REPORT"),
    };
    match run(runner, settings, start) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(failure) => {
            say(&format!("conformance {runner}: {failure}\n"));
            ExitCode::from(101)
        }
    }
}

/// What the command line and the environment ask for.
pub(crate) struct Settings {
    pub(crate) arguments: Arguments,
    /// The runners that must be tested, separated by commas.
    pub(crate) required: String,
    /// The folder for the counts.
    pub(crate) report: Option<OsString>,
}

/// Returns whether every case passed. An error reports a problem other than a failed case.
pub(crate) fn run<F, S, Fut>(runner: &str, mut settings: Settings, start: S) -> Checked<bool>
where
    F: Fixture,
    S: FnOnce() -> Fut,
    Fut: Future<Output = Result<F, Unsupported>>,
{
    if settings.arguments.list {
        let trials = every_case().map(|case| Trial::test(case.name, || Ok(()))).collect();
        let _ = libtest_mimic::run(&settings.arguments, trials);
        return Ok(true);
    }
    let runtime = Runtime::new()?;
    let fixture = match runtime.block_on(start()) {
        Ok(fixture) => fixture,
        Err(reason) => return nothing_to_test(runner, &settings, &reason),
    };
    let arguments = &mut settings.arguments;
    arguments.test_threads.get_or_insert(fixture.concurrency());
    let suite = runtime.block_on(Suite::new(fixture, runtime.handle().clone()))?;
    let suite = Arc::new(suite);
    match runtime.block_on(suite.world.measure(suite.capabilities)) {
        Ok(latency) => say(&format!("conformance {runner}: a start takes {latency}\n")),
        Err(failure) => say(&format!("conformance {runner}: {failure}\n")),
    }
    let alone = Arguments { test_threads: Some(1), ..arguments.clone() };
    let alone = libtest_mimic::run(&alone, suite.trials(cases::first()));
    let first = libtest_mimic::run(arguments, suite.trials(cases::all()));
    // These look for leftovers, so they run after all others.
    let last = libtest_mimic::run(arguments, suite.trials(cases::last()));
    let counts = suite.ledger.counts();
    close(runner, &settings, &counts)?;
    proves_something(&settings.arguments, &counts)?;
    Ok(!alone.has_failed() && !first.has_failed() && !last.has_failed())
}

/// Fails if no case was executed, unless the arguments select only some cases: `cargo test NAME`
/// passes NAME to every suite.
fn proves_something(arguments: &Arguments, counts: &Counts) -> Checked {
    if is_whole(arguments) && counts.executed() == 0 {
        return Err(Failure::new("no case was executed: that proves nothing"));
    }
    Ok(())
}

/// Whether the arguments select every case.
fn is_whole(arguments: &Arguments) -> bool {
    arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored
}

fn every_case() -> impl Iterator<Item = Case> {
    [cases::first(), cases::all(), cases::last()].into_iter().flatten()
}

fn nothing_to_test(runner: &str, settings: &Settings, reason: &Unsupported) -> Checked<bool> {
    let ledger = Ledger::default();
    for case in every_case() {
        ledger.unsupported(&case.name, &reason.to_string());
    }
    let counts = ledger.counts();
    write(runner, settings, &counts)?;
    say(&format!(
        "unsupported: {reason}\nconformance {runner}: 0 executed, 0 passed, {} unsupported\n",
        counts.unsupported.len()
    ));
    if is_required(runner, &settings.required) {
        return Err(Failure::new("LONGSHORE_REQUIRE asks for this runner"));
    }
    Ok(true)
}

fn is_required(runner: &str, required: &str) -> bool {
    required.split(',').map(str::trim).any(|name| name == runner || name == "all")
}

fn close(runner: &str, settings: &Settings, counts: &Counts) -> Checked {
    say(&counts.summary(NAME, runner));
    write(runner, settings, counts)
}

fn write(runner: &str, settings: &Settings, counts: &Counts) -> Checked {
    let Some(folder) = &settings.report else { return Ok(()) };
    counts
        .write(NAME, runner, Path::new(folder))
        .map_err(|e| Failure::from(e).while_doing("failed to write LONGSHORE_TEST_REPORT"))
}

fn say(text: &str) {
    // If the reader closed the pipe, the exit code still reports the result.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

struct Suite {
    world: Arc<World>,
    /// Only asked what it can do.
    runner: Arc<dyn Runner>,
    capabilities: Capabilities,
    ledger: Arc<Ledger>,
    runtime: Handle,
}

impl Suite {
    async fn new(fixture: impl Fixture, runtime: Handle) -> Checked<Self> {
        let runner = fixture.runner().await?;
        let capabilities = *runner.capabilities();
        let target = runner.target().await;
        let world = World::new(Box::new(fixture), InstallationId::random()).at(target);
        let world = Arc::new(world);
        Ok(Self { world, runner, capabilities, ledger: Arc::default(), runtime })
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
        if let Some(reason) = case.unsupported(&*self.runner, self.world.fixture()) {
            self.ledger.unsupported(&case.name, &reason);
            return Ok(Completion::ignored_with(format!("unsupported: {reason}")));
        }
        let bench = Arc::new(Bench::new(Arc::clone(&self.world), self.capabilities));
        let result = self.runtime.block_on(bounded(case, bench));
        self.ledger.executed(result.is_ok());
        if let Err(failure) = &result {
            // Printed at once: the list of failures at the end is lost if the suite is killed.
            let _ = writeln!(io::stderr().lock(), "failed: {}: {failure}", case.name);
        }
        result.map(|()| Completion::Completed).map_err(Failed::from)
    }
}

/// Runs a case within its time limit, and removes what it launched whether or not it passed.
pub(crate) async fn bounded(case: &Case, bench: Arc<Bench>) -> Checked {
    // Once for all cases. One that needs the latency fails if it could not be measured.
    let _ = bench.world().measure(bench.capabilities()).await;
    let began = Instant::now();
    // A separate task, so that a panic in a runner fails the case and its jobs are still
    // removed.
    let mut task = tokio::spawn((case.body)(Arc::clone(&bench)));
    let result = loop {
        let limit = bench.patience() * case.patience;
        match tokio::time::timeout_at(began + limit, &mut task).await {
            Ok(Ok(result)) => break result,
            Ok(Err(panic)) => break Err(Failure::new(format!("the case panicked: {panic}"))),
            // The machine got busier meanwhile.
            Err(_) if began.elapsed() < bench.patience() * case.patience => {}
            Err(_) => {
                task.abort();
                let step = bench.last_step();
                break Err(Failure::new(format!("the case was not done after {limit:?}; {step}")));
            }
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
    fn a_suite_that_executes_nothing_fails_unless_it_was_narrowed() {
        let arguments = |filter: &[&str]| Arguments::from_iter([&["suite"], filter].concat());
        let none =
            Counts { unsupported: [("a".to_owned(), "b".to_owned())].into(), ..Counts::default() };
        assert!(proves_something(&arguments(&[]), &none).is_err());
        proves_something(&arguments(&["launch::"]), &none).unwrap();
        proves_something(&arguments(&[]), &Counts { failed: 1, ..none }).unwrap();
    }

    #[test]
    fn the_suite_has_enough_cases_and_no_name_twice() {
        let names: std::collections::BTreeSet<_> = every_case().map(|case| case.name).collect();
        assert_eq!(names.len(), every_case().count());
        assert!(names.len() >= 100, "{} cases", names.len());
    }
}
