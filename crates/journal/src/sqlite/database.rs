//! The SQLite file: opening it, checking and migrating its schema, and translating its errors.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use longshore_core::{Cause, InstallationId};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi, params};
use rustix::process::{Resource, getrlimit};

use crate::error::{JournalError, Result, StoreError};
use crate::store::Stored;

/// The migrations in order. Number N takes the schema from version N-1 to N. A released migration
/// is never changed.
const MIGRATIONS: [&str; 6] = [
    include_str!("migrations/0001_jobs.sql"),
    include_str!("migrations/0002_undelivered.sql"),
    include_str!("migrations/0003_filters.sql"),
    include_str!("migrations/0004_outages.sql"),
    include_str!("migrations/0005_relaunch.sql"),
    include_str!("migrations/0006_rows.sql"),
];

/// The newest schema that this version supports.
pub(crate) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// Marks the file as Longshore's (`PRAGMA application_id`): "Lngs".
const APPLICATION_ID: i64 = 0x4c6e_6773;

/// The size of a page of a new file. A command writes some dozen pages to the log, most of them for a few
/// bytes, and reads those of the commands before it.
const PAGE_BYTES: i64 = 1024;

/// The first and the longest pause between attempts to open a locked file. SQLite does not wait on
/// its own when it changes to write-ahead logging.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(50));

/// How many prepared statements a connection caches: more than exist.
const STATEMENTS: usize = 64;

/// An open connection.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    path: PathBuf,
    busy_timeout: Duration,
}

impl Database {
    /// Opens the existing file at `path` for reading and writing, and brings its schema up to date.
    pub(crate) fn open(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let database = Self::connect(path, busy_timeout)?;
        database.patiently(|| database.prepare())?;
        Ok(database)
    }

    /// Opens a file that [`open`](Self::open) has opened before, for reading only.
    pub(crate) fn open_reader(path: &Path, busy_timeout: Duration) -> Result<Self> {
        let database = Self::connect(path, busy_timeout)?;
        let prepare = || Ok(database.connection.pragma_update(None, "query_only", true)?);
        database.patiently(prepare)?;
        Ok(database)
    }

    /// Creates a new database in memory.
    #[cfg(test)]
    pub(crate) fn memory() -> Result<Self> {
        let path = PathBuf::from(":memory:");
        let connection =
            Connection::open_in_memory().map_err(|error| explain(&path, Duration::ZERO, error))?;
        let database = Self { connection, path, busy_timeout: Duration::ZERO };
        let prepared = database.check().and_then(|()| database.settle());
        prepared.map_err(|error| database.explain(error))?;
        Ok(database)
    }

    /// Returns a function that opens the same file once more.
    pub(crate) fn another(&self) -> impl FnOnce() -> Result<Self> + Send + use<> {
        let (path, busy_timeout) = (self.path.clone(), self.busy_timeout);
        move || Self::connect(&path, busy_timeout)
    }

