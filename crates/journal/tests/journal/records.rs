//! Tests of the records of jobs, in one process.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{attempt, exited, finished, job, on_each_store, open, submit};
use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use longshore_core::{
    Error, ErrorKind, ImageReport, JobSpec, Outcome, PassedOver, PullPolicy, RunnerName,
};
use longshore_journal::{
    AttemptState, Attended, Cancelled, Claim, Filter, Journal, JournalError, State, Submitted,
};
use tokio::time::timeout;

/// A limit longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn all_of_a_jobs_way_is_on_record_in_another_journal_on_the_same_directory() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let mut new = job();
    new.spec = Arc::new({
        let mut spec = JobSpec::process(["true"]);
        spec.name = Some("extract".to_owned());
        spec
    });
    new.idempotency_key = Some("key-1".to_owned());
    new.detached = true;
    new.runners = vec![RunnerName::kubernetes(), RunnerName::docker()];
    let claim = submit(&journal, new.clone()).await;
    let id = claim.job().clone();
    let state = async || open(folder.path()).await.record(&id).await.unwrap().state();
    assert_eq!(state().await, State::Queued);

    claim.intent(attempt(&id, 1)).await.unwrap();
    assert_eq!(state().await, State::Launching);
    let error = Error::new(ErrorKind::Saturated, "no room");
    claim.refused(1, &error).await.unwrap();
    let passed = PassedOver::new(&RunnerName::kubernetes(), &error);
    claim.passed_over(&passed).await.unwrap();
    assert_eq!(state().await, State::Queued);

    claim.intent(attempt(&id, 2)).await.unwrap();
    let image = ImageReport::new("busybox:1", PullPolicy::Always);
    let at: Timestamp = "2026-01-02T03:04:05.000006Z".parse().unwrap();
    claim.started(2, None, Some(&image)).await.unwrap();
    claim.started(2, Some(at), None).await.unwrap();
    assert_eq!(state().await, State::Running);

    let result = exited(&id, 3);
    claim.outcome(&result).await.unwrap();
    assert_eq!(state().await, State::Ended);
    claim.removed().await.unwrap();

    let record = open(folder.path()).await.get(&id.as_str()[..5]).await.unwrap();
    assert_eq!(record.id, id);
    assert_eq!((record.spec, record.runners), (new.spec, new.runners));
    assert_eq!(record.idempotency_key.as_deref(), Some("key-1"));
    assert!(record.detached && record.removed_at.is_some() && record.ended_at.is_some());
    assert_eq!(record.passed_over, [passed]);
    assert_eq!(record.result, Some(result));
    let [first, second] = record.attempts.as_slice() else { panic!("{:?}", record.attempts) };
    let (kind, message) = ("Saturated".to_owned(), "no room".to_owned());
    assert_eq!(first.state, AttemptState::Refused { kind, message });
    assert_eq!(second.handle, attempt(&id, 2).handle);
    let ended = AttemptState::Ended { started_at: Some(at), image: Some(image) };
    assert_eq!((second.number, &second.state), (2, &ended));
}

