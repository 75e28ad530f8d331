//! The store that the configuration names, opened: a file that this process has to itself, or a database.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::CliError;
use crate::config::{Config, StoreLocation};
use crate::database::Database;
use crate::store::postgres::PostgresStore;
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};

/// An open store.
#[derive(Debug)]
pub(super) enum Opened {
    File { store: Arc<SqliteStore>, path: PathBuf },
    Postgres { store: Arc<PostgresStore>, shown: String },
}

impl Opened {
    /// Opens it.
    ///
    /// # Errors
    /// If it cannot be had, or is damaged.
    pub(super) async fn open(config: &Config) -> Result<Self, CliError> {
        Self::or_cannot("open", config).await
    }

    /// As [`Self::open`], of a store that need not be there yet.
    ///
    /// # Errors
    /// If it cannot be had, or is damaged.
    pub(super) async fn make(config: &Config) -> Result<Self, CliError> {
        Self::or_cannot("make", config).await
    }

    async fn or_cannot(verb: &str, config: &Config) -> Result<Self, CliError> {
        let failed =
            |error: StoreError| CliError::failed(format!("cannot {verb} the store {}", config.store), error);
        match &config.store {
            StoreLocation::File(path) => match SqliteStore::open(path) {
                Ok(store) => Ok(Self::File { store: Arc::new(store), path: path.clone() }),
                Err(error @ StoreError::Corrupt { .. }) => Err(CliError::damaged(path, &error)),
                Err(error) => Err(failed(error)),
            },
            StoreLocation::Postgres { url, folder } => {
                let database = database(config, url, folder)?;
                let store = PostgresStore::open(&database).await.map_err(failed)?;
                Ok(Self::Postgres { store: Arc::new(store), shown: database.to_string() })
            }
        }
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::File { store, .. } => Arc::<SqliteStore>::clone(store),
            Self::Postgres { store, .. } => Arc::<PostgresStore>::clone(store),
        }
    }

    /// What was found to be damaged, if something was.
    pub(super) fn damage(&self) -> Option<&'static str> {
        match self {
            Self::File { store, .. } => store.damage(),
            // Whoever runs the database looks after its pages.
            Self::Postgres { .. } => None,
        }
    }

    /// The error that says so.
    pub(super) fn damaged(&self, what: &'static str) -> CliError {
        match self {
            Self::File { path, .. } => CliError::damaged(path, &StoreError::Corrupt { what }),
            Self::Postgres { shown, .. } => {
                CliError::failed(format!("the store {shown} is damaged"), StoreError::Corrupt { what })
            }
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::File { store, .. } => store.close().await,
            Self::Postgres { store, .. } => store.close().await,
        }
    }
}

/// How the database is reached.
///
/// # Errors
/// If the URL or the file of the password cannot be used.
pub(super) fn database(config: &Config, url: &str, folder: &Path) -> Result<Database, CliError> {
    // It is relative to the configuration already, or to where the program runs; never to the folder of the URL.
    let password_file = config.store_password_file.as_deref().map(std::path::absolute).transpose();
    let password_file = password_file.map_err(|error| CliError::failed("store_password_file", error))?;
    Database::parse(url, folder, password_file.as_deref())
        .map_err(|error| CliError::usage(format!("store: {error}")))
}
