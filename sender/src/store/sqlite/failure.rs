//! What can go wrong inside the backend, and what its callers learn of it.

use rusqlite::ErrorCode;

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
