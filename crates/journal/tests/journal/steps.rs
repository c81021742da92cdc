//! Tests that any sequence of steps keeps the journal's invariants.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use longshore_core::{Error, ErrorKind, JobId, PassedOver, RunnerName};
use longshore_journal::{AttemptState, Claim, Journal, JournalError, Record, State};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Handle;

use crate::common::{attempt, exited, job, on_each_store, submit};

#[derive(Clone, Debug)]
enum Step {
    Intent(u32),
    Started(u32),
    Refused(u32),
    PassedOver,
    Outcome(i32),
    Removed,
    Forget,
    /// The holder releases the job, and another claims it.
    Claim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1_u32..6).prop_map(Step::Intent),
        2 => (1_u32..6).prop_map(Step::Started),
        4 => (1_u32..6).prop_map(Step::Refused),
        1 => Just(Step::PassedOver),
        1 => (0..2).prop_map(Step::Outcome),
        1 => Just(Step::Removed),
        1 => Just(Step::Forget),
        1 => Just(Step::Claim),
    ]
}

/// Returns whether `step` may follow `record`.
fn fits(step: &Step, record: &Record) -> bool {
    let ended = record.result.is_some();
    let last = record.attempts.last();
    let refused = |state: &AttemptState| matches!(state, AttemptState::Refused { .. });
    match step {
        Step::Intent(number) => {
            !ended && last.is_none_or(|last| refused(&last.state) && *number > last.number)
        }
        Step::Started(number) => {
            !ended && last.is_some_and(|last| last.number == *number && !refused(&last.state))
        }
        Step::Refused(number) => {
            let may = |state: &AttemptState| *state == AttemptState::Intent || refused(state);
            !ended && last.is_some_and(|last| last.number == *number && may(&last.state))
        }
        Step::PassedOver => !ended,
        Step::Outcome(code) => {
            record.result.as_ref().is_none_or(|result| result.outcome.exit_code() == *code)
        }
        Step::Removed => ended,
        Step::Forget => record.removed_at.is_some(),
        Step::Claim => true,
    }
}

async fn take(step: &Step, journal: &Journal, claim: Claim) -> (Option<Claim>, bool) {
    let id: JobId = claim.job().clone();
    let error = Error::new(ErrorKind::Saturated, "no room");
    let done = match step {
        Step::Intent(number) => claim.intent(attempt(&id, *number)).await,
        Step::Started(number) => claim.started(*number, None, None).await,
        Step::Refused(number) => claim.refused(*number, &error).await,
        Step::PassedOver => {
            claim.passed_over(&PassedOver::new(&RunnerName::docker(), &error)).await
        }
        Step::Outcome(code) => claim.outcome(&exited(&id, *code)).await,
        Step::Removed => claim.removed().await,
        Step::Forget => {
            let done = claim.forget().await;
            return (done.is_err().then_some(claim), done.is_ok());
        }
        Step::Claim => {
            assert!(journal.claim(&id).await.unwrap().is_none(), "it is claimed");
            drop(claim);
            return (journal.claim(&id).await.unwrap(), true);
        }
    };
    (Some(claim), done.is_ok())
}

/// Checks what holds for every record.
fn holds(record: &Record) {
    let numbers: Vec<_> = record.attempts.iter().map(|attempt| attempt.number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let (_, before) = record.attempts.split_last().map_or((None, &[][..]), |(l, b)| (Some(l), b));
    let refused = |state: &AttemptState| matches!(state, AttemptState::Refused { .. });
    assert!(before.iter().all(|attempt| refused(&attempt.state)), "two may have run");
    assert_eq!(record.state() == State::Ended, record.result.is_some());
    assert_eq!(record.result.is_some(), record.ended_at.is_some());
    assert!(record.removed_at.is_none() || record.result.is_some());
}

/// Checks what never changes once recorded.
fn stays(before: &Record, after: &Record) {
    assert!(before.result.is_none() || before.result == after.result, "the first outcome stays");
    assert!(before.removed_at.is_none() || before.removed_at == after.removed_at);
    assert!(before.attempts.len() <= after.attempts.len());
    if before.state() == State::Running {
        assert_eq!(before.attempts.len(), after.attempts.len(), "no intent after a start");
    }
}

async fn check(journal: &Journal, steps: &[Step]) {
    let mut claim = submit(journal, job()).await;
    let id = claim.job().clone();
    for step in steps {
        let before = journal.record(&id).await.unwrap();
        let (next, done) = take(step, journal, claim).await;
        assert_eq!(done, fits(step, &before), "{step:?} after {before:?}");
        let Some(next) = next else {
            let gone = journal.record(&id).await;
            assert!(matches!(gone, Err(JournalError::NoSuchJob(_))), "{gone:?}");
            return;
        };
        claim = next;
        let after = journal.record(&id).await.unwrap();
        holds(&after);
        stays(&before, &after);
        if !done {
            assert_eq!(before, after, "a step that fails changes nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_step_is_recorded_just_if_it_follows_and_nothing_recorded_is_undone() {
    for (journal, _folder) in on_each_store().await {
        tokio::task::block_in_place(|| {
            let play = |steps: Vec<Step>| {
                Handle::current().block_on(check(&journal, &steps));
                Ok(())
            };
            TestRunner::default().run(&prop::collection::vec(step(), 1..40), play).unwrap();
        });
    }
}
