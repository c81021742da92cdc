//! Runs a test program, prints its result, and records it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use longshore_lab::say;
use parking_lot::{Mutex, MutexGuard};

use super::again::{again, is_entitled};
use super::backend_names::DOCKER29;
use super::book::{Book, Counts};
use super::build::Built;
use super::environment;
use super::execute::{self, Ended, show};
use super::interrupt::Interrupt;
use super::judge::{Verdict, judge};
use super::plan::{Case, Suite};
use super::scratch::Scratch;
use super::session::Backends;
use super::slow;
use super::times::Times;
use crate::workspace::Workspace;

/// What the log of a second run of a case ends with.
const AGAIN: &str = "again.log";

/// The context that all test programs share.
#[derive(Debug)]
pub(crate) struct Floor<'a> {
    pub workspace: &'a Workspace,
    /// Logs and reports.
    pub folder: PathBuf,
    pub required: &'a [String],
    /// Whether existing backends are used.
    pub given: bool,
    /// Whether the whole pull-policy matrix is played.
    pub full: bool,
    /// Whether the slow tests are left out.
    pub quick: bool,
    /// How many seeds the simulations play; `None` for their own default.
    pub seeds: Option<u64>,
    pub interrupt: &'a Interrupt,
    /// Where all programs keep their temporary files.
    pub scratch: &'a Scratch,
    pub book: Mutex<Book>,
    /// How long each case took when it last ran.
    pub times: Mutex<Times>,
}

impl Floor<'_> {
    pub(crate) fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Runs a test program if its backends are up.
    pub(crate) fn run_case(&self, case: &Case, built: &Built, backends: &Backends) {
        if let Some(reason) = backends.missing(case) {
            self.book().not_run(case, reason);
            return;
        }
        self.step(case, || self.execute(case, built, backends));
    }

    /// Measures the time of `run`, then prints and records its result.
    pub(crate) fn step(&self, case: &Case, run: impl FnOnce() -> Result<Verdict>) {
        let begun = Instant::now();
        let verdict = run().unwrap_or_else(|error| {
            let failures = vec![format!("{}: {error:#}", case.label())];
            Verdict::Counted(Counts { failures, ..Counts::default() })
        });
        self.close(case, verdict, begun.elapsed());
    }

    fn execute(&self, case: &Case, built: &Built, backends: &Backends) -> Result<Verdict> {
        let mut command = self.command(case, built, backends)?;
        let again_log = self.log(case).with_extension(AGAIN);
        let _ = fs::remove_file(&again_log);
        let report = self.report(case);
        if let Some(report) = &report {
            let _ = fs::remove_file(report);
            command.env("LONGSHORE_TEST_REPORT", self.folder.join("report"));
        }
        let left_out = match self.quick {
            true => slow::leave_out(&mut command, self.command(case, built, backends)?)?,
            false => Vec::new(),
        };
        let mut verdict = self.judge(case, &mut command, report.as_deref())?;
        if let Verdict::Counted(counts) = &mut verdict {
            counts.unsupported.extend(left_out);
        }
        if let Verdict::Counted(counts) = &mut verdict
            && is_entitled(case, counts)
        {
            // One at a time: other cases print, too.
            let show = |log: &Path| {
                let _book = self.book();
                show(log);
            };
            show(&self.log(case));
            let command = || self.command(case, built, backends);
            again(case, counts, &again_log, self.interrupt, show, command)?;
        }
        Ok(verdict)
    }

    fn command(&self, case: &Case, built: &Built, backends: &Backends) -> Result<Command> {
        let program = built.test(case).context("cargo has not built it")?;
        let package = self.workspace.packages.iter().find(|package| package.name == case.package);
        let mut command = Command::new(program);
        environment::clean(&mut command, self.scratch);
        environment::as_cargo(&mut command, package.context("unknown package")?, built);
        if !case.needs.is_empty() {
            environment::with_lab(&mut command, &backends.environment, self.given);
        }
        if case.is_on_docker29() {
            environment::on_docker29(&mut command, &backends.environment);
        }
        command.env("LONGSHORE_REQUIRE", self.required.join(","));
        if self.full {
            command.env("LONGSHORE_PULL_POLICY", "full");
        }
        if let Some(seeds) = self.seeds {
            command.env("LONGSHORE_SIM_SEEDS", seeds.to_string());
        }
        Ok(command)
    }

    /// Returns the file to which a suite that knows its backend writes its counts.
    fn report(&self, case: &Case) -> Option<PathBuf> {
        let name = match (case.suite, &case.backend) {
            (Suite::Conformance, Some(backend)) => format!("conformance-{backend}"),
            (Suite::EndToEnd, _) if case.is_on_docker29() => format!("end-to-end-{DOCKER29}"),
            (Suite::PullPolicy | Suite::Faults | Suite::Accidents, _) => {
                format!("{}-all", case.suite.name())
            }
            (Suite::EndToEnd | Suite::Disruptive, _) => format!("end-to-end-{}", case.target),
            _ => return None,
        };
        Some(self.folder.join("report").join(format!("{name}.json")))
    }

    /// Runs `command` for `case`, with its output in the log, and judges the result.
    pub(crate) fn judge(
        &self,
        case: &Case,
        command: &mut Command,
        report: Option<&Path>,
    ) -> Result<Verdict> {
        let log = self.log(case);
        let ended = if self.interrupt.happened() {
            Ended::Interrupted
        } else {
            execute::run(command, &log, self.limit(case), self.interrupt)?
        };
        let output = fs::read(&log).unwrap_or_default();
        Ok(judge(case, ended, &String::from_utf8_lossy(&output), report))
    }

    fn limit(&self, case: &Case) -> Duration {
        let whole = self.full && case.suite == Suite::PullPolicy;
        let many = self.seeds.is_some() && case.suite == Suite::Integration;
        let times = if whole {
            9
        } else if many {
            4
        } else {
            1
        };
        case.suite.limit() * times
    }

    pub(crate) fn log(&self, case: &Case) -> PathBuf {
        let name = case.label().replace(['(', ')', ' '], "_");
        self.folder.join("log").join(format!("{name}.log"))
    }

    fn close(&self, case: &Case, verdict: Verdict, took: Duration) {
        let mut book = self.book();
        match verdict {
            Verdict::NotRun(reason) => {
                line(case, took, &format!("not exercised: {reason}"));
                book.not_run(case, reason);
            }
            Verdict::Counted(counts) => {
                line(case, took, &counts.describe());
                if !counts.failures.is_empty() {
                    // The log of a case that failed twice has been shown.
                    if !self.log(case).with_extension(AGAIN).exists() {
                        show(&self.log(case));
                    }
                } else if let Suite::PullPolicy | Suite::Faults | Suite::Accidents = case.suite {
                    show(&self.folder.join(format!("report/{}.txt", case.suite.name())));
                }
                book.record(case, counts, took);
                self.times.lock().record(case, took);
            }
        }
    }
}

fn line(case: &Case, took: Duration, what: &str) {
    let label = format!("{} {}", case.suite, case.label());
    let label = if case.kind.is_empty() { case.label() } else { label };
    say!("{label:<52} {:>7.1} s  {what}", took.as_secs_f64());
}
