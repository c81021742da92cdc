//! Plays all situations, several concurrently, and prints the table.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use longshore_conformance::Ledger;
use parking_lot::Mutex;

use super::judge::{self, Line};
use super::situation::{Site, Situation};

/// How many rows are played concurrently. They spend most of their time waiting.
const AT_ONCE: usize = 4;
/// The name under which the counts are reported.
const NAME: &str = "accidents";
const RUNNER: &str = "all";

/// Plays every situation on every runner on which it can happen, prints the table, and returns the
/// exit code for `main`: 0 if each ended as expected.
///
/// `LONGSHORE_REQUIRE` is a comma-separated list of runners, or `all`. If one of them is missing,
/// the suite fails.
#[must_use]
pub fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(AT_ONCE);
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(101),
        Err(error) => {
            say(&format!("accidents: {error:#}\n"));
            ExitCode::from(101)
        }
    }
}

fn say(text: &str) {
    // If the reader closed the pipe, the exit code still has the result.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

/// Returns the rows of the table.
fn situations() -> Vec<Situation> {
    let tables: [&[Situation]; _] = [
        // These have the slowest rows.
        super::cluster_live::SITUATIONS,
        super::connection::SITUATIONS,
        super::common::SITUATIONS,
        super::docker::SITUATIONS,
        super::process::SITUATIONS,
        super::cluster_admission::SITUATIONS,
        super::cluster_place::SITUATIONS,
    ];
    tables.concat()
}

fn run(arguments: &Arguments) -> Result<bool> {
    let floor = Arc::new(Floor::default());
    let trials = situations().into_iter().flat_map(|situation| {
        let floor = &floor;
        situation.sites.iter().map(move |site| {
            let (floor, site) = (Arc::clone(floor), *site);
            let trial = move || floor.execute(&situation, site);
            Trial::ignorable_test(name(&situation, site), trial)
        })
    });
    let conclusion = libtest_mimic::run(arguments, trials.collect());
    if arguments.list {
        return Ok(true);
    }
    let table = floor.table();
    say(&format!("\n{table}\n"));
    let counts = floor.ledger.counts();
    say(&counts.summary(NAME, RUNNER));
    if let Some(folder) = env::var_os("LONGSHORE_TEST_REPORT") {
        counts.write(NAME, RUNNER, Path::new(&folder))?;
        fs::write(Path::new(&folder).join("accidents.txt"), table)?;
    }
    let whole = arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored;
    ensure!(counts.executed() > 0 || !whole, "nothing ran");
    floor.require(whole)?;
    Ok(!conclusion.has_failed())
}

fn name(situation: &Situation, site: Site) -> String {
    let sentence = situation.name.replace([' ', '/'], "_").replace([',', '\''], "");
    format!("accidents::{site}::{sentence}")
}

/// The context that all trials share.
#[derive(Default)]
struct Floor {
    ledger: Ledger,
    lines: Mutex<Vec<Line>>,
    known: Mutex<Vec<String>>,
    missing: Mutex<BTreeMap<&'static str, String>>,
}

impl Floor {
    fn execute(&self, situation: &Situation, site: Site) -> Result<Completion, Failed> {
        if let Some(reason) = missing(site) {
            self.ledger.unsupported(&name(situation, site), &reason);
            lock(&self.missing).insert(site.name(), reason.clone());
            return Ok(Completion::ignored_with(format!("unsupported: {reason}")));
        }
        let result = self.judge(situation, site);
        self.ledger.executed(result.is_ok());
        result.map(|()| Completion::Completed).map_err(|e| Failed::from(format!("{e:#}")))
    }

    fn judge(&self, situation: &Situation, site: Site) -> Result<()> {
        let judgement = judge::play(situation, site)?;
        lock(&self.lines).push(judgement.line);
        let problems = judgement.problems;
        let Some(defect) = situation.known else {
            ensure!(problems.is_empty(), "{}", problems.join("\n"));
            return Ok(());
        };
        ensure!(!problems.is_empty(), "it is as expected now: remove the known defect {defect:?}");
        lock(&self.known).push(format!("known: {}: {defect}\n", name(situation, site)));
        Ok(())
    }

    /// Returns the table, with the known defects and their number at the end.
    fn table(&self) -> String {
        let mut lines = lock(&self.lines).clone();
        let order: BTreeMap<_, _> =
            situations().iter().enumerate().map(|(at, it)| (it.name, at)).collect();
        lines.sort_by_key(|line| (order.get(line.situation).copied(), line.site));
        let mut known = lock(&self.known).clone();
        known.sort();
        let (rows, defects) = (lines.len(), known.len());
        let lines = lines.into_iter().map(|line| format!("{}\n", line.text));
        let last = format!("{rows} rows, {defects} with a known defect\n");
        std::iter::once(judge::HEAD.to_owned())
            .chain(lines)
            .chain(known)
            .chain(std::iter::once(last))
            .collect()
    }

    fn require(&self, whole: bool) -> Result<()> {
        let required = env::var("LONGSHORE_REQUIRE").unwrap_or_default();
        for (site, reason) in &*lock(&self.missing) {
            let named = required.split(',').any(|it| ["all", *site].contains(&it.trim()));
            ensure!(!(whole && named), "LONGSHORE_REQUIRE requires {site}: {reason}");
        }
        Ok(())
    }
}

/// Returns why nothing can be played at `site`, or `None` if it can.
fn missing(site: Site) -> Option<String> {
    let lab = site.lab();
    if site == Site::Docker29 && lab.docker_host.is_none() {
        let name = "LONGSHORE_LAB_DOCKER29_HOST";
        return Some(format!("no {site} here: set {name} (cargo xtask lab env)"));
    }
    lab.missing(site.backend())
}

fn lock<T>(mutex: &Mutex<T>) -> parking_lot::MutexGuard<'_, T> {
    mutex.lock()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_row_is_in_the_table_twice() {
        let all = situations();
        let names: Vec<_> =
            all.iter().flat_map(|it| it.sites.iter().map(move |site| name(it, *site))).collect();
        let distinct: BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        assert!(names.len() >= 120, "only {} rows", names.len());
    }

    #[test]
    fn every_row_expects_a_kind_of_outcome_that_exists() {
        for situation in situations() {
            let kind = situation.expected.kind;
            let kinds = [
                "Exited",
                "OutOfMemory",
                "DeadlineExceeded",
                "Cancelled",
                "ImageUnavailable",
                "Rejected",
                "Evicted",
                "Lost",
                "NotRun",
            ];
            assert!(kinds.contains(&kind), "{}: {kind}", situation.name);
            assert!(!situation.sites.is_empty(), "{}", situation.name);
        }
    }
}
