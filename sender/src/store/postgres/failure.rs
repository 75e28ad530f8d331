//! What can go wrong inside the backend, and what its callers learn of it.

use tokio_postgres::error::SqlState;

use crate::store::StoreError;

/// A failure on its way out, before it is told in the store's own words.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database said so, or the connection to it.
    Sql(tokio_postgres::Error),
    /// We said so.
    Store(StoreError),
    /// Nobody knows whether it was done: no answer came in time, or one that may be taken back.
    Unknown(&'static str),
    /// There is no connection on which anything could be asked for.
    NotConnected(StoreError),
}

/// What the database answered, without the values that its own text may quote.
#[derive(Debug, thiserror::Error)]
#[error("the database refused it ({code}): {message}")]
struct Refused {
    code: String,
    message: String,
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Said(&'static str);

impl Failure {
    /// A stored value that cannot have been written by this program.
    pub(super) fn corrupt(what: &'static str) -> Self {
        Self::Store(StoreError::Corrupt { what })
    }

    /// It cannot be done now.
    pub(super) fn unavailable(why: &'static str) -> Self {
        Self::Store(StoreError::Unavailable(Box::new(Said(why))))
    }

    /// Whether the database refused one command, and the connection is good for others.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Sql(error) => error.as_db_error().is_some_and(|refused| !ends_connection(refused.code())),
            Self::Store(_) => true,
            Self::Unknown(_) | Self::NotConnected(_) => false,
        }
    }

    /// Whether the database refused it with this code.
    pub(super) fn is(&self, code: &SqlState) -> bool {
        matches!(self, Self::Sql(error) if error.code() == Some(code))
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Store(error) | Failure::NotConnected(error) => error,
            Failure::Sql(error) => from_postgres(error),
            Failure::Unknown(why) => Self::Unavailable(Box::new(Said(why))),
        }
    }
}

fn from_postgres(error: tokio_postgres::Error) -> StoreError {
    let Some(refused) = error.as_db_error() else { return StoreError::Unavailable(Box::new(error)) };
    let code = refused.code();
    if *code == SqlState::DISK_FULL {
        return StoreError::Full;
    }
    if *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED {
        return StoreError::Corrupt { what: "database" };
    }
    let (code, message) = (code.code().to_owned(), refused.message().to_owned());
    StoreError::Unavailable(Box::new(Refused { code, message }))
}

/// The server goes down, or is not one to write to any more: another connection finds the one that is.
fn ends_connection(code: &SqlState) -> bool {
    let ends = *code == SqlState::READ_ONLY_SQL_TRANSACTION
        || matches!(code.code().get(..2), Some("08" | "57" | "58"));
    ends && *code != SqlState::QUERY_CANCELED
}
