//! Logs and metrics, neither of which ever carries content.
//!
//! Nothing in the sender logs a payload, a token, a credential, or a URL beyond its origin; this module only decides
//! form and filter. Metrics are those of the `metrics` facade, rendered for Prometheus.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The filter is not one.
    #[error("log.filter: `{filter}` is not a filter; expected one such as `info` or `waxseal_sender=debug`")]
    Filter {
        /// What was given.
        filter: String,
    },
    /// Something else in this process writes the logs.
    #[error("logging has already been started")]
    Started,
}

/// Writes logs to standard error, from now on and for the whole process.
///
/// # Errors
/// If the filter is not one, or logging was started before.
pub fn start_logs(config: &LogConfig) -> Result<(), LogError> {
    let filter =
        EnvFilter::try_new(&config.filter).map_err(|_| LogError::Filter { filter: config.filter.clone() })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().try_init(),
    }
    .map_err(|_| LogError::Started)
}

/// Collects metrics, from now on and for the whole process.
///
/// # Errors
/// If something else in this process collects them.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()
}

/// From a local receiver to the time limit of a POST.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
