//! Runs the cases and reports the results.

use std::env;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use longshore_conformance::Ledger;
use parking_lot::Mutex;

use crate::backend::Backend;
use crate::bench::Bench;
use crate::cases::{self, Case};
use crate::lab::Lab;
use crate::leftovers::{self, Trace};

/// The name under which the suites' counts are reported.
const NAME: &str = "end-to-end";

/// A test target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    /// Local processes, and the command without any backend.
    Process,
    /// A Docker engine.
    Docker,
    /// A Kubernetes cluster.
    Kubernetes,
    /// The chart, and the commands of docs/operating.md, on a Kubernetes cluster.
    Helm,
    /// Backends that stop and start again.
    Disruptive,
}

impl Suite {
    const fn name(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Docker => "docker",
            Self::Kubernetes => "kubernetes",
            Self::Helm => "helm",
            Self::Disruptive => "disruptive",
        }
    }

    /// Returns the name for the counts, which `LONGSHORE_REQUIRE` may list. Several engines can be
    /// tested, each under its own name.
    fn title(self) -> String {
        let given = (self == Self::Docker).then(|| env::var("LONGSHORE_DOCKER_NAME").ok());
        given.flatten().unwrap_or_else(|| self.name().to_owned())
    }

    /// Returns the backends that it needs; cases run on the first.
    const fn backends(self) -> &'static [Backend] {
        match self {
            Self::Process => &[Backend::Process],
            Self::Docker => &[Backend::Docker],
            Self::Kubernetes => &[Backend::Kubernetes],
            // An engine builds the command's image.
            Self::Helm => &[Backend::Kubernetes, Backend::Docker],
            Self::Disruptive => &[Backend::Kubernetes, Backend::Docker, Backend::Process],
        }
    }

    /// Returns how many cases run concurrently, unless `--test-threads` is set. They spend most of
    /// their time waiting.
    const fn concurrency(self) -> usize {
        match self {
            Self::Process | Self::Docker => 4,
            Self::Kubernetes => 6,
            Self::Helm => 3,
            Self::Disruptive => 1,
        }
    }
}

/// Runs a suite, and returns the exit code for `main`: 0 if every case that ran has passed.
///
/// `LONGSHORE_REQUIRE` is a comma-separated list of runners, or `all`. If one of them is missing,
/// its suite fails instead of being listed as unsupported.
#[must_use]
pub fn main(suite: Suite) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(suite.concurrency());
    match run(suite, &arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(error) => {
            say(&format!("end-to-end {}: {error:#}\n", suite.title()));
            ExitCode::from(101)
        }
    }
}

fn run(suite: Suite, arguments: &Arguments) -> Result<bool> {
    let floor = Arc::new(Floor::new(suite));
    let first = libtest_mimic::run(arguments, floor.trials(cases::of(suite)));
    if arguments.list {
        return Ok(true);
    }
    // Leftovers can be checked only when all other cases are done.
    let last = libtest_mimic::run(arguments, vec![floor.last()]);
    let counts = floor.ledger.counts();
    let title = suite.title();
    say(&counts.summary(NAME, &title));
    if let Some(folder) = env::var_os("LONGSHORE_TEST_REPORT") {
        counts.write(NAME, &title, &PathBuf::from(folder))?;
    }
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored;
    let asked_for = whole && floor.required();
    ensure!(counts.executed() > 0 || !asked_for, "LONGSHORE_REQUIRE requires it; nothing ran");
    Ok(!first.has_failed() && !last.has_failed())
}

fn say(text: &str) {
    // If the reader closed the pipe, the exit code still has the result.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// The context that all cases of a suite share.
struct Floor {
    suite: Suite,
    lab: Arc<Lab>,
    ledger: Ledger,
    traces: Mutex<Vec<Trace>>,
}

impl Floor {
    fn new(suite: Suite) -> Self {
        let lab = Arc::new(Lab::from_env());
        Self { suite, lab, ledger: Ledger::default(), traces: Mutex::default() }
    }

    fn required(&self) -> bool {
        let required = env::var("LONGSHORE_REQUIRE").unwrap_or_default();
        let title = self.suite.title();
        let backends = self.suite.backends();
        // A suite of several backends has a title that names none of them.
        let named = |name: &str| {
            name == "all"
                || name == title
                || (backends.len() > 1 && backends.iter().any(|backend| backend.name() == name))
        };
        required.split(',').map(str::trim).any(named)
    }

    fn missing(&self) -> Option<String> {
        if self.suite == Suite::Disruptive && self.lab.folder.is_none() {
            return Some("backends are stopped only in a lab: set LONGSHORE_LAB_DIR".to_owned());
        }
        if self.suite == Suite::Helm && self.lab.helm.is_none() {
            return Some("no helm here: set LONGSHORE_LAB_HELM (cargo xtask lab env)".to_owned());
        }
        self.suite.backends().iter().find_map(|backend| self.lab.missing(*backend))
    }

    fn trials(self: &Arc<Self>, cases: Vec<Case>) -> Vec<Trial> {
        cases
            .into_iter()
            .map(|case| {
                let floor = Arc::clone(self);
                Trial::ignorable_test(case.name(), move || floor.execute(&case))
            })
            .collect()
    }

    fn execute(&self, case: &Case) -> Result<Completion, Failed> {
        let backend = self.suite.backends()[0];
        if let Some(reason) = self.missing().or_else(|| case.unsupported(backend)) {
            self.ledger.unsupported(&case.name(), &reason);
            return Ok(Completion::ignored_with(format!("unsupported: {reason}")));
        }
        let result = self.attempt(case, backend);
        self.ledger.executed(result.is_ok());
        result.map(|()| Completion::Completed).map_err(|e| Failed::from(format!("{e:#}")))
    }

    fn attempt(&self, case: &Case, backend: Backend) -> Result<()> {
        let bench = Bench::new(Arc::clone(&self.lab), backend, &case.name())?;
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| case.run(&bench)));
        self.traces.lock().push(bench.trace());
        let result = result.unwrap_or_else(|_| Err(anyhow::anyhow!("the case panicked")));
        result.map_err(|error| match bench.remove_jobs(self.suite.backends()) {
            Ok(()) => error,
            Err(left) => error.context(format!("failed to remove what the case left: {left:#}")),
        })
    }

    /// Returns the trial that checks that nothing is left of the cases that ran.
    fn last(self: &Arc<Self>) -> Trial {
        let floor = Arc::clone(self);
        let name = "leftovers::nothing_is_left_behind";
        Trial::ignorable_test(name, move || {
            let traces = floor.traces.lock().clone();
            if traces.is_empty() {
                let reason = floor.missing().unwrap_or_else(|| "no case ran".to_owned());
                floor.ledger.unsupported(name, &reason);
                return Ok(Completion::ignored_with(format!("unsupported: {reason}")));
            }
            let result = leftovers::check(&floor.lab, floor.suite.backends(), &traces);
            floor.ledger.executed(result.is_ok());
            result.map(|()| Completion::Completed).map_err(|e| Failed::from(format!("{e:#}")))
        })
    }
}
