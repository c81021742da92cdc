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
    /// Creates a lane that runs one case at a time, in this order.
    pub(crate) const fn one_by_one(cases: Vec<&'a Case>) -> Self {
        Self { workers: 1, cases }
    }

    /// Creates a lane that runs `workers` cases at once. Those that took longest come first, so that
    /// none of them runs alone at the end.
    pub(crate) fn longest_first(workers: usize, mut cases: Vec<&'a Case>, times: &Times) -> Self {
        times.longest_first(&mut cases);
        Self { workers, cases }
    }

    /// Returns its cases in their order.
    #[cfg(test)]
    pub(crate) fn cases(&self) -> &[&'a Case] {
        &self.cases
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
        let lane = Lane::longest_first(2, cases.iter().collect(), &Times::default());
        // Nobody passes it alone.
        let barrier = Barrier::new(2);
        run(vec![lane], |_| {
            barrier.wait();
        });
    }

    #[test]
    fn what_took_longest_begins() {
        let cases = [Suite::Doc, Suite::Unit, Suite::Readme].map(|suite| Case::step(suite, None));
        let mut times = Times::default();
        for (case, seconds) in cases.iter().zip([1, 9, 5]) {
            times.record(case, Duration::from_secs(seconds));
        }
        let lane = Lane::longest_first(2, cases.iter().collect(), &times);
        assert_eq!(lane.cases(), [&cases[1], &cases[2], &cases[0]]);
        assert_eq!(Lane::one_by_one(cases.iter().collect()).cases(), cases.each_ref());
    }
}
