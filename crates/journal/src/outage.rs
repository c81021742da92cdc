//! What processes with the same journal share about runners that do not answer.

use jiff::Timestamp;
use longshore_core::RunnerName;
use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;
use crate::journal::Journal;
use crate::write::Stored;

/// A runner whose server did not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The server, as the runner names it.
    pub server: String,
    /// What was seen, for a person.
    pub message: String,
    /// When it was seen.
    pub since: Timestamp,
    /// Until when no process need ask again.
    pub until: Timestamp,
}

impl Journal {
    /// Returns what is on record about `runner`, however old it is.
    ///
    /// # Errors
    /// If the journal cannot be read.
    pub async fn outage(&self, runner: &RunnerName) -> Result<Option<Outage>> {
        let runner = runner.clone();
        self.0.worker.read(move |db| read(db, &runner)).await
    }

    /// Puts an outage of `runner` on record, in place of an earlier one.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn record_outage(&self, runner: &RunnerName, outage: Outage) -> Result<()> {
        let runner = runner.clone();
        self.0.worker.write(move |db| write(db, &runner, &outage)).await
    }

    /// Extends `outage` to `until`. Returns false if another process has changed it meanwhile. Of
    /// several processes that find the same outage, exactly one can extend it.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn extend_outage(
        &self,
        runner: &RunnerName,
        outage: &Outage,
        until: Timestamp,
    ) -> Result<bool> {
        let (runner, known) = (runner.clone(), outage.until);
        self.0.worker.write(move |db| extend(db, &runner, known, until)).await
    }

    /// Deletes what is on record about `runner`.
    ///
    /// # Errors
    /// If the journal cannot be written.
    pub async fn forget_outage(&self, runner: &RunnerName) -> Result<()> {
        let runner = runner.clone();
        self.0.worker.write(move |db| forget(db, &runner)).await
    }
}

fn read(db: &Connection, runner: &RunnerName) -> Stored<Option<Outage>> {
    let sql = "SELECT server, message, since, until FROM outages WHERE runner = ?1";
    let mut statement = db.prepare_cached(sql)?;
    let row = statement.query_row([runner.as_str()], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    });
    Ok(row.optional()?.and_then(|(server, message, since, until)| {
        // A time that does not exist is as good as no record: the runner is asked again.
        let since = Timestamp::from_millisecond(since).ok()?;
        let until = Timestamp::from_millisecond(until).ok()?;
        Some(Outage { server, message, since, until })
    }))
}

fn write(db: &Connection, runner: &RunnerName, outage: &Outage) -> Stored<()> {
    let sql = "INSERT OR REPLACE INTO outages (runner, server, message, since, until) \
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let Outage { server, message, since, until } = outage;
    let (since, until) = (since.as_millisecond(), until.as_millisecond());
    let runner = runner.as_str();
    db.prepare_cached(sql)?.execute(params![runner, server, message, since, until])?;
    Ok(())
}

fn extend(
    db: &Connection,
    runner: &RunnerName,
    known: Timestamp,
    until: Timestamp,
) -> Stored<bool> {
    let sql = "UPDATE outages SET until = ?3 WHERE runner = ?1 AND until = ?2";
    let times = (known.as_millisecond(), until.as_millisecond());
    let changed = db.prepare_cached(sql)?.execute(params![runner.as_str(), times.0, times.1])?;
    Ok(changed == 1)
}

fn forget(db: &Connection, runner: &RunnerName) -> Stored<()> {
    db.prepare_cached("DELETE FROM outages WHERE runner = ?1")?.execute([runner.as_str()])?;
    Ok(())
}