#[tokio::test]
async fn the_directory_and_its_files_are_for_this_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("a/b");
    let journal = open(&state).await;
    finished(&journal).await;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let files: Vec<_> = state.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.iter().any(|path| path.ends_with("journal.db-wal")), "{files:?}");
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[tokio::test]
async fn the_same_job_with_the_same_key_is_known_and_another_one_is_refused_naming_both() {
    for (journal, _folder) in on_each_store().await {
        let keyed = |command: &str| {
            let mut new = job();
            new.spec = Arc::new(JobSpec::process([command]));
            new.idempotency_key = Some("nightly".to_owned());
            new
        };
        let claim = submit(&journal, keyed("true")).await;
        let again = journal.submit(keyed("true")).await.unwrap();
        assert!(matches!(again, Submitted::Known(id) if id == *claim.job()));
        let error = journal.submit(keyed("false")).await.unwrap_err();
        let JournalError::KeyTaken { job, recorded, submitted, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(job, claim.job());
        assert!(recorded.starts_with("sha256:") && submitted.starts_with("sha256:"));
        assert_ne!(recorded, submitted);
        // Once the record is gone, so is its key.
        claim.outcome(&exited(claim.job(), 0)).await.unwrap();
        claim.removed().await.unwrap();
        claim.forget().await.unwrap();
        submit(&journal, keyed("false")).await;
    }
}

#[tokio::test]
async fn a_key_that_is_empty_or_too_long_or_an_id_that_was_used_is_refused() {
    for (journal, _folder) in on_each_store().await {
        for key in ["", "a\nb", &"x".repeat(256)] {
            let mut new = job();
            new.idempotency_key = Some(key.to_owned());
            let error = journal.submit(new).await.unwrap_err();
            assert!(matches!(error, JournalError::InvalidKey(_)), "{error}");
        }
        let new = job();
        drop(submit(&journal, new.clone()).await);
        let error = journal.submit(new).await.unwrap_err();
        assert!(matches!(error, JournalError::JobExists(_)), "{error}");
    }
}

#[tokio::test]
async fn a_second_outcome_is_refused_unless_it_is_the_same_and_the_first_stays() {
    for (journal, _folder) in on_each_store().await {
        let claim = submit(&journal, job()).await;
        claim.outcome(&exited(claim.job(), 0)).await.unwrap();
        claim.outcome(&exited(claim.job(), 0)).await.unwrap();
        let error = claim.outcome(&exited(claim.job(), 1)).await.unwrap_err();
        assert!(error.to_string().contains("exited with code 1"), "{error}");
        assert!(error.to_string().contains("it exited with code 0"), "{error}");
        let record = claim.record().await.unwrap();
        assert_eq!(record.result.unwrap().outcome, Outcome::Exited { code: 0, signal: None });
    }
}

#[tokio::test]
async fn an_outcome_of_another_job_or_an_attempt_of_another_job_is_refused() {
    for (journal, _folder) in on_each_store().await {
        let (claim, other) = (submit(&journal, job()).await, submit(&journal, job()).await);
        let error = claim.outcome(&exited(other.job(), 0)).await.unwrap_err();
        assert!(matches!(error, JournalError::OutOfOrder { .. }), "{error}");
        let error = claim.intent(attempt(other.job(), 1)).await.unwrap_err();
        assert!(matches!(error, JournalError::WrongAttempt { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_record_is_forgotten_only_once_nothing_of_the_job_is_left() {
    for (journal, _folder) in on_each_store().await {
        let claim = submit(&journal, job()).await;
        let id = claim.job().clone();
        assert!(matches!(claim.removed().await, Err(JournalError::OutOfOrder { .. })));
        claim.outcome(&exited(&id, 0)).await.unwrap();
        assert!(matches!(claim.forget().await, Err(JournalError::OutOfOrder { .. })));
        claim.removed().await.unwrap();
        claim.forget().await.unwrap();
        assert!(matches!(claim.forget().await, Err(JournalError::NoSuchJob(_))));
        drop(claim);
        assert!(matches!(journal.record(&id).await, Err(JournalError::NoSuchJob(_))));
        assert!(matches!(journal.claim(&id).await, Err(JournalError::NoSuchJob(_))));
    }
}

#[tokio::test]
async fn a_job_is_named_by_the_beginning_of_its_id_and_candidates_are_listed() {
    for (journal, _folder) in on_each_store().await {
        for id in ["abcd1", "abcd1-2", "abcd2", "xyz", "abce1"] {
            let mut new = job();
            new.id = id.parse().unwrap();
            drop(submit(&journal, new).await);
        }
        for (text, found) in [
            ("abcd2", "abcd2"),
            ("abce", "abce1"),
            ("xyz", "xyz"),
            ("abcd1", "abcd1"),
            ("abcd1-", "abcd1-2"),
        ] {
            assert_eq!(journal.get(text).await.unwrap().id.as_str(), found);
        }
        let error = journal.get("abcd").await.unwrap_err();
        assert!(error.to_string().ends_with("abcd1, abcd1-2, abcd2"), "{error}");
        assert!(matches!(journal.get("abc").await, Err(JournalError::PrefixTooShort(_))));
        for text in ["abcdx", "ABCD", "", "%%%%", "abc_"] {
            let error = journal.get(text).await.unwrap_err();
            assert!(matches!(error, JournalError::NoSuchJob(_)), "{text}: {error}");
        }
    }
}

#[tokio::test]
async fn many_candidates_are_cut_short() {
    for (journal, _folder) in on_each_store().await {
        for number in 10..30 {
            let mut new = job();
            new.id = format!("abcd{number}").parse().unwrap();
            drop(submit(&journal, new).await);
        }
        let error = journal.get("abcd").await.unwrap_err();
        assert!(error.to_string().ends_with("abcd18, abcd19, …"), "{error}");
    }
}

#[tokio::test]
async fn what_has_not_ended_or_is_left_on_a_backend_is_unfinished() {
    for (journal, _folder) in on_each_store().await {
        let done = finished(&journal).await;
        let running = submit(&journal, job()).await;
        let left = submit(&journal, job()).await;
        left.outcome(&exited(left.job(), 0)).await.unwrap();
        let unfinished = journal.unfinished().await.unwrap();
        assert_eq!(unfinished, [running.job().clone(), left.job().clone()]);
        let ids = async |filter| {
            let records = journal.list(filter).await.unwrap();
            records.into_iter().map(|record| record.id).collect::<Vec<_>>()
        };
        let all = [left.job(), running.job(), &done].map(Clone::clone);
        assert_eq!(ids(Filter::default()).await, all);
        assert_eq!(ids(Filter::default().limit(1)).await, all[..1]);
        assert_eq!(ids(Filter::default().not_ended()).await, [running.job().clone()]);
    }
}

#[tokio::test]
async fn a_sweep_forgets_old_finished_jobs_that_nobody_has_in_hand() {
    for (journal, _folder) in on_each_store().await {
        let mut old = Vec::new();
        for _ in 0..300 {
            old.push(finished(&journal).await);
        }
        let running = submit(&journal, job()).await;
        let held = journal.claim(&old.pop().unwrap()).await.unwrap().expect("it is free");
        let left = submit(&journal, job()).await;
        left.outcome(&exited(left.job(), 0)).await.unwrap();
        let retention = Duration::from_secs(3600);
        let now = Timestamp::now();
        assert_eq!(journal.sweep(retention, now).await.unwrap(), []);
        assert_eq!(journal.sweep(Duration::MAX, now).await.unwrap(), []);
        let later = now + SignedDuration::from_hours(2);
        let mut forgotten = journal.sweep(retention, later).await.unwrap();
        forgotten.sort();
        old.sort();
        assert_eq!(forgotten, old);
        for claim in [running, held, left] {
            claim.record().await.expect("it is kept");
        }
    }
}

#[tokio::test]
async fn a_request_to_cancel_reaches_whoever_has_the_job_and_a_later_one_only_shortens() {
    let folder = tempfile::tempdir().unwrap();
    for (here, there) in [(open(folder.path()).await, open(folder.path()).await), {
        let journal = Journal::in_memory().unwrap();
        (journal.clone(), journal)
    }] {
        let (first, second) = (submit(&here, job()).await, submit(&here, job()).await);
        let seconds = Duration::from_secs;
        assert_eq!(there.request_cancel(first.job(), seconds(9)).await.unwrap(), Cancelled::Noted);
        let mut cancels = here.cancels().unwrap();
        let mut next = async || timeout(LIMIT, cancels.next()).await.unwrap().unwrap().unwrap();
        let request = next().await;
        assert_eq!((&request.job, request.grace), (first.job(), seconds(9)));
        for grace in [seconds(9), seconds(10), seconds(2), seconds(3)] {
            there.request_cancel(first.job(), grace).await.unwrap();
        }
        there.request_cancel(second.job(), Duration::MAX).await.unwrap();
        let request = next().await;
        assert_eq!((&request.job, request.grace), (first.job(), seconds(2)));
        assert_eq!(next().await.job, *second.job());
        assert_eq!(first.record().await.unwrap().cancel.unwrap().grace, seconds(2));
        first.outcome(&exited(first.job(), 143)).await.unwrap();
        let late = there.request_cancel(first.job(), Duration::ZERO).await.unwrap();
        assert_eq!(late, Cancelled::AlreadyEnded);
    }
}

#[tokio::test]
async fn a_request_to_cancel_a_job_that_is_not_there_is_an_error() {
    for (journal, _folder) in on_each_store().await {
        let error = journal.request_cancel(&job().id, Duration::ZERO).await.unwrap_err();
        assert!(matches!(error, JournalError::NoSuchJob(_)), "{error}");
    }
}

#[tokio::test]
async fn who_attends_a_job_is_told_of_its_end_or_gets_it_when_it_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    for (here, there) in [(open(folder.path()).await, open(folder.path()).await), {
        let journal = Journal::in_memory().unwrap();
        (journal.clone(), journal)
    }] {
        let (ends, freed) = (submit(&here, job()).await, submit(&here, job()).await);
        let attend = |id: &longshore_core::JobId| {
            let (there, id) = (there.clone(), id.clone());
            tokio::spawn(async move { timeout(LIMIT, there.attend(&id)).await.unwrap().unwrap() })
        };
        let (end, free) = (attend(ends.job()), attend(freed.job()));
        // Lets the tasks start to wait. They would find the change even if they did not.
        tokio::task::yield_now().await;
        ends.outcome(&exited(ends.job(), 4)).await.unwrap();
        let Attended::Ended(record) = end.await.unwrap() else { panic!("it has ended") };
        assert_eq!(record.result, Some(exited(ends.job(), 4)));
        let id = freed.job().clone();
        assert!(!free.is_finished());
        drop(freed);
        let Attended::Claimed(claim) = free.await.unwrap() else { panic!("it has not ended") };
        assert_eq!(*claim.job(), id);
        let error = there.attend(&job().id).await.unwrap_err();
        assert!(matches!(error, JournalError::NoSuchJob(_)), "{error}");
    }
}

#[tokio::test]
async fn who_waits_for_a_jobs_start_is_told_of_it_of_its_end_and_that_nobody_has_it() {
    let folder = tempfile::tempdir().unwrap();
    for (here, there) in [(open(folder.path()).await, open(folder.path()).await), {
        let journal = Journal::in_memory().unwrap();
        (journal.clone(), journal)
    }] {
        let starts = submit(&here, job()).await;
        let (ends, freed) = (submit(&here, job()).await, submit(&here, job()).await);
        let begun = |claim: &Claim| {
            let (there, id) = (there.clone(), claim.job().clone());
            let begun = async move { timeout(LIMIT, there.until_begun(&id)).await };
            tokio::spawn(async move { begun.await.unwrap().unwrap().state() })
        };
        let (start, end, free) = (begun(&starts), begun(&ends), begun(&freed));
        // Lets the tasks start to wait. They would find the change even if they did not.
        tokio::task::yield_now().await;
        starts.intent(attempt(starts.job(), 1)).await.unwrap();
        starts.started(1, None, None).await.unwrap();
        assert_eq!(start.await.unwrap(), State::Running);
        ends.outcome(&exited(ends.job(), 4)).await.unwrap();
        assert_eq!(end.await.unwrap(), State::Ended);
        assert!(!free.is_finished());
        drop(freed);
        assert_eq!(free.await.unwrap(), State::Queued);
    }
}

#[tokio::test]
async fn steps_of_many_jobs_at_once_are_all_on_record() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let jobs = (0..500).map(|_| {
        let journal = journal.clone();
        tokio::spawn(async move { finished(&journal).await })
    });
    let mut ids: Vec<_> =
        futures::future::join_all(jobs).await.into_iter().map(Result::unwrap).collect();
    ids.sort();
    let records = open(folder.path()).await.list(Filter::default()).await.unwrap();
    let mut found: Vec<_> =
        records.iter().filter(|r| r.is_finished()).map(|r| r.id.clone()).collect();
    found.sort();
    assert_eq!(found, ids);
    journal.check().await.unwrap();
}

#[tokio::test]
async fn a_step_that_fails_among_others_at_once_takes_none_of_them_with_it() {
    for (journal, _folder) in on_each_store().await {
        let claim = submit(&journal, job()).await;
        let other = submit(&journal, job()).await;
        let (first, wrong, second) = tokio::join!(
            claim.intent(attempt(claim.job(), 1)),
            claim.intent(attempt(claim.job(), 2)),
            other.intent(attempt(other.job(), 1)),
        );
        first.unwrap();
        second.unwrap();
        assert!(matches!(wrong, Err(JournalError::OutOfOrder { .. })), "{wrong:?}");
        assert_eq!(claim.record().await.unwrap().attempts.len(), 1);
    }
}

#[tokio::test]
async fn the_installation_is_made_with_the_journal_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let first = open(folder.path()).await.installation().clone();
    assert_eq!(*open(folder.path()).await.installation(), first);
    let other = tempfile::tempdir().unwrap();
    assert_ne!(*open(other.path()).await.installation(), first);
}

#[tokio::test]
async fn what_could_not_be_passed_on_stays_on_record_also_after_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let claim = submit(&journal, job()).await;
    let id = claim.job().clone();
    assert!(journal.record(&id).await.unwrap().undelivered.is_empty());
    journal.undelivered(&id, "first").await.unwrap();
    claim.outcome(&exited(&id, 0)).await.unwrap();
    journal.undelivered(&id, "second").await.unwrap();
    let record = open(folder.path()).await.record(&id).await.unwrap();
    assert_eq!(record.undelivered, ["first", "second"]);
    let unknown = journal.undelivered(&"unknown".parse().unwrap(), "x").await.unwrap_err();
    assert!(matches!(unknown, JournalError::NoSuchJob(_)), "{unknown:?}");
}
