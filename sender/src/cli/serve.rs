//! `waxseal serve`: the sender, until it is told to stop.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use waxseal_envelope::Issuer;
use waxseal_keys::KeyEncryptionKey;
use waxseal_keys::SystemClock;

use super::damage::{self, OnDamage};
use super::error::CliError;
use crate::config::{Config, LogFormat, TlsConfig};
use crate::sender::{Sender, Settings};
use crate::store::sqlite::SqliteStore;
use crate::store::{Store, StoreError};
use crate::{listen, telemetry};

/// Serve the API and the JWKS, and deliver
#[derive(Args)]
#[command(
    after_help = "Examples:\n  waxseal serve\n  waxseal serve --config /etc/waxseal/waxseal.toml --listen 0.0.0.0:8443 --tls-cert cert.pem --tls-key key.pem"
)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, env = "WAXSEAL_CONFIG", default_value = super::init::CONFIG_FILE)]
    config: PathBuf,
    /// Who the tokens come from
    #[arg(long, env = "WAXSEAL_ISSUER")]
    issuer: Option<String>,
    /// Where the API and the JWKS are served
    #[arg(long, env = "WAXSEAL_LISTEN")]
    listen: Option<SocketAddr>,
    /// The embedded store's file
    #[arg(long, env = "WAXSEAL_STORE")]
    store: Option<PathBuf>,
    /// The file with the key-encryption key
    #[arg(long, env = "WAXSEAL_KEK_FILE")]
    kek_file: Option<PathBuf>,
    /// The key-encryption key itself; from the environment only, so that it is in no process list
    #[arg(long = "kek-from-environment", env = "WAXSEAL_KEK", hide = true, hide_env_values = true)]
    kek: Option<String>,
    /// PEM file with the server certificate, the leaf first; read again when it changes
    #[arg(long, env = "WAXSEAL_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the server's private key
    #[arg(long, env = "WAXSEAL_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Serve on although the store turned out to be damaged, as far as it can be read
    #[arg(long)]
    despite_damage: bool,
    /// `text` or `json`
    #[arg(long, env = "WAXSEAL_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged, such as `info` or `waxseal_sender=debug`
    #[arg(long, env = "WAXSEAL_LOG")]
    log: Option<String>,
}

impl fmt::Debug for ServeArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key-encryption key may be among the arguments.
        f.debug_struct("ServeArgs").field("config", &self.config).finish_non_exhaustive()
    }
}

impl ServeArgs {
    /// Serves until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// If the configuration is not right or the store, the key or the address cannot be had.
    pub async fn run(self) -> Result<(), CliError> {
        let on_damage = if self.despite_damage { OnDamage::GoOn } else { OnDamage::Stop };
        let (config, kek) = self.settle()?;
        telemetry::start_logs(&config.log).map_err(|error| CliError::usage(error.to_string()))?;
        let metrics =
            telemetry::start_metrics().map_err(|error| CliError::failed("cannot start metrics", error))?;
        let settings = Settings::from_config(&config).map_err(CliError::usage)?;
        let sqlite = SqliteStore::open(&config.store).map_err(|error| match error {
            StoreError::Corrupt { .. } => CliError::damaged(&config.store, &error),
            other => CliError::plain(other.to_string()),
        })?;
        let sqlite = Arc::new(sqlite);
        let store: Arc<dyn Store> = Arc::<SqliteStore>::clone(&sqlite);
        let sender = Sender::start(settings, store, kek, Arc::new(SystemClock))
            .await
            .map_err(|error| damage::not_started(&sqlite, &config.store, &error))?;
        let router = sender.router(move || metrics.render());
        let listener = listen::Listener::bind(config.listen, config.tls.as_ref())
            .await
            .map_err(|error| CliError::plain(error.to_string()))?;
        tracing::info!(address = %listener.address(), issuer = %config.issuer, tls = config.tls.is_some(), "serving");
        let (watched, path) = (Arc::clone(&sqlite), config.store.clone());
        let stop = async move { damage::stop_signal(&watched, &path, on_damage).await };
        let served = listener.serve(router, stop).await;
        tracing::info!("stopping: finishing what is under way");
        sender.stop().await;
        sqlite.close().await;
        damage::found(&sqlite, &config.store, on_damage)?;
        served.map_err(|error| CliError::failed("serving ended", error))
    }

    /// The file, overridden by the environment and the flags.
    fn settle(self) -> Result<(Config, KeyEncryptionKey), CliError> {
        let mut config = Config::read(&self.config).map_err(|error| CliError::usage(error.to_string()))?;
        if let Some(issuer) = self.issuer {
            config.issuer =
                Issuer::parse(&issuer).map_err(|error| CliError::usage(format!("--issuer: {error}")))?;
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.store = self.store.unwrap_or(config.store);
        config.key_encryption_key_file = self.kek_file.unwrap_or(config.key_encryption_key_file);
        if let (Some(cert), Some(key)) = (self.tls_cert, self.tls_key) {
            config.tls = Some(TlsConfig { cert, key });
        }
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.log.filter = self.log.unwrap_or(config.log.filter);
        let kek = match self.kek {
            Some(text) => KeyEncryptionKey::from_text(&text).map_err(|error| format!("WAXSEAL_KEK: {error}")),
            None => KeyEncryptionKey::from_file(&config.key_encryption_key_file)
                .map_err(|error| format!("{}: {error}", config.key_encryption_key_file.display())),
        };
        if !config.store.exists() {
            let store = config.store.display();
            return Err(CliError::usage(format!("there is no store {store}: run `waxseal init` first")));
        }
        Ok((config, kek.map_err(CliError::usage)?))
    }
}
