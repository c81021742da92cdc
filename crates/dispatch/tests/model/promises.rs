//! What must hold in every state.

use crate::world::{Object, Outcome, RUNNERS, Runner, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Promise {
    /// The job starts at most once, over all runners.
    StartsOnce,
    /// The next runner is asked only when the one before can never start the job any more.
    AsksOnlyAfterProof,
    /// An attempt that has started, or may still start, is never reported as never started.
    NeverStartedIsTrue,
    /// At most one outcome is reported.
    OneOutcome,
    /// An attempt that ended on a backend is never reported as gone; an attempt reported as run has
    /// run.
    LosesNothing,
    /// Once the removal is recorded, nothing is left except the mark of a fence.
    LeavesNothing,
    /// If nothing more fails, everything ends without giving up.
    ComesToItsEnd,
}

/// Returns the promises that a world breaks.
///
/// Each promise concerns what has happened so far, and history is never undone. This checks "can
/// never" too: if a runner that was asked too late, or an attempt that was reported too early,
/// could still start, a later state would show it.
pub(crate) fn broken(world: &World) -> Vec<Promise> {
    let starts = RUNNERS.map(|runner| world.starts(runner));
    let never = world.history.never_started;
    let not_run = world.journal.outcome == Some(Outcome::NotRun);
    let untrue = |runner: Runner| world.starts(runner) > 0 && (not_run || never[runner as usize]);
    let lost = match world.journal.outcome {
        Some(Outcome::Gone) => true,
        Some(Outcome::Ran(runner)) => world.starts(runner) == 0,
        Some(Outcome::NotRun | Outcome::OutOfReach) | None => false,
    };
    let is_left = |object| !matches!(object, Object::Absent | Object::Fenced);
    let left = world.journal.removed && world.backends.iter().any(|it| is_left(it.object));
    [
        (Promise::StartsOnce, starts.iter().sum::<u8>() > 1),
        (Promise::AsksOnlyAfterProof, world.history.asked[1] && starts[0] > 0),
        (Promise::NeverStartedIsTrue, RUNNERS.into_iter().any(untrue)),
        (Promise::OneOutcome, world.history.outcomes > 1),
        (Promise::LosesNothing, lost),
        (Promise::LeavesNothing, left),
    ]
    .into_iter()
    .filter_map(|(promise, broken)| broken.then_some(promise))
    .collect()
}
