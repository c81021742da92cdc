//! What processes with the same journal share about runners that were ready.

use jiff::Timestamp;
use longshore_core::RunnerName;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::journal::Journal;
use crate::write::Stored;

/// A runner that was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The access to its server, as the runner names it.
    pub access: String,
    /// When the runner was ready.
    pub since: Timestamp,
}

impl Journal {
    /// Returns what is on record about `runner`, however old it is.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn access(&self, runner: &RunnerName) -> Result<Option<Access>> {
        let name = name(runner);
        self.0.worker.read(move |db| read(db, &name)).await
    }

    /// Puts on record that `runner` was ready, in place of an earlier record.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn record_access(&self, runner: &RunnerName, access: Access) -> Result<()> {
        let name = name(runner);
        self.0.worker.write(move |db| write(db, &name, &access)).await
    }

    /// Deletes what is on record about `runner`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn forget_access(&self, runner: &RunnerName) -> Result<()> {
        let name = name(runner);
        self.0.worker.write(move |db| forget(db, &name)).await
    }
}

/// Returns the name of the fact about `runner`.
fn name(runner: &RunnerName) -> String {
    format!("access/{runner}")
}

fn read(db: &Connection, name: &str) -> Stored<Option<Access>> {
    let mut statement = db.prepare_cached("SELECT value FROM facts WHERE name = ?1")?;
    let value: Option<String> = statement.query_row([name], |row| row.get(0)).optional()?;
    Ok(value.and_then(|value| {
        // A value that cannot be read is as good as no record: the runner is asked again.
        let (since, access) = value.split_once(' ')?;
        let since = Timestamp::from_millisecond(since.parse().ok()?).ok()?;
        Some(Access { access: access.to_owned(), since })
    }))
}

fn write(db: &Connection, name: &str, access: &Access) -> Stored<()> {
    let value = format!("{} {}", access.since.as_millisecond(), access.access);
    let sql = "INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)";
    db.prepare_cached(sql)?.execute(params![name, value])?;
    Ok(())
}

fn forget(db: &Connection, name: &str) -> Stored<()> {
    db.prepare_cached("DELETE FROM facts WHERE name = ?1")?.execute([name])?;
    Ok(())
}
