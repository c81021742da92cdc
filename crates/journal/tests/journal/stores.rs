//! Tests that every store keeps the same.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as its tests do")]

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use longshore_core::{Error, ErrorKind, ImageReport, JobSpec, PassedOver, PullPolicy, RunnerName};
use longshore_journal::{Access, Journal, Outage, Record, Relaunch};

use crate::common::{attempt, exited, job, on_each_store, submit};

/// Plays the whole life of a job, and returns its record without the times of this process.
pub async fn life(journal: &Journal) -> Record {
    let mut new = job();
    new.id = "lifelong".parse().unwrap();
    new.spec = Arc::new({
        let mut spec = JobSpec::process(["true"]);
        spec.name = Some("extract".to_owned());
        spec.labels = [("team".to_owned(), "red".to_owned())].into();
        spec
    });
    new.idempotency_key = Some("key-1".to_owned());
    new.detached = true;
    new.runners = vec![RunnerName::kubernetes(), RunnerName::docker()];
    new.relaunch = Some(Relaunch::new(7));
    let claim = submit(journal, new).await;
    let id = claim.job().clone();
    let error = Error::new(ErrorKind::Saturated, "no room");
    claim.passed_over(&PassedOver::new(&RunnerName::kubernetes(), &error)).await.unwrap();
    claim.intent(attempt(&id, 1)).await.unwrap();
    claim.refused(1, &error).await.unwrap();
    claim.refused(1, &Error::new(ErrorKind::Denied, "later")).await.unwrap();
    claim.intent(attempt(&id, 3)).await.unwrap();
    let image = ImageReport::new("busybox:1", PullPolicy::Always);
    // The journal keeps microseconds, and milliseconds of grace.
    let at: Timestamp = "2026-01-02T03:04:05.000006789Z".parse().unwrap();
    claim.started(3, Some(at), None).await.unwrap();
    claim.started(3, None, Some(&image)).await.unwrap();
    claim.started(3, None, None).await.unwrap();
    for grace in [9_000_400, 2_000_400, 3_000_400] {
        journal.request_cancel(&id, Duration::from_micros(grace)).await.unwrap();
    }
    journal.undelivered(&id, "its output").await.unwrap();
    claim.outcome(&exited(&id, 3)).await.unwrap();
    claim.removed().await.unwrap();
    let mut record = claim.record().await.unwrap();
    assert!(record.submitted_at <= record.ended_at.unwrap());
    record.submitted_at = Timestamp::UNIX_EPOCH;
    record.ended_at = Some(Timestamp::UNIX_EPOCH);
    record.removed_at = Some(Timestamp::UNIX_EPOCH);
    record.cancel.as_mut().unwrap().asked_at = Timestamp::UNIX_EPOCH;
    record.attempts.iter_mut().for_each(|attempt| attempt.intent_at = Timestamp::UNIX_EPOCH);
    record
}

#[tokio::test]
async fn every_store_keeps_the_same_record_of_the_same_life() {
    let [(one, _), (other, _folder)] = on_each_store().await;
    assert_eq!(life(&one).await, life(&other).await);
}

#[tokio::test]
async fn that_a_runner_was_ready_is_on_record_until_it_is_forgotten() {
    let (docker, other) = (RunnerName::docker(), RunnerName::process());
    let since = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
    let access = |text: &str| Access { access: text.to_owned(), since };
    for (journal, _folder) in on_each_store().await {
        assert_eq!(journal.access(&docker).await.unwrap(), None);
        journal.record_access(&docker, access("first")).await.unwrap();
        journal.record_access(&docker, access("a second one")).await.unwrap();
        journal.record_access(&other, access("other")).await.unwrap();
        assert_eq!(journal.access(&docker).await.unwrap(), Some(access("a second one")));
        journal.forget_access(&docker).await.unwrap();
        assert_eq!(journal.access(&docker).await.unwrap(), None);
        assert_eq!(journal.access(&other).await.unwrap(), Some(access("other")));
    }
}

#[tokio::test]
async fn of_those_that_find_the_same_outage_one_can_extend_it() {
    let docker = RunnerName::docker();
    let since = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
    let until = |seconds| since + SignedDuration::from_secs(seconds);
    let (server, message) = ("unix:///run/docker.sock".to_owned(), "no answer".to_owned());
    let outage = Outage { server, message, since, until: until(5) };
    for (journal, _folder) in on_each_store().await {
        assert!(!journal.extend_outage(&docker, &outage, until(9)).await.unwrap());
        journal.record_outage(&docker, outage.clone()).await.unwrap();
        assert_eq!(journal.outage(&docker).await.unwrap(), Some(outage.clone()));
        assert!(journal.extend_outage(&docker, &outage, until(9)).await.unwrap());
        assert!(!journal.extend_outage(&docker, &outage, until(10)).await.unwrap());
        let extended = Outage { until: until(9), ..outage.clone() };
        assert_eq!(journal.outage(&docker).await.unwrap(), Some(extended));
        journal.forget_outage(&docker).await.unwrap();
        assert_eq!(journal.outage(&docker).await.unwrap(), None);
    }
}
