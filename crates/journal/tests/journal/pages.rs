//! Lists of records: conditions and pages.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as its tests do")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{attempt, exited, job, on_each_store, open, submit};
use jiff::Timestamp;
use longshore_core::{Error, ErrorKind, JobId, JobSpec, RunnerName};
use longshore_journal::{Claim, Cursor, Filter, Journal, State};

async fn labelled(journal: &Journal, labels: &[(&str, &str)]) -> Claim {
    let mut spec = JobSpec::process(["true"]);
    spec.labels = labels.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let mut new = job();
    new.spec = Arc::new(spec);
    submit(journal, new).await
}

async fn listed(journal: &Journal, filter: Filter) -> Vec<JobId> {
    let records = journal.list(filter).await.unwrap();
    records.into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn a_job_is_found_by_all_of_the_given_labels() {
    for (journal, _folder) in on_each_store().await {
        let both = labelled(&journal, &[("team", "red"), ("tier", "1")]).await;
        let one = labelled(&journal, &[("team", "red")]).await;
        labelled(&journal, &[("team", "blue")]).await;
        labelled(&journal, &[]).await;
        let red = Filter::default().label("team", "red");
        assert_eq!(listed(&journal, red.clone()).await, [one.job().clone(), both.job().clone()]);
        assert_eq!(listed(&journal, red.label("tier", "1")).await, [both.job().clone()]);
        assert!(listed(&journal, Filter::default().label("team", "re")).await.is_empty());
    }
}

/// The command read the newest 10,000 records to find a name.
#[tokio::test]
async fn a_job_is_found_by_its_whole_name_the_newest_first() {
    for (journal, _folder) in on_each_store().await {
        let mut jobs = Vec::new();
        for name in ["nightly", "nightly", "nightly-2", "Nightly"] {
            let mut spec = JobSpec::process(["true"]);
            spec.name = Some(name.to_owned());
            let mut new = job();
            new.spec = Arc::new(spec);
            jobs.push(submit(&journal, new).await.job().clone());
        }
        labelled(&journal, &[]).await;
        let nightly = Filter::default().name("nightly");
        assert_eq!(listed(&journal, nightly.clone()).await, [jobs[1].clone(), jobs[0].clone()]);
        assert_eq!(listed(&journal, nightly.limit(1)).await, [jobs[1].clone()]);
    }
}

#[tokio::test]
async fn a_job_is_found_by_its_state_and_by_the_runner_that_it_may_be_on() {
    for (journal, _folder) in on_each_store().await {
        let queued = labelled(&journal, &[]).await;
        let launching = labelled(&journal, &[]).await;
        launching.intent(attempt(launching.job(), 1)).await.unwrap();
        let running = labelled(&journal, &[]).await;
        running.intent(attempt(running.job(), 1)).await.unwrap();
        running.started(1, None, None).await.unwrap();
        let refused = labelled(&journal, &[]).await;
        refused.intent(attempt(refused.job(), 1)).await.unwrap();
        refused.refused(1, &Error::new(ErrorKind::Unavailable, "away")).await.unwrap();
        let ended = labelled(&journal, &[]).await;
        ended.intent(attempt(ended.job(), 1)).await.unwrap();
        ended.outcome(&exited(ended.job(), 0)).await.unwrap();
        let ids = |claims: &[&Claim]| claims.iter().map(|c| c.job().clone()).collect::<Vec<_>>();
        for (state, claims) in [
            (State::Queued, &[&refused, &queued][..]),
            (State::Launching, &[&launching]),
            (State::Running, &[&running]),
            (State::Ended, &[&ended]),
        ] {
            let found = listed(&journal, Filter::default().state(state)).await;
            assert_eq!(found, ids(claims), "{state:?}");
        }
        let docker = Filter::default().runner(RunnerName::docker());
        let on_docker = ids(&[&ended, &running, &launching]);
        assert_eq!(listed(&journal, docker.clone()).await, on_docker);
        assert_eq!(listed(&journal, docker.not_ended()).await, on_docker[1..]);
        let kubernetes = Filter::default().runner(RunnerName::kubernetes());
        assert!(listed(&journal, kubernetes).await.is_empty());
    }
}

#[tokio::test]
async fn a_job_is_found_by_the_time_of_its_submission() {
    for (journal, _folder) in on_each_store().await {
        let mut times = Vec::new();
        for _ in 0..3 {
            let claim = labelled(&journal, &[]).await;
            times.push((journal.record(claim.job()).await.unwrap().submitted_at, claim));
        }
        let ids = |range: std::ops::Range<usize>| {
            times[range].iter().rev().map(|(_, claim)| claim.job().clone()).collect::<Vec<_>>()
        };
        let at = |index: usize| times[index].0;
        let found = async |filter: Filter| listed(&journal, filter).await;
        assert_eq!(found(Filter::default().submitted(at(1)..)).await, ids(1..3));
        assert_eq!(found(Filter::default().submitted(..=at(1))).await, ids(0..2));
        assert_eq!(found(Filter::default().submitted(at(0)..at(2))).await, ids(0..2));
        assert_eq!(found(Filter::default().submitted(..)).await, ids(0..3));
    }
}

#[tokio::test]
async fn pages_have_each_record_once_although_jobs_are_submitted_meanwhile() {
    for (journal, _folder) in on_each_store().await {
        let mut expected = Vec::new();
        for _ in 0..25 {
            expected.push(labelled(&journal, &[("team", "red")]).await.job().clone());
        }
        expected.reverse();
        for filter in [Filter::default(), Filter::default().label("team", "red")] {
            let (mut found, mut filter) = (Vec::new(), filter.limit(10));
            loop {
                let page = journal.list(filter.clone()).await.unwrap();
                labelled(&journal, &[("team", "red")]).await;
                let Some(last) = page.last() else { break };
                // A cursor survives its way through a URL.
                let cursor: Cursor = last.cursor().to_string().parse().unwrap();
                filter = filter.after(cursor);
                found.extend(page.into_iter().map(|record| record.id));
            }
            let found: Vec<_> = found.into_iter().filter(|id| expected.contains(id)).collect();
            assert_eq!(found, expected);
        }
        "yesterday".parse::<Cursor>().unwrap_err();
    }
}

/// Writes many records at once, as a service has after some months.
fn fill(folder: &std::path::Path, count: u32) {
    let file = rusqlite::Connection::open(folder.join("journal.db")).unwrap();
    let now = Timestamp::now().as_microsecond();
    let id: JobId = "00000000".parse().unwrap();
    let result = serde_json::to_string(&exited(&id, 0)).unwrap();
    let spec = serde_json::to_string(&JobSpec::process(["true"])).unwrap();
    file.execute_batch("BEGIN").unwrap();
    let mut label = file
        .prepare("INSERT INTO labels (key, value, time, job) VALUES ('tenant', ?1, ?2, ?3)")
        .unwrap();
    let mut insert = file
        .prepare(
            "INSERT INTO jobs (id, installation, spec, spec_digest, detached, runners, \
             submitted_at, result, ended_at) VALUES (?1, 'tests', json_set(?2, '$.labels', \
             json_object('tenant', ?3)), 'x', 0, '[]', ?4, replace(?5, '00000000', ?1), ?4)",
        )
        .unwrap();
    for number in 0..count {
        let (id, tenant) = (format!("{number:08}"), format!("t{}", number % 1000));
        let at = now - i64::from(count - number) * 1000;
        insert.execute(rusqlite::params![id, spec, tenant, at, result]).unwrap();
        label.execute(rusqlite::params![tenant, at, id]).unwrap();
    }
    drop((insert, label));
    file.execute_batch("COMMIT").unwrap();
}

#[tokio::test]
async fn a_page_of_a_hundred_thousand_records_is_read_in_milliseconds() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    fill(folder.path(), 100_000);
    let last = journal.list(Filter::default().limit(50_000)).await.unwrap().pop().unwrap();
    let middle = last.cursor();
    for (what, filter, count) in [
        ("newest", Filter::default(), 50),
        ("middle", Filter::default().after(middle.clone()), 50),
        ("tenant", Filter::default().label("tenant", "t7"), 50),
        ("tenant, middle", Filter::default().label("tenant", "t7").after(middle), 50),
        ("not ended", Filter::default().not_ended(), 0),
        ("running", Filter::default().state(State::Running), 0),
        ("runner", Filter::default().runner(RunnerName::docker()), 0),
    ] {
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let since = Instant::now();
            let page = journal.list(filter.clone().limit(50)).await.unwrap();
            best = best.min(since.elapsed());
            assert_eq!(page.len(), count, "{what}");
        }
        // A scan of all records takes more than ten times as long, without optimisation.
        assert!(best < Duration::from_millis(50), "{what} took {best:?}");
    }
}
