//! The steps of `cargo xtask test`.

use std::fs::{self, File};
use std::path::Path;
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use longshore_lab::{make_dir, say};
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

use super::book::Book;
use super::build::{self, Built};
use super::interrupt::Interrupt;
use super::lanes::{self, Lane};
use super::leftovers;
use super::options::{TestOptions, is_ci};
use super::phases::phases;
use super::plan::{self, Case, Suite};
use super::scratch::Scratch;
use super::session::{Backends, Session};
use super::suites::Floor;
use super::times::Times;
use super::{documented, early, table};
use crate::workspace::Workspace;

/// Runs everything that the options select. Returns true on success.
pub(crate) fn test(options: &TestOptions) -> Result<bool> {
    let workspace = Workspace::load()?;
    let required = options.required(&workspace, is_ci())?;
    let cases = plan::select(plan::plan(&workspace), options)?;
    let folder = workspace.target_directory.join("xtask-test");
    let _lock = lock(&folder)?;
    let interrupt = Interrupt::listen()?;
    let session = Session::new(&cases, options)?;
    let scratch = Scratch::new()?;
    let floor = Floor {
        workspace: &workspace,
        times: Mutex::new(Times::read(&folder)),
        folder,
        required: &required,
        given: session.given,
        full: options.full,
        quick: options.quick,
        seeds: options.seeds(is_ci()),
        interrupt: &interrupt,
        scratch: &scratch,
        book: Mutex::new(Book::default()),
    };
    let result = steps(&floor, &cases, &session, options);
    // Whatever happened, take the lab down and report the results.
    let down = session.down();
    let kept = floor.times.lock().write(&floor.folder);
    let mut book = floor.book();
    let broken = [result, down, kept].into_iter().filter_map(Result::err);
    book.broken = broken.map(|error| format!("{error:#}")).collect();
    book.require(&required);
    say!("{}", table::render(&book).trim_end());
    Ok(book.is_good() && !interrupt.happened())
}

/// Locks the folder: two runs in one checkout would take down each other's lab.
fn lock(folder: &Path) -> Result<File> {
    make_dir(folder)?;
    let path = folder.join("lock");
    let file =
        File::create(&path).with_context(|| format!("failed to create {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another cargo xtask test is running in this checkout: wait until it ends");
    }
    for old in ["log", "report"] {
        let _ = fs::remove_dir_all(folder.join(old));
    }
    Ok(file)
}

fn steps(
    floor: &Floor<'_>,
    cases: &[Case],
    session: &Session,
    options: &TestOptions,
) -> Result<()> {
    std::thread::scope(|scope| {
        // Apt and the Go build leave capacity for a compiler.
        let lab = bring_up(scope, session);
        let built = before_the_lab(floor, cases, options);
        let backends = lab.join().map_err(|_| anyhow!("bringing the lab up has panicked"))??;
        let built = built?;
        if options.quick {
            leave_out(floor, cases);
        } else {
            with_the_lab(floor, cases, &built, &backends);
        }
        if let Some(case) = step(cases, Suite::Leftovers) {
            floor.step(case, || leftovers::check(floor, &backends, session.is_fresh()));
        }
        Ok(())
    })
}

fn bring_up<'scope>(
    scope: &'scope Scope<'scope, '_>,
    session: &'scope Session,
) -> ScopedJoinHandle<'scope, Result<Backends>> {
    scope.spawn(|| session.up())
}

/// How many of the programs that need no lab run at once. Most of them wait most of the time.
const WITHOUT_LAB: usize = 4;

/// Builds the tests, and runs what needs no backend and so need not wait for the lab. With
/// `--quick`, that is everything that runs.
fn before_the_lab(floor: &Floor<'_>, cases: &[Case], options: &TestOptions) -> Result<Built> {
    let built = std::thread::scope(|scope| {
        if let Some(case) = step(cases, Suite::Tidy) {
            scope.spawn(|| floor.step(case, || early::tidy(floor)));
        }
        build(floor, cases, options)
    })?;
    // Alone: its `cargo run` replaces the command, which other tests start.
    if let Some(case) = step(cases, Suite::Readme) {
        floor.step(case, || documented::readme(floor, case, &built));
    }
    let later = |case: &Case| match case.suite {
        Suite::Tidy | Suite::Readme | Suite::Leftovers => true,
        Suite::Doc => false,
        _ => !case.needs.is_empty() || (case.backend.is_some() && !options.quick),
    };
    let now = cases.iter().filter(|case| !later(case)).collect();
    let lane = Lane::longest_first(WITHOUT_LAB, now, &floor.times.lock());
    lanes::run(vec![lane], |case| match case.suite {
        Suite::Doc => floor.step(case, || early::doc(floor, case)),
        _ => floor.run_case(case, &built, &Backends::default()),
    });
    Ok(built)
}

fn build(floor: &Floor<'_>, cases: &[Case], options: &TestOptions) -> Result<Built> {
    let begun = Instant::now();
    // With `--only`, build only what is needed: the rest may be half changed.
    let packages = (!options.only.is_empty()).then(|| packages(cases));
    let built = build::build(floor.workspace, packages.as_deref(), &floor.folder, floor.interrupt)?;
    say!("{:<52} {:>7.1} s", "build", begun.elapsed().as_secs_f64());
    Ok(built)
}

/// Returns the packages whose test programs are needed.
fn packages(cases: &[Case]) -> Vec<String> {
    let mut found: Vec<String> = cases
        .iter()
        .filter(|case| !case.kind.is_empty())
        .map(|case| case.package.clone())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn step(cases: &[Case], suite: Suite) -> Option<&Case> {
    cases.iter().find(|case| case.suite == suite && case.kind.is_empty())
}

/// Runs what tests a backend. These tests are sensitive to a busy machine, so they
/// run after the builds.
fn with_the_lab(floor: &Floor<'_>, cases: &[Case], built: &Built, backends: &Backends) {
    for lanes in phases(cases) {
        lanes::run(lanes, |case| floor.run_case(case, built, backends));
    }
}

/// Records what `--quick` does not run.
fn leave_out(floor: &Floor<'_>, cases: &[Case]) {
    for case in cases.iter().filter(|case| !case.needs.is_empty()) {
        floor.book().not_run(case, "--quick leaves it out");
    }
}
