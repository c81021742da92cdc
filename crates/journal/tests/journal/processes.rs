//! Tests of several processes at once.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use longshore_journal::{Attended, Cancelled, Filter, Journal, Submitted};
use tokio::time::timeout;

use crate::common::{attempt, exited, finished, job, open, submit};
use crate::parts::{Part, say, told};

const LIMIT: Duration = Duration::from_secs(60);

/// Returns the only job.
async fn only(journal: &Journal) -> longshore_core::JobId {
    let records = journal.list(Filter::default()).await.unwrap();
    let [record] = records.as_slice() else { panic!("{records:?}") };
    record.id.clone()
}

/// Part: claims the only job on the test's signal, and holds it until its input is closed.
pub async fn claim(folder: &Path) {
    let journal = open(folder).await;
    let id = only(&journal).await;
    say("ready");
    assert!(told());
    let claim = journal.claim(&id).await.unwrap();
    say(if claim.is_some() { "claimed" } else { "none" });
    while told() {}
}

/// Part: attends the only job.
pub async fn attend(folder: &Path) {
    let journal = open(folder).await;
    let id = only(&journal).await;
    say("ready");
    match timeout(LIMIT, journal.attend(&id)).await.unwrap().unwrap() {
        Attended::Ended(record) => say(&record.result.unwrap().outcome.to_string()),
        Attended::Claimed(_) => say("claimed"),
        _ => unreachable!(),
    }
}

/// Part: opens a journal that may not exist yet, at the same time as others.
pub async fn open_at_once(folder: &Path) {
    say("ready");
    assert!(told());
    let journal = open(folder).await;
    finished(&journal).await;
    say(journal.installation().as_str());
}

/// Part: submits a job with a key that others use at the same time.
pub async fn submit_at_once(folder: &Path) {
    let journal = open(folder).await;
    say("ready");
    assert!(told());
    let mut new = job();
    new.idempotency_key = Some("once".to_owned());
    match journal.submit(new).await.unwrap() {
        Submitted::New(claim) => say(&format!("new {}", claim.job())),
        Submitted::Known(id) => say(&format!("known {id}")),
        _ => unreachable!(),
    }
}

/// Starts `count` processes with one part and signals them at the same time.
fn all_at_once(part: &str, folder: &Path, count: usize) -> Vec<Part> {
    let mut parts: Vec<_> = (0..count).map(|_| Part::play(part, folder)).collect();
    for part in &mut parts {
        assert_eq!(part.line().as_deref(), Some("ready"));
    }
    parts.iter_mut().for_each(Part::tell);
    parts
}

#[tokio::test]
async fn of_processes_that_claim_a_job_at_once_one_gets_it_and_its_kill_frees_it_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let id = submit(&journal, job()).await.job().clone();
    let mut parts = all_at_once("claim", folder.path(), 8);
    let answers: Vec<_> = parts.iter_mut().map(|part| part.line().unwrap()).collect();
    let holder = answers.iter().position(|answer| answer == "claimed").expect("one has it");
    assert_eq!(answers.iter().filter(|answer| *answer == "none").count(), 7, "{answers:?}");
    assert!(journal.is_claimed(&id).unwrap());
    assert!(journal.claim(&id).await.unwrap().is_none());
    parts[holder].kill();
    // The holder's output ends when it is dead. The kernel has freed its locks by then, or is about
    // to.
    parts[holder].lines();
    let attended = timeout(LIMIT, journal.attend(&id)).await.unwrap().unwrap();
    assert!(matches!(attended, Attended::Claimed(_)), "{attended:?}");
}

#[tokio::test]
async fn who_attends_a_job_in_another_process_is_told_of_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let claim = submit(&journal, job()).await;
    let mut part = Part::play("attend", folder.path());
    assert_eq!(part.line().as_deref(), Some("ready"));
    claim.outcome(&exited(claim.job(), 3)).await.unwrap();
    assert_eq!(part.line().as_deref(), Some("exited with code 3"));
}

