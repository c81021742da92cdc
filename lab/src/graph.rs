//! Runs steps in parallel, each after those that it needs.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use parking_lot::{Condvar, Mutex, MutexGuard};

/// The result of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// There was nothing to do.
    Already,
    /// The step made this change.
    Changed(String),
}

/// A piece of work with a name.
pub(crate) struct Step<'a> {
    pub name: &'static str,
    /// The names of steps to wait for. Names that are not in the graph are ignored.
    pub needs: Vec<&'static str>,
    pub run: Box<dyn FnOnce() -> Result<Done> + Send + 'a>,
}

/// How a step ended.
pub(crate) struct Finished<'a> {
    pub name: &'static str,
    pub took: Duration,
    pub result: &'a Result<Done>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Succeeded,
    Failed,
}

struct Board {
    states: Mutex<HashMap<&'static str, State>>,
    changed: Condvar,
}

/// Runs every step whose needs succeed, and reports each step that ran.
/// Fails with the names of the steps that failed or were not reached.
pub(crate) fn run(steps: Vec<Step<'_>>, report: &(dyn Fn(&Finished<'_>) + Sync)) -> Result<()> {
    let states = steps.iter().map(|step| (step.name, State::Pending)).collect();
    let board = Board { states: Mutex::new(states), changed: Condvar::new() };
    std::thread::scope(|scope| {
        for step in steps {
            let board = &board;
            scope.spawn(move || board.run(step, report));
        }
    });
    board.verdict()
}

impl Board {
    fn run(&self, step: Step<'_>, report: &(dyn Fn(&Finished<'_>) + Sync)) {
        // Whatever happens to the step, the steps that wait for it must be notified.
        let mut mark = Mark { board: self, name: step.name, state: State::Failed };
        if !self.wait_for(&step.needs) {
            return;
        }
        let begun = Instant::now();
        let result = (step.run)();
        report(&Finished { name: step.name, took: begun.elapsed(), result: &result });
        if result.is_ok() {
            mark.state = State::Succeeded;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<&'static str, State>> {
        self.states.lock()
    }

    /// Waits until all of `needs` have succeeded; returns false if one cannot.
    fn wait_for(&self, needs: &[&'static str]) -> bool {
        let mut states = self.lock();
        loop {
            let known: Vec<State> =
                needs.iter().filter_map(|need| states.get(need).copied()).collect();
            if known.contains(&State::Failed) {
                return false;
            }
            if known.iter().all(|state| *state == State::Succeeded) {
                return true;
            }
            self.changed.wait(&mut states);
        }
    }

    fn verdict(&self) -> Result<()> {
        let states = self.lock();
        let mut failed: Vec<_> = states
            .iter()
            .filter(|(_, state)| **state != State::Succeeded)
            .map(|(name, _)| *name)
            .collect();
        failed.sort_unstable();
        if !failed.is_empty() {
            bail!("failed, or not reached: {}", failed.join(", "));
        }
        Ok(())
    }
}

struct Mark<'a> {
    board: &'a Board,
    name: &'static str,
    state: State,
}

impl Drop for Mark<'_> {
    fn drop(&mut self) {
        self.board.lock().insert(self.name, self.state);
        self.board.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    fn step<'a>(
        name: &'static str,
        needs: &[&'static str],
        run: impl FnOnce() -> Result<Done> + Send + 'a,
    ) -> Step<'a> {
        Step { name, needs: needs.to_vec(), run: Box::new(run) }
    }

    #[test]
    fn a_step_runs_after_what_it_needs() {
        let order = Mutex::new(Vec::new());
        let note = |name: &'static str| {
            order.lock().push(name);
            Ok(Done::Already)
        };
        let steps = vec![
            step("c", &["b", "a"], || note("c")),
            step("b", &["a", "elsewhere"], || note("b")),
            step("a", &[], || note("a")),
        ];
        run(steps, &|_| {}).unwrap();
        assert_eq!(*order.lock(), ["a", "b", "c"]);
    }

    #[test]
    fn what_needs_a_failed_step_is_not_run_and_the_rest_is() {
        let ran = Mutex::new(Vec::new());
        let steps = vec![
            step("a", &[], || Err(anyhow!("broken"))),
            step("b", &["a"], || panic!("must not run")),
            step("c", &[], || Ok(Done::Changed("made".into()))),
        ];
        let report = |finished: &Finished<'_>| ran.lock().push(finished.name);
        let error = run(steps, &report).unwrap_err().to_string();
        assert_eq!(error, "failed, or not reached: a, b");
        let mut ran = ran.into_inner();
        ran.sort_unstable();
        assert_eq!(ran, ["a", "c"]);
    }
}
