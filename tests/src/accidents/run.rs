//! Plays all situations, several concurrently, and prints the table.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use parking_lot::Mutex;

use super::judge::{self, Line};
use super::situation::{Site, Situation};
use crate::books::{self, Books};
use crate::clock;

/// How many rows are played concurrently. They spend most of their time waiting.
const AT_ONCE: usize = 4;
/// The name under which the results are reported.
const NAME: &str = "accidents";

/// Plays every situation on every runner on which it can happen, prints the table, and returns the
/// exit code for `main`: 0 if each ended as expected.
///
/// `LONGSHORE_REQUIRE` is a comma-separated list of runners, or `all`. If one of them is missing,
/// the suite fails.
#[must_use]
pub fn main() -> ExitCode {
    books::main(NAME, AT_ONCE, play)
}

/// Returns the rows of the table.
fn situations() -> Vec<Situation> {
    let tables: [&[Situation]; _] = [
        // These have the slowest rows.
        super::cluster_login::SITUATIONS,
        super::cluster_live::SITUATIONS,
        super::connection::SITUATIONS,
        super::clocks::SITUATIONS,
        super::common::SITUATIONS,
        super::docker::SITUATIONS,
        super::process::SITUATIONS,
        super::cluster_admission::SITUATIONS,
        super::cluster_place::SITUATIONS,
        super::cluster_node::SITUATIONS,
    ];
    tables.concat()
}

fn play(arguments: &Arguments) -> Result<bool> {
    let floor = Arc::new(Floor::default());
    if arguments.list {
        return Ok(!libtest_mimic::run(arguments, floor.trials(|_| true)).has_failed());
    }
    let most = libtest_mimic::run(arguments, floor.trials(|it| !it.alone));
    let alone = Arguments { test_threads: Some(1), ..arguments.clone() };
    let rest = libtest_mimic::run(&alone, floor.trials(|it| it.alone));
    floor.books.close(NAME, &floor.table(), arguments)?;
    Ok(!most.has_failed() && !rest.has_failed())
}

fn name(situation: &Situation, site: Site) -> String {
    let sentence = situation.name.replace([' ', '/'], "_").replace([',', '\''], "");
    format!("accidents::{site}::{sentence}")
}

/// The context that all trials share.
#[derive(Default)]
struct Floor {
    books: Books,
    lines: Mutex<Vec<Line>>,
}

impl Floor {
    /// Returns the trials of the rows that `wanted` chooses.
    fn trials(self: &Arc<Self>, wanted: impl Fn(&Situation) -> bool) -> Vec<Trial> {
        let trials = situations().into_iter().filter(wanted).flat_map(|situation| {
            situation.sites.iter().map(move |site| {
                let (floor, site) = (Arc::clone(self), *site);
                let trial = move || floor.execute(&situation, site);
                Trial::ignorable_test(name(&situation, site), trial)
            })
        });
        trials.collect()
    }

    fn execute(&self, situation: &Situation, site: Site) -> Result<Completion, Failed> {
        if let Some(reason) = missing(situation, site) {
            return Ok(self.books.unsupported(&name(situation, site), site.name(), &reason));
        }
        self.books.ended(self.judge(situation, site))
    }

    fn judge(&self, situation: &Situation, site: Site) -> Result<()> {
        let judgement = judge::play(situation, site)?;
        self.lines.lock().push(judgement.line);
        let problems = judgement.problems;
        ensure!(problems.is_empty(), "{}", problems.join("\n"));
        Ok(())
    }

    /// Returns the table, with the number of its rows at the end.
    fn table(&self) -> String {
        let mut lines = self.lines.lock().clone();
        let order: BTreeMap<_, _> =
            situations().iter().enumerate().map(|(at, it)| (it.name, at)).collect();
        lines.sort_by_key(|line| (order.get(line.situation).copied(), line.site));
        let last = format!("{} rows\n", lines.len());
        let lines = lines.into_iter().map(|line| format!("{}\n", line.text));
        std::iter::once(judge::HEAD.to_owned()).chain(lines).chain(std::iter::once(last)).collect()
    }
}

/// Returns why `situation` cannot be played at `site`, or `None` if it can.
fn missing(situation: &Situation, site: Site) -> Option<String> {
    let lab = site.lab();
    if situation.alone && lab.folder.is_none() {
        return Some("the node is not the lab's (cargo xtask lab up)".to_owned());
    }
    if site == Site::Docker29 && lab.docker_host.is_none() {
        let name = "LONGSHORE_LAB_DOCKER29_HOST";
        return Some(format!("no {site} here: set {name} (cargo xtask lab env)"));
    }
    let no_clock = situation.clock.and_then(|_| clock::missing());
    no_clock.or_else(|| lab.missing(site.backend()))
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
