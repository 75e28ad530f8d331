//! `waxseal serve`: the sender, until it is told to stop.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use waxseal_envelope::Issuer;
use waxseal_keys::{KeyEncryptionKey, SystemClock};

use super::damage::{self, Kept, OnDamage};
use super::error::CliError;
use super::kek::{Insist, Keks};
use super::opened::{self, Opened};
use crate::config::{Config, LogFormat, StoreLocation, TlsConfig, check_node_name, parse_role};
use crate::engine::egress::Egress;
use crate::listen::{self, ConnectionLimits, ListenError, Listener};
use crate::rewrap::{Rewrapped, rewrap};
use crate::sender::{Sender, Settings};
use crate::store::{NodeRole, Store};
use crate::{descriptors, telemetry};

/// Serve the API and the JWKS, and deliver
#[derive(Args, Debug)]
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
    /// The embedded store's file, or the URL of a PostgreSQL database that several nodes share
    #[arg(long, env = "WAXSEAL_STORE", hide_env_values = true)]
    store: Option<String>,
    /// The file with the database's password, if that is not in the URL
    #[arg(long, env = "WAXSEAL_STORE_PASSWORD_FILE")]
    store_password_file: Option<PathBuf>,
    /// What this node does: `all`, `api` (serves the API only) or `engine` (delivers only)
    #[arg(long, env = "WAXSEAL_ROLE", value_parser = parse_role)]
    role: Option<NodeRole>,
    /// What people call this node
    #[arg(long, env = "WAXSEAL_NODE_NAME")]
    node_name: Option<String>,
    /// The file with the key-encryption key
    #[arg(long, env = "WAXSEAL_KEK_FILE")]
    kek_file: Option<PathBuf>,
    /// Insist on the key-encryption key in WAXSEAL_KEK, which takes the file's place where it is set
    #[arg(long)]
    kek_from_environment: bool,
    /// The file with the key-encryption key from before, if the store may still be under it; WAXSEAL_PREVIOUS_KEK takes
    /// its place
    #[arg(long, env = "WAXSEAL_PREVIOUS_KEK_FILE")]
    previous_kek_file: Option<PathBuf>,
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

impl ServeArgs {
    /// Serves until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// If the configuration is not right or the store, the key or the address cannot be had.
    pub async fn run(self) -> Result<(), CliError> {
        let on_damage = if self.despite_damage { OnDamage::GoOn } else { OnDamage::Stop };
        let (config, keks) = self.settle()?;
        telemetry::start_logs(&config.log).map_err(|error| CliError::usage(error.to_string()))?;
        let metrics =
            telemetry::start_metrics().map_err(|error| CliError::failed("cannot start metrics", error))?;
        let settings = Settings::from_config(&config).map_err(CliError::usage)?;
        let open = descriptors::connections_within(descriptors::raise_limit(), config.max_connections);
        let limits = ConnectionLimits { open, ..ConnectionLimits::default() };
        let kept = Kept { opened: Opened::open(&config).await?, on_damage };
        // Before anything is begun: who cannot serve must not deliver, nor make keys that nobody can fetch.
        let served = match Listener::bind(config.listen, config.tls.as_ref(), limits).await {
            Ok(listener) => {
                tracing::info!(address = %listener.address(), tls = config.tls.is_some(), "listening");
                serve(listener, settings, &kept, keks, move || metrics.render()).await
            }
            Err(error) => Err(not_listening(&error)),
        };
        kept.opened.close().await;
        damage::found(&kept)?;
        served
    }

    /// Looks at everything that `run` needs, and takes nothing into use. Returns the configuration file's name.
    ///
    /// # Errors
    /// What `run` would say.
    pub async fn check(self) -> Result<String, CliError> {
        let file = self.config.display().to_string();
        let (config, _) = self.settle()?;
        let settings = Settings::from_config(&config).map_err(CliError::usage)?;
        Egress::new(settings.egress).map_err(CliError::misconfigured)?;
        if let Some(tls) = &config.tls {
            listen::check(tls).await.map_err(CliError::misconfigured)?;
        }
        Ok(file)
    }

