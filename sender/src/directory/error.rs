//! Why a change was not made.

use crate::data_keys::DataKeyError;
use crate::store::StoreError;

/// Why a change was not made. Nothing of it was stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// What it is about does not exist.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// The id that was given.
        id: String,
    },
    /// What should be created exists.
    #[error("there is already a {what} `{id}`")]
    Exists {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// What should be removed is still named by something else.
    #[error("the {what} `{id}` is still used by {by}")]
    InUse {
        /// What kind of thing.
        what: &'static str,
        /// Its id.
        id: String,
        /// By what.
        by: String,
    },
    /// So many recoveries go on already that another one has to wait for the end of one of them.
    #[error("a consumer has at most {most} recoveries that run; these do: {}", running.join(", "))]
    TooManyRunning {
        /// How many may run.
        most: usize,
        /// Which ones do, each with its endpoint.
        running: Vec<String>,
    },
    /// A field does not fit the rest of the configuration.
    #[error("{field}: {detail}")]
    Invalid {
        /// The field, as the API names it.
        field: &'static str,
        /// What is wrong and what was expected.
        detail: String,
    },
    /// A data key is not to be had.
    #[error(transparent)]
    Key(#[from] DataKeyError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError {
    /// Whether another node has changed something at the same moment, so that it may be tried again.
    pub(crate) fn is_superseded(&self) -> bool {
        matches!(self, Self::Store(StoreError::Superseded))
    }

    /// A stable code for logs, metrics and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "directory.not_found",
            Self::Exists { .. } => "directory.exists",
            Self::InUse { .. } => "directory.in_use",
            Self::TooManyRunning { .. } => "directory.too_many_running",
            Self::Invalid { .. } => "directory.invalid",
            Self::Key(_) => "directory.data_key",
            Self::Store(error) => error.code(),
        }
    }
}
