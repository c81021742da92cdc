//! The protocol keeps its promises, and the tests find each flaw in it.

use std::time::Instant;

use crate::explore::{Exploration, explore};
use crate::flaw::Flaw;
use crate::promises::Promise;
use crate::world::{Entry, Object, Outcome, Runner, World};

/// With fewer states than this, a part of the model is not explored.
const AT_LEAST: usize = 8_000;

/// Whether a world shows a certain course of a job.
type Way<'a> = &'a dyn Fn(&World) -> bool;

#[test]
fn the_protocol_keeps_its_promises_in_every_state() {
    let found = told("the protocol", None, &[]);
    if let Some((promise, way)) = found.broken.iter().next() {
        panic!("{promise:?} is broken:\n{}", way.join("\n"));
    }
    assert!(found.worlds.len() >= AT_LEAST, "only {} states", found.worlds.len());
}

#[test]
fn every_way_that_a_job_can_go_is_explored() {
    let found = explore(None, &[]);
    let is_on = |runner: Runner, object| {
        move |world: &World| world.backends[runner as usize].object == object
    };
    let ended = |outcome| move |world: &World| world.journal.outcome == Some(outcome);
    let ways: [(&str, Way); 9] = [
        ("it runs on the first runner", &ended(Outcome::Ran(Runner::A))),
        ("it falls back", &ended(Outcome::Ran(Runner::B))),
        ("no runner takes it", &ended(Outcome::NotRun)),
        ("it is out of reach", &ended(Outcome::OutOfReach)),
        ("all is removed", &|world| world.journal.removed),
        ("it falls back after a fence", &|world| {
            is_on(Runner::A, Object::Fenced)(world) && is_on(Runner::B, Object::Running)(world)
        }),
        ("it runs, and no process knows", &|world| {
            is_on(Runner::A, Object::Running)(world)
                && world.journal.attempts[0] == Entry::Intent
                && world.process.is_none()
        }),
        ("it is said to be out of reach, and starts then", &|world| {
            ended(Outcome::OutOfReach)(world) && is_on(Runner::A, Object::Running)(world)
        }),
        ("a commit is late for its fence", &|world| {
            is_on(Runner::A, Object::Fenced)(world) && !world.wire.is_empty()
        }),
    ];
    for (way, is_it) in ways {
        assert!(found.worlds.iter().any(|world| is_it(world)), "never: {way}");
    }
}

#[test]
fn falling_back_without_the_fence_is_found() {
    is_found(Flaw::FallsBackWithoutTheFence, &[Promise::StartsOnce, Promise::AsksOnlyAfterProof]);
}

#[test]
fn looking_instead_of_fencing_is_found() {
    is_found(Flaw::LooksInsteadOfFencing, &[Promise::StartsOnce, Promise::NeverStartedIsTrue]);
}

#[test]
fn a_launch_without_an_intent_is_found() {
    is_found(Flaw::WritesNoIntent, &[Promise::StartsOnce, Promise::AsksOnlyAfterProof]);
}

#[test]
fn a_removal_before_the_outcome_is_found() {
    is_found(Flaw::RemovesBeforeTheOutcome, &[Promise::StartsOnce, Promise::LosesNothing]);
}

#[test]
fn a_recovery_that_launches_again_is_found() {
    is_found(Flaw::RecoveryLaunchesAgain, &[Promise::StartsOnce, Promise::NeverStartedIsTrue]);
}

#[test]
fn a_recovery_that_leaves_an_intent_is_found() {
    is_found(Flaw::RecoveryLeavesAnIntent, &[Promise::ComesToItsEnd]);
}

#[test]
fn a_recovery_that_forgets_the_outcome_is_found() {
    is_found(Flaw::RecoveryForgetsTheOutcome, &[Promise::OneOutcome, Promise::LosesNothing]);
}

#[test]
fn a_commit_that_is_not_guarded_is_found() {
    is_found(Flaw::TheCommitIsNotGuarded, &[Promise::StartsOnce, Promise::NeverStartedIsTrue]);
}

#[test]
fn a_fence_that_leaves_no_mark_is_found() {
    is_found(Flaw::TheFenceLeavesNoMark, &[Promise::StartsOnce, Promise::LeavesNothing]);
}

/// Fails unless the flaw breaks these promises.
fn is_found(flaw: Flaw, promises: &[Promise]) {
    let found = told(&format!("{flaw:?}"), Some(flaw), promises);
    for promise in promises {
        let Some(way) = found.broken.get(promise) else {
            panic!("{flaw:?} does not break {promise:?}");
        };
        say(&format!("{promise:?} is broken by: {}", way.join(", ")));
    }
}

/// Explores, and prints how many states there were.
fn told(what: &str, flaw: Option<Flaw>, wanted: &[Promise]) -> Exploration {
    let begun = Instant::now();
    let found = explore(flaw, wanted);
    let (states, moves) = (found.worlds.len(), found.moves);
    say(&format!("{what}: {states} states, {moves} moves, {:.1?}", begun.elapsed()));
    found
}

#[expect(clippy::print_stdout, reason = "shown with --nocapture, and where a test fails")]
fn say(text: &str) {
    println!("{text}");
}
