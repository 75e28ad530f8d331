//! `waxseal relay`: carries what was committed in an outbox to the sender, until it is told to stop.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use clap::Args;
use serde_json::json;
use tokio::sync::watch;

use super::client::Remote;
use super::error::CliError;
use crate::config::{LogConfig, LogFormat};
use crate::database::Database;
use crate::listen::{ConnectionLimits, Listener, stop_signal};
use crate::relay::{Carried, Relay, batch_size};
use crate::telemetry;

/// Carry what was committed in an outbox to the sender
#[derive(Args)]
#[command(
    after_help = "Examples:\n  waxseal outbox sql | psql --single-transaction -v ON_ERROR_STOP=1 shop\n  waxseal relay --database postgres://relay@localhost/shop\n  waxseal relay --database 'postgres://relay@db1,db2/shop?target_session_attrs=read-write' --database-password-file pw\n  waxseal relay --database postgres://relay@localhost/shop --once      carry what is there, and end\n\nAny number of them may run. The API token needs the scope `publish`. With --once the status is 0 only if nothing was put off."
)]
pub struct RelayArgs {
    /// The database with the outbox, as a postgres:// URL
    #[arg(long, env = "WAXSEAL_OUTBOX", hide_env_values = true, value_name = "URL")]
    database: String,
    /// A file with the password for it
    #[arg(long, env = "WAXSEAL_OUTBOX_PASSWORD_FILE", value_name = "FILE")]
    database_password_file: Option<PathBuf>,
    /// Carry what is there, and end
    #[arg(long)]
    once: bool,
    /// How often to look when there was nothing, such as 250ms
    #[arg(long, env = "WAXSEAL_RELAY_EVERY", default_value = "250ms", value_parser = pause)]
    every: Duration,
    /// The most events in one call, 1 to 100
    #[arg(long, env = "WAXSEAL_RELAY_BATCH", default_value = "100", value_parser = batch_size)]
    batch: u32,
    /// Serve /metrics and /health here, to everybody who can connect
    #[arg(long, env = "WAXSEAL_RELAY_METRICS", value_name = "ADDRESS")]
    metrics: Option<SocketAddr>,
    /// `text` or `json`
    #[arg(long, env = "WAXSEAL_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged, such as `info` or `waxseal_sender=debug`
    #[arg(long, env = "WAXSEAL_LOG")]
    log: Option<String>,
}

impl fmt::Debug for RelayArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL of the database may have a password in it.
        f.debug_struct("RelayArgs")
            .field("once", &self.once)
            .field("batch", &self.batch)
            .finish_non_exhaustive()
    }
}

impl RelayArgs {
    /// Carries until SIGINT or SIGTERM, or until nothing is left.
    ///
    /// # Errors
    /// If an option is not right, there is no outbox in the database, or with `--once` not everything could be carried.
    pub async fn run(self, remote: &Remote) -> Result<(), CliError> {
        let database = Database::parse(&self.database, Path::new(""), self.database_password_file.as_deref());
        let database = database.map_err(|error| CliError::usage(format!("--database: {error}")))?;
        let events = remote.events()?;
        let mut log = LogConfig::default();
        log.format = self.log_format.unwrap_or(log.format);
        log.filter = self.log.unwrap_or(log.filter);
        telemetry::start_logs(&log).map_err(|error| CliError::usage(error.to_string()))?;
        let relay = Relay::new(database, events, self.every, self.batch);
        let failed = |error| CliError::failed("cannot relay", error);
        if self.once {
            let carried = relay.drain().await.map_err(failed)?;
            return told(remote, carried);
        }
        let (ending, mut ended) = watch::channel(());
        let serving = match self.metrics {
            Some(address) => Some(serve_metrics(address, async move { drop(ended.changed().await) }).await?),
            None => None,
        };
        tracing::info!("relaying");
        let carried = relay.run(stop_signal()).await;
        drop(ending);
        if let Some(serving) = serving {
            // It ends by itself within seconds, and there is nothing to lose.
            let _ = serving.await;
        }
        let Carried { published, refused, put_off } = carried.map_err(failed)?;
        tracing::info!(published, refused, put_off, "stopped");
        Ok(())
    }
}

/// Says what was carried. Whatever was put off is still there.
fn told(remote: &Remote, carried: Carried) -> Result<(), CliError> {
    let Carried { published, refused, put_off } = carried;
    remote.output().item(&json!({ "published": published, "refused": refused, "put_off": put_off }))?;
    if put_off > 0 {
        return Err(CliError::plain(format!(
            "{put_off} events could not be accepted now, and wait in the outbox"
        )));
    }
    Ok(())
}

/// Serves numbers beside the relay.
async fn serve_metrics(
    address: SocketAddr,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<tokio::task::JoinHandle<std::io::Result<()>>, CliError> {
    let metrics = telemetry::start_metrics();
    let metrics = metrics.map_err(|error| CliError::failed("cannot start metrics", error))?;
    let listener = Listener::bind(address, None, ConnectionLimits::default()).await;
    let listener = listener.map_err(|error| CliError::plain(error.to_string()))?;
    tracing::info!(address = %listener.address(), "serving metrics");
    let router = Router::new()
        .route("/metrics", get(async move || metrics.render()))
        .route("/health", get(async || "relaying\n"));
    Ok(tokio::spawn(listener.serve(router, stop)))
}

/// A time span that is neither nothing nor longer than anybody waits.
fn pause(text: &str) -> Result<Duration, String> {
    let allowed = Duration::from_millis(1)..=Duration::from_secs(60);
    let span = humantime::parse_duration(text).ok().filter(|span| allowed.contains(span));
    span.ok_or_else(|| "expected a time span from 1ms to 60s".to_owned())
}