#[tokio::test]
async fn who_attends_a_job_gets_it_when_its_holder_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let id = submit(&journal, job()).await.job().clone();
    let mut holder = all_at_once("claim", folder.path(), 1).remove(0);
    assert_eq!(holder.line().as_deref(), Some("claimed"));
    let waiting = tokio::spawn({
        let (journal, id) = (journal.clone(), id.clone());
        async move { timeout(LIMIT, journal.attend(&id)).await.unwrap().unwrap() }
    });
    // The task must get the job whether it already waits or not.
    tokio::task::yield_now().await;
    holder.kill();
    let Attended::Claimed(claim) = waiting.await.unwrap() else { panic!("it has not ended") };
    claim.intent(attempt(&id, 1)).await.unwrap();
}

#[tokio::test]
async fn a_cancel_from_another_process_needs_no_claim() {
    let folder = tempfile::tempdir().unwrap();
    let id = submit(&open(folder.path()).await, job()).await.job().clone();
    let mut holder = all_at_once("claim", folder.path(), 1).remove(0);
    assert_eq!(holder.line().as_deref(), Some("claimed"));
    let journal = open(folder.path()).await;
    let asked = journal.request_cancel(&id, Duration::from_secs(1)).await.unwrap();
    assert_eq!(asked, Cancelled::Noted);
}

#[test]
fn processes_that_make_a_journal_at_once_make_the_same_one() {
    for _ in 0..5 {
        let folder = tempfile::tempdir().unwrap();
        let mut parts = all_at_once("open", &folder.path().join("state"), 6);
        let mut made: Vec<_> = parts.iter_mut().map(|part| part.line().unwrap()).collect();
        made.dedup();
        assert_eq!(made.len(), 1, "{made:?}");
        assert!(parts.into_iter().all(Part::ends_well));
    }
}

#[test]
fn of_processes_that_submit_with_one_key_at_once_one_has_a_new_job() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = all_at_once("submit", folder.path(), 6);
    let answers: Vec<_> = parts.iter_mut().map(|part| part.line().unwrap()).collect();
    let new: Vec<_> = answers.iter().filter_map(|answer| answer.strip_prefix("new ")).collect();
    let [new] = new.as_slice() else { panic!("{answers:?}") };
    let known = format!("known {new}");
    assert_eq!(answers.iter().filter(|answer| **answer == known).count(), 5, "{answers:?}");
}

/// Part: runs a few jobs and ends without closing the journal, as a command does.
pub async fn finish_some(folder: &Path) {
    let journal = open(folder).await;
    for _ in 0..8 {
        finished(&journal).await;
    }
    std::process::exit(0);
}

/// The log grew by 13 KiB for each job, and was never begun anew.
#[tokio::test]
async fn a_process_that_writes_without_a_pause_leaves_no_log_that_grows() {
    const LONGEST: u64 = 24 << 20;
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let jobs = futures::stream::iter(0..1500).map(|_| finished(&journal)).buffer_unordered(16);
    assert_eq!(jobs.count().await, 1500);
    let length = std::fs::metadata(folder.path().join("journal.db-wal")).unwrap().len();
    assert!(length < LONGEST, "{length}");
}

/// The next command had to read the whole log, up to 32 MiB.
#[test]
fn commands_that_end_without_closing_the_journal_leave_no_log_that_grows() {
    const LONGEST: u64 = 6 << 20;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("journal.db-wal");
    let mut lengths = Vec::new();
    for _ in 0..60 {
        assert!(Part::play("finish", folder.path()).ends_well());
        lengths.push(std::fs::metadata(&log).unwrap().len());
    }
    assert!(lengths.iter().all(|length| *length < LONGEST), "{lengths:?}");
    // Each part left its steps in the log, without which this test would show nothing.
    assert!(lengths[0] > 1 << 16, "{lengths:?}");
}
