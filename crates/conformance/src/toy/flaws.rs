//! Each broken runner is caught by the case that is named for it.
#![cfg(test)]

use std::time::Duration;

use futures::{StreamExt, stream};

use super::Flaw::{self, *};
use super::fixture::{FAST, SLOW};
use super::flaw::CAUGHT_BY;
use super::tests::{outcome_of, world};
use crate::cases;
use crate::failure::Checked;

/// Returns how many times each flaw is played: once, or as `LONGSHORE_FLAW_ROUNDS` says.
fn rounds() -> usize {
    let text = std::env::var("LONGSHORE_FLAW_ROUNDS").unwrap_or_default();
    text.parse().unwrap_or(1)
}

/// Returns the result of the case `name` for a runner with `flaw`.
async fn played(flaw: Flaw, name: &str, start_delay: Duration) -> Checked {
    let case = cases::all().into_iter().find(|case| case.name == name);
    let case = case.unwrap_or_else(|| panic!("{flaw:?} names no case: {name}"));
    let world = world(Some(flaw), start_delay, PATIENCE);
    let outcome = outcome_of(&case, &world).await;
    // A runner that starts nothing would fail every case, and prove nothing.
    let capabilities = *world.fixture().runner().await?.capabilities();
    world.measure(capabilities).await.clone().unwrap_or_else(|e| panic!("{flaw:?}: {e}"));
    outcome.unwrap_or_else(|| panic!("the toy cannot run {name}"))
}

/// The suite's patience, in seconds. It is short, because a flaw that hangs takes all of it.
const PATIENCE: u64 = 2;

/// Returns the flaws that were not caught. A flaw that is missed among many others is played again
/// alone: some cases compare times, and a busy machine makes every runner slow.
async fn missed(start_delay: Duration, at_once: usize) -> Vec<String> {
    let all = (0..rounds()).flat_map(|_| CAUGHT_BY.iter().copied());
    let results: Vec<_> = stream::iter(all)
        .map(|(flaw, name)| async move { (flaw, name, played(flaw, name, start_delay).await) })
        .buffer_unordered(at_once)
        .collect()
        .await;
    let mut missed = Vec::new();
    for (flaw, name, outcome) in results {
        match outcome {
            Ok(()) => missed.push((flaw, name)),
            Err(failure) => println!("{flaw:?}: {failure}"),
        }
    }
    let mut twice = Vec::new();
    for (flaw, name) in missed {
        match played(flaw, name, start_delay).await {
            Ok(()) => twice.push(format!("{flaw:?} passed {name}")),
            Err(failure) => println!("{flaw:?}, alone: {failure}"),
        }
    }
    twice
}

#[test]
fn there_are_at_least_forty_broken_runners() {
    assert!(CAUGHT_BY.len() >= 40, "{} flaws", CAUGHT_BY.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_broken_runner_over_a_fast_backend_is_caught() {
    let missed = missed(FAST, 16).await;
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

/// A race that is over before a slow start proves nothing about the fence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_that_one_side_never_won_fails_and_shows_latency_and_spread() {
    let name = "settle::racing_a_launch_it_never_says_never_started_of_a_job_that_ran";
    let failure = played(NeverFences, name, FAST).await.unwrap_err().to_string();
    // 16 rounds, four sets of four more, and all of them again if starts get faster meanwhile.
    let (before, after) = failure.split_once("in none of ").unwrap();
    let (rounds, after) = after.split_once(' ').unwrap();
    assert!(before.ends_with("settle against launch: "), "{failure}");
    assert!(rounds.parse::<u32>().unwrap() >= 32, "{failure}");
    assert!(after.starts_with("rounds was it fenced before it started"), "{failure}");
    for part in ["a start took", "(median)", "the rival began from"] {
        assert!(failure.contains(part), "{part}: {failure}");
    }
}

/// `cargo xtask test --quick` leaves these out.
mod slow {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_broken_runner_over_a_slow_backend_is_caught() {
        // Most of the time they wait for starts, so many can run at once.
        let missed = missed(SLOW, 96).await;
        assert!(missed.is_empty(), "{}", missed.join("\n"));
    }
}
