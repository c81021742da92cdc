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
use super::leftovers;
use super::options::{TestOptions, is_ci};
use super::plan::{self, Case, Suite};
use super::scratch::Scratch;
use super::session::{Backends, Session};
use super::suites::{Floor, Lane};
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
        folder,
        required: &required,
        given: session.given,
        full: options.full,
        seeds: options.seeds(is_ci()),
        interrupt: &interrupt,
        scratch: &scratch,
        book: Mutex::new(Book::default()),
    };
    let result = steps(&floor, &cases, &session, options);
    // Whatever happened, take the lab down and report the results.
    let down = session.down();
    let mut book = floor.book();
    let broken = [result, down].into_iter().filter_map(Result::err);
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
        with_the_lab(floor, cases, &built?, &backends, options.quick);
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

/// Runs what needs no backend and so need not wait for the lab, and builds the tests.
fn before_the_lab(floor: &Floor<'_>, cases: &[Case], options: &TestOptions) -> Result<Built> {
    if let Some(case) = step(cases, Suite::Tidy) {
        floor.step(case, || early::tidy(floor));
    }
    let begun = Instant::now();
    // With `--only`, build only what is needed: the rest may be half changed.
    let packages = (!options.only.is_empty()).then(|| packages(cases));
    let built = build::build(floor.workspace, packages.as_deref(), &floor.folder, floor.interrupt)?;
    say!("{:<52} {:>7.1} s", "build", begun.elapsed().as_secs_f64());
    let alone = |case: &&Case| !case.kind.is_empty() && case.needs.is_empty();
    let quiet = |case: &&Case| alone(case) && case.backend.is_none();
    let lane = Lane { workers: 2, cases: cases.iter().filter(quiet).collect() };
    floor.run(vec![lane], &built, &Backends::default());
    if let Some(case) = step(cases, Suite::Doc) {
        floor.step(case, || early::doc(floor, case));
    }
    if let Some(case) = step(cases, Suite::Readme) {
        floor.step(case, || documented::readme(floor, case, &built));
    }
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
fn with_the_lab(
    floor: &Floor<'_>,
    cases: &[Case],
    built: &Built,
    backends: &Backends,
    quick: bool,
) {
    let of = |suites: &[Suite], wanted: &dyn Fn(&Case) -> bool| -> Vec<&Case> {
        let chosen = |case: &&Case| suites.contains(&case.suite) && wanted(case);
        cases.iter().filter(chosen).collect()
    };
    let backend = |case: &Case| case.backend.is_some();
    let kubernetes = |case: &Case| case.backend.as_deref() == Some("kubernetes");
    let suites = [Suite::Integration, Suite::Conformance];
    // Kubernetes waits for its own timers most of the time; the rest keeps a core busy.
    let phases = [
        vec![
            Lane { workers: 1, cases: of(&suites, &|case| backend(case) && !kubernetes(case)) },
            Lane { workers: 1, cases: of(&suites, &kubernetes) },
        ],
        vec![Lane { workers: 2, cases: of(&[Suite::EndToEnd], &|_| true) }],
        // It uses all backends at once.
        vec![Lane { workers: 1, cases: of(&[Suite::PullPolicy], &|_| true) }],
        vec![Lane { workers: 1, cases: of(&[Suite::Faults], &|_| true) }],
        vec![Lane { workers: 1, cases: of(&[Suite::Accidents], &|_| true) }],
        vec![Lane { workers: 1, cases: of(&[Suite::Disruptive], &|_| true) }],
    ];
    for mut lanes in phases {
        if quick {
            lanes.iter_mut().for_each(|lane| leave_out(floor, lane));
        }
        floor.run(lanes, built, backends);
    }
}

fn leave_out(floor: &Floor<'_>, lane: &mut Lane<'_>) {
    let (run, out): (Vec<&Case>, Vec<&Case>) =
        lane.cases.iter().partition(|case| case.needs.is_empty());
    out.iter().for_each(|case| floor.book().not_run(case, "--quick leaves it out"));
    lane.cases = run;
}
