//! Tests of damaged, foreign and locked files.
#![expect(clippy::unwrap_used, reason = "parts of tests are not marked as tests")]

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::{InstallationId, JobId};
use longshore_journal::{Journal, JournalError, Options};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::common::{attempt, finished, job, open};

/// Waits until no process has the journal in `state` open. SQLite has then merged everything into
/// one file.
pub async fn closed(state: &Path) {
    let limit = Instant::now() + Duration::from_secs(30);
    while state.join("journal.db-wal").exists() {
        assert!(Instant::now() < limit, "it is not closed");
        sleep(Duration::from_millis(2)).await;
    }
}

/// Creates a closed journal with some jobs.
async fn journal() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    for _ in 0..50 {
        finished(&journal).await;
    }
    drop(journal);
    closed(folder.path()).await;
    let file = folder.path().join("journal.db");
    (folder, file)
}

async fn refused(folder: &Path) -> JournalError {
    let error = Journal::open(folder, Options::default()).await.unwrap_err();
    assert!(error.to_string().contains(folder.to_str().unwrap()), "{error}");
    error
}

fn is_corrupt(error: &JournalError, how: &str) {
    assert!(matches!(error, JournalError::Corrupt { .. }), "{how}: {error:?}");
    assert!(error.to_string().contains("move it away"), "{how}: {error}");
}

/// A job wrote some twenty pages of 4 KiB, most of them for a few bytes, and later commands read them.
#[tokio::test]
async fn a_job_of_some_hundred_bytes_takes_little_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let log = || fs::metadata(folder.path().join("journal.db-wal")).unwrap().len();
    finished(&journal).await;
    let before = log();
    finished(&journal).await;
    let added = log() - before;
    assert!(added < 40 << 10, "{added} bytes");
}

#[tokio::test]
async fn a_truncated_file_is_refused_with_what_to_do() {
    for size in [10, 100, 4096, 5000, 20_000] {
        let (folder, file) = journal().await;
        assert!(file.metadata().unwrap().len() > size);
        OpenOptions::new().write(true).open(&file).unwrap().set_len(size).unwrap();
        is_corrupt(&refused(folder.path()).await, &size.to_string());
    }
}

