//! What can go wrong inside the backend, and what its callers learn of it.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use rusqlite::{Connection, ErrorCode};

use super::open::beside;
use crate::store::StoreError;

/// A failure on its way out, before it is told in the store's own words.
#[derive(Debug)]
pub(super) enum Failure {
    /// SQLite said so.
    Sql(rusqlite::Error),
    /// We said so.
    Store(StoreError),
}

impl Failure {
    /// A stored value that cannot have been written by this program.
    pub(super) fn corrupt(what: &'static str) -> Self {
        Self::Store(StoreError::Corrupt { what })
    }
}

impl Failure {
    /// Whether the files are not what was written to them.
    pub(super) fn is_damage(&self) -> bool {
        match self {
            Self::Sql(rusqlite::Error::SqliteFailure(cause, _)) => {
                matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            Self::Sql(_) | Self::Store(_) => false,
        }
    }
}

impl Failure {
    /// Says what an I/O error of a write is, where that can be seen: SQLite tells apart a full disk, but not one that
    /// the system has made read-only after an error of its own.
    pub(super) fn explained(self, connection: &Connection) -> Self {
        let is_io = matches!(&self, Self::Sql(error)
            if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure));
        if is_io && connection.path().is_some_and(is_read_only) {
            return Self::Store(StoreError::ReadOnly);
        }
        self
    }
}

/// Whether the file system of a database lets nobody write. The log is asked: to open and close the database itself
/// would drop the locks that SQLite has on it.
fn is_read_only(database: &str) -> bool {
    let log = beside(Path::new(database), "-wal");
    let opened = OpenOptions::new().write(true).open(log);
    opened.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) => error,
            Failure::Sql(error) => from_sqlite(error),
        }
    }
}

/// What a job that panicked is answered with. The panic itself has been reported by the panic hook.
pub(super) fn panicked() -> Failure {
    Failure::Store(StoreError::Unavailable("a command of the store panicked; it was undone".into()))
}

fn from_sqlite(error: rusqlite::Error) -> StoreError {
    match &error {
        rusqlite::Error::SqliteFailure(cause, _)
            if matches!(cause.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) =>
        {
            StoreError::Corrupt { what: "database file" }
        }
        rusqlite::Error::SqliteFailure(cause, _) if cause.code == ErrorCode::DiskFull => StoreError::Full,
        rusqlite::Error::SqliteFailure(cause, _) if cause.code == ErrorCode::ReadOnly => StoreError::ReadOnly,
        rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::InvalidColumnType(..) => StoreError::Corrupt { what: "stored value" },
        // The text of an SQLite error names tables and columns, never values.
        _ => StoreError::Unavailable(Box::new(error)),
    }
}
