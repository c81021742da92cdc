//! What is on record about runners.

use jiff::Timestamp;
use longshore_core::RunnerName;
use rusqlite::{Connection, OptionalExtension, params};

use crate::runner_record::{Access, Outage};
use crate::store::Stored;

/// Returns the name of the fact that `runner` was ready.
fn fact(runner: &RunnerName) -> String {
    format!("access/{runner}")
}

pub(super) fn access(db: &Connection, runner: &RunnerName) -> Stored<Option<Access>> {
    let mut statement = db.prepare_cached("SELECT value FROM facts WHERE name = ?1")?;
    let value: Option<String> = statement.query_row([fact(runner)], |row| row.get(0)).optional()?;
    Ok(value.and_then(|value| {
        // A value that cannot be read is as good as no record: the runner is asked again.
        let (since, access) = value.split_once(' ')?;
        let since = Timestamp::from_millisecond(since.parse().ok()?).ok()?;
        Some(Access { access: access.to_owned(), since })
    }))
}

pub(super) fn record_access(db: &Connection, runner: &RunnerName, access: &Access) -> Stored<()> {
    let value = format!("{} {}", access.since.as_millisecond(), access.access);
    let sql = "INSERT OR REPLACE INTO facts (name, value) VALUES (?1, ?2)";
    db.prepare_cached(sql)?.execute(params![fact(runner), value])?;
    Ok(())
}

pub(super) fn forget_access(db: &Connection, runner: &RunnerName) -> Stored<()> {
    db.prepare_cached("DELETE FROM facts WHERE name = ?1")?.execute([fact(runner)])?;
    Ok(())
}

pub(super) fn outage(db: &Connection, runner: &RunnerName) -> Stored<Option<Outage>> {
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

pub(super) fn record_outage(db: &Connection, runner: &RunnerName, outage: &Outage) -> Stored<()> {
    let sql = "INSERT OR REPLACE INTO outages (runner, server, message, since, until) \
               VALUES (?1, ?2, ?3, ?4, ?5)";
    let Outage { server, message, since, until } = outage;
    let (since, until) = (since.as_millisecond(), until.as_millisecond());
    let runner = runner.as_str();
    db.prepare_cached(sql)?.execute(params![runner, server, message, since, until])?;
    Ok(())
}

pub(super) fn extend_outage(
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

pub(super) fn forget_outage(db: &Connection, runner: &RunnerName) -> Stored<()> {
    db.prepare_cached("DELETE FROM outages WHERE runner = ?1")?.execute([runner.as_str()])?;
    Ok(())
}
