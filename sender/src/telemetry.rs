//! Logs and metrics, neither of which ever carries content.
//!
//! Nothing in the sender logs a payload, a token, a credential, or a URL beyond its origin; this module only decides
//! form and filter. Metrics are those of the `metrics` facade, rendered for Prometheus. Guarantees that they take no more
//! memory for not being asked for: what is measured is folded into buckets every few seconds.

use std::io::IsTerminal;
use std::time::Duration;

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
///
/// # Panics
/// Outside of a Tokio runtime, where nothing could fold them.
pub fn start_metrics() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .install_recorder()?;
    let folded = handle.clone();
    tokio::spawn(keep_up(FOLD_EVERY, move || folded.run_upkeep()));
    Ok(handle)
}

/// The recorder keeps every single sample until it is rendered or told to fold them.
async fn keep_up(every: Duration, fold: impl Fn()) {
    let mut ticks = tokio::time::interval(every);
    loop {
        ticks.tick().await;
        fold();
    }
}

/// A busy sender measures some ten thousand times within it.
const FOLD_EVERY: Duration = Duration::from_secs(5);

/// From a local receiver to the time limit of a POST.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn samples_are_folded_again_and_again_without_anybody_asking() {
        let (folded, mut heard) = mpsc::unbounded_channel();
        let task = tokio::spawn(keep_up(Duration::from_millis(1), move || folded.send(()).unwrap()));
        for _ in 0..3 {
            timeout(Duration::from_secs(20), heard.recv()).await.unwrap().unwrap();
        }
        task.abort();
    }
}
