//! `waxseal migrate`: brings the store's tables up to date, and does nothing else.

use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use super::opened::{Opened, database};
use super::output::line;
use crate::config::{Config, StoreLocation};
use crate::store::postgres::PostgresStore;

/// Create the store's tables, or bring older ones up to date
#[derive(Args, Debug)]
#[command(
    after_help = "`waxseal serve` does the same as it starts: the account that serves owns the tables, as it makes and drops a part of them each day. Run it by itself to see that it works before nodes are replaced.\n\nExample:\n  waxseal migrate --store postgres://waxseal@db1,db2/waxseal"
)]
pub struct MigrateArgs {
    /// The configuration file
    #[arg(long, env = "WAXSEAL_CONFIG", default_value = super::init::CONFIG_FILE)]
    config: PathBuf,
    /// The embedded store's file, or the URL of a PostgreSQL database
    #[arg(long, env = "WAXSEAL_STORE", hide_env_values = true)]
    store: Option<String>,
    /// The file with the database's password, if that is not in the URL
    #[arg(long, env = "WAXSEAL_STORE_PASSWORD_FILE")]
    store_password_file: Option<PathBuf>,
}

impl MigrateArgs {
    /// Migrates.
    ///
    /// # Errors
    /// If the store cannot be had, or is that of a newer program.
    pub async fn run(self) -> Result<(), CliError> {
        let mut config = Config::read(&self.config).map_err(CliError::misconfigured)?;
        config.store = self.store.as_deref().map(StoreLocation::parse).unwrap_or(config.store);
        config.store_password_file = self.store_password_file.or(config.store_password_file);
        super::serve::store_exists(&config.store, ": run `waxseal init` first")?;
        match &config.store {
            StoreLocation::File(_) => Opened::open(&config).await?.close().await,
            StoreLocation::Postgres { url, folder } => {
                PostgresStore::migrate(&database(&config, url, folder)?).await.map_err(|error| {
                    CliError::failed(format!("cannot migrate the store {}", config.store), error)
                })?
            }
        }
        line(&format!("The store {} is up to date", config.store))
    }
}
