//! Journals of older versions: nothing is lost when they are brought up to date.
#![expect(clippy::unwrap_used, reason = "a test's helpers fail by panicking, as its tests do")]

use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use longshore_core::RunnerName;
use longshore_journal::{Filter, Record};
use rusqlite::Connection;

use crate::common::open;
use crate::stores::life;

/// Number N takes the schema from version N to N + 1.
const MIGRATIONS: [&str; 5] = [
    include_str!("../../src/sqlite/migrations/0001_jobs.sql"),
    include_str!("../../src/sqlite/migrations/0002_undelivered.sql"),
    include_str!("../../src/sqlite/migrations/0003_filters.sql"),
    include_str!("../../src/sqlite/migrations/0004_outages.sql"),
    include_str!("../../src/sqlite/migrations/0005_relaunch.sql"),
];

/// Creates a journal as `version` has it in `folder`, with what the journal in `newer` has.
fn copy(newer: &Path, folder: &Path, version: usize) {
    let file = Connection::open(folder.join("journal.db")).unwrap();
    for migration in &MIGRATIONS[..version] {
        file.execute_batch(migration).unwrap();
    }
    let mark = format!("PRAGMA application_id = 0x4c6e6773; PRAGMA user_version = {version}");
    file.execute_batch(&mark).unwrap();
    let newer = newer.join("journal.db");
    file.execute("ATTACH ?1 AS newer", [newer.to_str().unwrap()]).unwrap();
    for table in ["facts", "jobs", "attempts", "passed_over", "cancels", "undelivered"] {
        let columns: String = file
            .query_row(
                "SELECT group_concat(name) FROM pragma_table_info(?1, 'main')",
                [table],
                |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_default()),
            )
            .unwrap();
        if !columns.is_empty() {
            let insert =
                format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}");
            file.execute(&insert, []).unwrap();
        }
    }
}

/// Returns what `life` has recorded, as far as a journal of `version` can hold it.
fn held_by(version: usize, record: &Record) -> Record {
    let mut record = record.clone();
    if version < 2 {
        record.undelivered.clear();
    }
    if version < 5 {
        record.relaunch = None;
    }
    record
}

#[tokio::test]
async fn a_journal_of_an_older_version_keeps_its_jobs_and_all_that_refers_to_them() {
    let newer = tempfile::tempdir().unwrap();
    let journal = open(newer.path()).await;
    let id = life(&journal).await.id;
    let record = journal.record(&id).await.unwrap();
    for version in 1..=MIGRATIONS.len() {
        let folder = tempfile::tempdir().unwrap();
        copy(newer.path(), folder.path(), version);
        let older = open(folder.path()).await;
        let expected = held_by(version, &record);
        let filter = Filter::default().label("team", "red").runner(RunnerName::docker());
        assert_eq!(older.list(filter).await.unwrap(), [expected], "of version {version}");
        let later = Timestamp::now() + SignedDuration::from_secs(1);
        assert_eq!(older.sweep(Duration::ZERO, later).await.unwrap(), from_ref(&id));
        let file = Connection::open(folder.path().join("journal.db")).unwrap();
        for table in ["jobs", "attempts", "passed_over", "cancels", "undelivered", "labels"] {
            let count = format!("SELECT count(*) FROM {table}");
            let rows: i64 = file.query_row(&count, [], |row| row.get(0)).unwrap();
            assert_eq!(rows, 0, "{table} of a forgotten job, version {version}");
        }
    }
}

/// Each look-up read whole rows of other jobs, so that a command cost more with each job on record.
#[tokio::test]
async fn no_long_row_lies_in_the_tree_of_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let _journal = open(folder.path()).await;
    let file = Connection::open(folder.path().join("journal.db")).unwrap();
    let mut tables = file
        .prepare("SELECT name FROM pragma_table_list WHERE schema = 'main' AND NOT wr")
        .unwrap();
    let with_row_ids: Vec<String> =
        tables.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    for long in ["jobs", "attempts"] {
        assert!(with_row_ids.contains(&long.to_owned()), "{long}: {with_row_ids:?}");
    }
}