#[tokio::test]
async fn a_file_of_rubbish_or_text_or_of_another_program_is_refused_and_not_changed() {
    let rubbish: Vec<u8> =
        (0..40_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for content in [rubbish, b"a shopping list, which is no journal\n".repeat(200)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("journal.db");
        fs::write(&file, &content).unwrap();
        is_corrupt(&refused(folder.path()).await, "content");
        assert_eq!(fs::read(&file).unwrap(), content);
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal.db");
    Connection::open(&file).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let before = fs::read(&file).unwrap();
    is_corrupt(&refused(folder.path()).await, "another program's");
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[tokio::test]
async fn rubbish_within_a_file_is_found_when_it_is_read_or_checked() {
    let (folder, file) = journal().await;
    let mut writer = OpenOptions::new().write(true).open(&file).unwrap();
    writer.seek(SeekFrom::Start(4096)).unwrap();
    writer.write_all(&[0xa5; 4096 * 6]).unwrap();
    let found = match Journal::open(folder.path(), Options::default()).await {
        Ok(journal) => journal.check().await,
        Err(error) => Err(error),
    };
    is_corrupt(&found.unwrap_err(), "within");
}

#[tokio::test]
async fn an_empty_file_is_a_new_journal() {
    // A process that is killed just after it has created the file leaves this behind.
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("journal.db"), "").unwrap();
    finished(&open(folder.path()).await).await;
}

#[tokio::test]
async fn a_journal_of_a_newer_longshore_is_refused_naming_it() {
    let (folder, file) = journal().await;
    let newer = "PRAGMA user_version = 99; UPDATE facts SET value = '9.8.7' WHERE name = 'made_by'";
    Connection::open(&file).unwrap().execute_batch(newer).unwrap();
    closed(folder.path()).await;
    let error = refused(folder.path()).await;
    assert!(matches!(error, JournalError::Newer { found: 99, .. }), "{error:?}");
    assert!(error.to_string().contains("made by a newer Longshore: 9.8.7"), "{error}");
}

#[tokio::test]
async fn what_stands_in_the_way_of_the_directory_or_the_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    fs::write(&state, "").unwrap();
    let error = refused(&state).await;
    assert!(matches!(error, JournalError::NotWritable { .. }), "{error:?}");
    fs::remove_file(&state).unwrap();
    fs::create_dir_all(state.join("journal.db")).unwrap();
    let error = refused(&state).await;
    assert!(matches!(error, JournalError::NotWritable { .. }), "{error:?}");
    assert!(error.to_string().contains("journal.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_another_process_keeps_locked_is_an_error_after_the_time_given() {
    let (folder, file) = journal().await;
    let options = Options::default().busy_timeout(Duration::from_millis(100));
    let journal = Journal::open(folder.path(), options).await.unwrap();
    let other = Connection::open(&file).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = journal.submit(job()).await.unwrap_err();
    assert!(matches!(error, JournalError::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains("keeps it locked"), "{error}");
    assert_eq!(journal.unfinished().await.unwrap(), [], "reading still works");
    other.execute_batch("COMMIT").unwrap();
    finished(&journal).await;
}

#[tokio::test]
async fn a_journal_that_is_locked_while_it_is_opened_is_an_error_after_the_time_given() {
    let folder = tempfile::tempdir().unwrap();
    let other = Connection::open(folder.path().join("journal.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let options = Options::default().busy_timeout(Duration::from_millis(100));
    let error = Journal::open(folder.path(), options).await.unwrap_err();
    assert!(matches!(error, JournalError::Busy { .. }), "{error:?}");
    other.execute_batch("COMMIT").unwrap();
    finished(&open(folder.path()).await).await;
}

#[tokio::test]
async fn a_record_that_is_not_understood_is_named() {
    let (folder, file) = journal().await;
    let other = Connection::open(&file).unwrap();
    other.execute_batch("UPDATE jobs SET spec = '{\"what\": 1}'").unwrap();
    let journal = open(folder.path()).await;
    let error = journal.list(longshore_journal::Filter::default()).await.unwrap_err();
    assert!(error.to_string().contains("the specification of job"), "{error}");
}

#[tokio::test]
async fn the_tables_themselves_keep_one_outcome_and_one_attempt_that_may_have_run() {
    let (_folder, file) = journal().await;
    let other = Connection::open(&file).unwrap();
    for (wrong, said) in [
        ("UPDATE jobs SET result = '{}'", "the job has an outcome"),
        ("UPDATE jobs SET result = NULL, ended_at = NULL, removed_at = NULL", "has an outcome"),
        (
            "INSERT INTO attempts SELECT job, 2, runner, handle, pull_policy, intent_at, 'intent', \
             NULL, NULL, NULL, NULL FROM attempts LIMIT 1",
            "UNIQUE",
        ),
        ("UPDATE attempts SET state = 'refused'", "CHECK"),
    ] {
        let error = other.execute_batch(wrong).unwrap_err().to_string();
        assert!(error.contains(said), "{wrong}: {error}");
    }
}

/// What the error about a damaged file says to do led to a journal that did not know the jobs.
#[tokio::test]
async fn a_new_journal_that_replaces_a_lost_one_is_incomplete_until_it_is_declared_complete() {
    let (folder, file) = journal().await;
    assert!(!open(folder.path()).await.is_incomplete(), "nothing was lost");
    closed(folder.path()).await;
    fs::rename(&file, folder.path().join("damaged.db")).unwrap();
    let new = open(folder.path()).await;
    assert!(new.is_incomplete());
    assert!(open(folder.path()).await.is_incomplete(), "another process also learns it");
    new.complete().unwrap();
    new.complete().unwrap();
    assert!(!open(folder.path()).await.is_incomplete());
}

#[tokio::test]
async fn a_first_journal_is_complete_however_many_processes_open_it_at_once() {
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let opened = futures::future::join_all((0..8).map(|_| open(&state))).await;
        assert!(opened.iter().all(|journal| !journal.is_incomplete()));
    }
}

#[tokio::test]
async fn only_a_job_without_a_record_is_adopted() {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path()).await;
    let recorded = finished(&journal).await;
    assert!(journal.claim_unrecorded(&recorded).await.unwrap().is_none());
    let unknown = JobId::random();
    let claim = journal.claim_unrecorded(&unknown).await.unwrap().unwrap();
    assert!(journal.claim_unrecorded(&unknown).await.unwrap().is_none(), "it is claimed");
    let found = attempt(&unknown, 3);
    claim.adopt(InstallationId::random(), found.clone()).await.unwrap();
    let again = claim.adopt(InstallationId::random(), found.clone()).await.unwrap_err();
    assert!(matches!(again, JournalError::JobExists(_)), "{again:?}");
    let record = journal.record(&unknown).await.unwrap();
    assert!(record.is_adopted() && record.detached);
    assert_eq!(record.committed().map(|attempt| &attempt.handle), Some(&found.handle));
}
