//! Runs cases in parallel, where that is harmless.

use std::collections::VecDeque;

use parking_lot::Mutex;

use super::plan::Case;
use super::times::Times;

/// A list of cases, and how many of them may run concurrently.
#[derive(Debug)]
pub(crate) struct Lane<'a> {
    workers: usize,
    cases: Vec<&'a Case>,
}

impl<'a> Lane<'a> {
    /// Creates a lane for `cases`. With several workers, those that take longest come first, so
    /// that none of them runs alone at the end.
    pub(crate) fn new(workers: usize, mut cases: Vec<&'a Case>, times: &Times) -> Self {
        if workers > 1 {
            times.longest_first(&mut cases);
        }
        Self { workers, cases }
    }
}

/// Runs all lanes in parallel, each case with `run`, and returns when all are done.
pub(crate) fn run(lanes: Vec<Lane<'_>>, run: impl Fn(&Case) + Sync) {
    let queues: Vec<_> = lanes
        .into_iter()
        .map(|lane| (lane.workers, Mutex::new(VecDeque::from(lane.cases))))
        .collect();
    std::thread::scope(|scope| {
        for (workers, queue) in &queues {
            for _ in 0..*workers {
                scope.spawn(|| {
                    while let Some(case) = next(queue) {
                        run(case);
                    }
                });
            }
        }
    });
}

fn next<'a>(queue: &Mutex<VecDeque<&'a Case>>) -> Option<&'a Case> {
    queue.lock().pop_front()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::super::plan::Suite;
    use super::*;

    #[test]
    fn a_lane_runs_as_many_cases_at_once_as_it_has_workers() {
        let cases = [Suite::Doc, Suite::Unit].map(|suite| Case::step(suite, None));
        let lane = Lane::new(2, cases.iter().collect(), &Times::default());
        // Nobody passes it alone.
        let barrier = Barrier::new(2);
        run(vec![lane], |_| {
            barrier.wait();
        });
    }

    #[test]
    fn one_worker_keeps_the_order_and_several_begin_with_the_longest() {
        let cases = [Suite::Doc, Suite::Unit, Suite::Readme].map(|suite| Case::step(suite, None));
        let mut times = Times::default();
        times.record(&cases[0], Duration::from_secs(1));
        times.record(&cases[1], Duration::from_secs(9));
        times.record(&cases[2], Duration::from_secs(5));
        let suites = |workers| {
            let lane = Lane::new(workers, cases.iter().collect(), &times);
            lane.cases.iter().map(|case| case.suite).collect::<Vec<_>>()
        };
        assert_eq!(suites(1), [Suite::Doc, Suite::Unit, Suite::Readme]);
        assert_eq!(suites(2), [Suite::Unit, Suite::Readme, Suite::Doc]);
    }
}