    /// The file, overridden by the environment and the flags.
    fn settle(self) -> Result<(Config, Keks), CliError> {
        let mut config = Config::read(&self.config).map_err(CliError::misconfigured)?;
        if let Some(issuer) = self.issuer {
            config.issuer =
                Issuer::parse(&issuer).map_err(|error| CliError::usage(format!("--issuer: {error}")))?;
        }
        config.listen = self.listen.unwrap_or(config.listen);
        config.store = self.store.as_deref().map(StoreLocation::parse).unwrap_or(config.store);
        config.store_password_file = self.store_password_file.or(config.store_password_file);
        config.cluster.role = self.role.unwrap_or(config.cluster.role);
        if let Some(name) = self.node_name {
            check_node_name(&name).map_err(|error| CliError::usage(format!("--node-name: {error}")))?;
            config.cluster.node_name = Some(name);
        }
        config.key_encryption_key_file = self.kek_file.unwrap_or(config.key_encryption_key_file);
        config.previous_key_encryption_key_file =
            self.previous_kek_file.or(config.previous_key_encryption_key_file);
        if let (Some(cert), Some(key)) = (self.tls_cert, self.tls_key) {
            config.tls = Some(TlsConfig { cert, key });
        }
        config.log.format = self.log_format.unwrap_or(config.log.format);
        config.log.filter = self.log.unwrap_or(config.log.filter);
        let insist = if self.kek_from_environment { Insist::OnEnvironment } else { Insist::OnNothing };
        let keks = Keks::read(&config, insist);
        store_exists(&config.store, ": run `waxseal init` first")?;
        match &config.store {
            StoreLocation::Postgres { url, folder } => {
                config.signing.check_shared().map_err(CliError::usage)?;
                drop(opened::database(&config, url, folder)?);
            }
            StoreLocation::File(_) if config.cluster.role == NodeRole::All => {}
            StoreLocation::File(_) => {
                return Err(CliError::usage(
                    "a store in a file has one node, which does everything: leave `role` out, or name a PostgreSQL database",
                ));
            }
        }
        Ok((config, keks?))
    }
}

/// A sender from its start to its stop.
async fn serve(
    listener: Listener,
    settings: Settings,
    kept: &Kept,
    keks: Keks,
    metrics: impl Fn() -> String + Send + Sync + 'static,
) -> Result<(), CliError> {
    let issuer = settings.issuer.clone();
    let store = kept.opened.store();
    let Keks { current, previous } = keks;
    if let Some(previous) = previous {
        change_key(store.as_ref(), &previous, &current).await?;
    }
    let sender = Sender::start(settings, store, current, Arc::new(SystemClock))
        .await
        .map_err(|error| damage::not_started(kept, error))?;
    let stop = damage::stop_signal(kept);
    tracing::info!(%issuer, "serving");
    let served = listener.serve(sender.router(metrics), stop).await;
    tracing::info!("stopping: finishing what is under way");
    sender.stop().await;
    served.map_err(|error| CliError::failed("serving ended", error))
}

/// Whether there is a store, as far as can be said before it is opened.
pub(super) fn store_exists(store: &StoreLocation, remedy: &str) -> Result<(), CliError> {
    match store {
        StoreLocation::File(path) if !path.exists() => {
            Err(CliError::usage(format!("there is no store {store}{remedy}")))
        }
        StoreLocation::File(_) | StoreLocation::Postgres { .. } => Ok(()),
    }
}

fn not_listening(error: &ListenError) -> CliError {
    let remedy = match error {
        ListenError::Address { source, .. } => match source.kind() {
            ErrorKind::AddrInUse => "; stop what listens there, or choose another address with --listen",
            ErrorKind::AddrNotAvailable => "; this machine has no such address, choose another with --listen",
            ErrorKind::PermissionDenied => {
                "; a port below 1024 needs a privilege (CAP_NET_BIND_SERVICE), or choose another with --listen"
            }
            _ => "",
        },
        ListenError::Certificate { .. } => "",
    };
    CliError::plain(format!("{error}{remedy}"))
}

/// Sees to it that the store is under the key that is configured now.
async fn change_key(
    store: &dyn Store,
    previous: &KeyEncryptionKey,
    current: &KeyEncryptionKey,
) -> Result<(), CliError> {
    let what = "cannot change the key-encryption key";
    match rewrap(store, previous, current, &SystemClock)
        .await
        .map_err(|error| CliError::failed(what, error))?
    {
        Rewrapped::Done { data_keys } => tracing::info!(
            kek = current.id(),
            data_keys,
            "the store's keys were wrapped anew; the previous key-encryption key opens none of them any more"
        ),
        Rewrapped::Already => tracing::info!(
            kek = current.id(),
            "the store is under this key-encryption key; the previous one need not be configured any more"
        ),
    }
    Ok(())
}