    /// Opens a file that [`open`](Self::open) has opened before.
    fn connect(path: &Path, busy_timeout: Duration) -> Result<Self> {
        // Without SQLITE_OPEN_URI, so that SQLite never interprets a path as a URI.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connect = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(busy_timeout)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            Ok(connection)
        };
        let connection = connect().map_err(|error| explain(path, busy_timeout, error))?;
        Ok(Self { connection, path: path.to_owned(), busy_timeout })
    }

    /// Retries `step` for up to `busy_timeout` while the file is locked.
    fn patiently(&self, step: impl Fn() -> Stored<()>) -> Result<()> {
        let deadline = Instant::now() + self.busy_timeout;
        let (mut pause, longest) = PAUSES;
        loop {
            let error = match step() {
                Ok(()) => return Ok(()),
                Err(error) => self.explain(error),
            };
            if !matches!(error, JournalError::Busy { .. }) || Instant::now() + pause > deadline {
                return Err(error);
            }
            // A pause between two attempts: SQLite does not notify when a file is unlocked.
            std::thread::sleep(pause);
            pause = longest.min(pause * 2);
        }
    }

    fn prepare(&self) -> Stored<()> {
        // SQLite opens a file read-only if it may not write it.
        if self.connection.is_readonly("main")? {
            let error = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
            return Err(JournalError::file(&self.path, error).into());
        }
        self.check_at_rest()?;
        self.write_ahead()?;
        self.settle()
    }

    /// Runs [`check`](Self::check) on one state of the file, even if another process changes it
    /// meanwhile.
    fn check_at_rest(&self) -> Stored<()> {
        let reading = TransactionBehavior::Deferred;
        let transaction = Transaction::new_unchecked(&self.connection, reading)?;
        self.check()?;
        transaction.finish()?;
        Ok(())
    }

    fn settle(&self) -> Stored<()> {
        // Durable at each checkpoint. Between two checkpoints, a killed process loses nothing.
        self.connection.pragma_update(None, "synchronous", "NORMAL")?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        self.migrate()?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, true)?;
        Ok(())
    }

    fn version(&self) -> Stored<i64> {
        Ok(self.connection.pragma_query_one(None, "user_version")?)
    }

    /// Refuses a file that is not Longshore's, or whose schema is newer, before anything is changed.
    ///
    /// Runs in a transaction, because another process may be initialising the file.
    fn check(&self) -> Stored<()> {
        let version = self.version()?;
        let mark: i64 = self.connection.pragma_query_one(None, "application_id")?;
        if mark != APPLICATION_ID && ((mark, version) != (0, 0) || self.has_tables()?) {
            let source = Cause::new("it is a database of another program");
            return Err(JournalError::Corrupt { path: self.path.clone(), source }.into());
        }
        if version > SCHEMA {
            return Err(JournalError::Newer {
                path: self.path.clone(),
                made_by: self.fact("made_by").unwrap_or_else(|_| "unknown version".to_owned()),
                found: version,
                known: SCHEMA,
            }
            .into());
        }
        Ok(())
    }

    fn has_tables(&self) -> Stored<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema)";
        Ok(self.connection.query_row(sql, [], |row| row.get(0))?)
    }

    fn write_ahead(&self) -> Stored<()> {
        let now: String = self.connection.pragma_query_one(None, "journal_mode")?;
        if now == "wal" {
            return Ok(());
        }
        self.connection.pragma_update(None, "page_size", PAGE_BYTES)?;
        let now: String =
            self.connection
                .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if now == "wal" {
            return Ok(());
        }
        let source =
            Cause::new("its file system does not support shared memory (is it on the network?)");
        Err(JournalError::Io { path: self.path.clone(), source }.into())
    }

    /// Brings the schema up to date, unless another process has just done so.
    fn migrate(&self) -> Stored<()> {
        if self.version()? == SCHEMA {
            return Ok(());
        }
        // A table that is replaced would take the rows with it that refer to it.
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
        let transaction =
            Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        self.check()?;
        let version = usize::try_from(self.version()?).unwrap_or_default();
        for migration in MIGRATIONS.iter().skip(version) {
            transaction.execute_batch(migration)?;
        }
        if version < MIGRATIONS.len() {
            transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
            transaction.pragma_update(None, "user_version", SCHEMA)?;
            let insert = "INSERT OR REPLACE INTO facts (name, value) VALUES ('made_by', ?1)";
            transaction.execute(insert, [env!("CARGO_PKG_VERSION")])?;
            let insert = "INSERT OR IGNORE INTO facts (name, value) VALUES ('installation', ?1)";
            transaction.execute(insert, [InstallationId::random().as_str()])?;
        }
        transaction.commit()?;
        Ok(())
    }

    fn fact(&self, name: &str) -> rusqlite::Result<String> {
        let sql = "SELECT value FROM facts WHERE name = ?1";
        self.connection.query_row(sql, params![name], |row| row.get(0))
    }

    /// Returns the installation that owns this journal. It is created with the file.
    pub(crate) fn installation(&self) -> Result<InstallationId> {
        let text = self.fact("installation").map_err(|error| self.explain(error.into()))?;
        text.parse().map_err(|error| JournalError::Corrupt {
            path: self.path.clone(),
            source: Cause::new(error),
        })
    }

    /// Translates `error` to a [`JournalError`].
    pub(crate) fn explain(&self, error: StoreError) -> JournalError {
        match error {
            StoreError::Journal(error) => error,
            StoreError::Sqlite(error) => explain(&self.path, self.busy_timeout, error),
        }
    }
}

fn explain(path: &Path, waited: Duration, error: rusqlite::Error) -> JournalError {
    let path = path.to_owned();
    let found = error.sqlite_error().copied();
    let source = Cause::new(error);
    let Some(found) = found else { return JournalError::Io { path, source } };
    match found.code {
        ErrorCode::DiskFull => JournalError::DiskFull { path, source },
        _ if [ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_IOERR_WRITE]
            .contains(&found.extended_code)
            && let Some(limit) = getrlimit(Resource::Fsize).current =>
        {
            JournalError::FileTooLarge { path, limit, source }
        }
        // The shared-memory file could not be made larger.
        _ if found.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
            JournalError::DiskFull { path, source }
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
            JournalError::Corrupt { path, source }
        }
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            JournalError::Busy { path, waited, source }
        }
        ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
            JournalError::NotWritable { path, source }
        }
        _ => JournalError::Io { path, source },
    }
}
