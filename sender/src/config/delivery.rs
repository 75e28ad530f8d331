//! `[delivery]`: how deliveries are made.

use std::time::Duration;

use serde::Deserialize;

use super::{BreakerConfig, duration, durations};
use crate::engine::verdict::RetryPolicy;

/// How deliveries are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Limit on one whole POST.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
    /// Limit on connecting.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Duration,
    /// POSTs under way at once.
    pub max_in_flight: usize,
    /// POSTs under way at once to one endpoint.
    pub max_in_flight_per_endpoint: usize,
    /// The waits between attempts, before jitter.
    #[serde(deserialize_with = "durations")]
    pub retry: Vec<Duration>,
    /// When an endpoint that fails is left alone, and when it is given up.
    pub breaker: BreakerConfig,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(5),
            max_in_flight: 256,
            max_in_flight_per_endpoint: 16,
            retry: RetryPolicy::default().schedule,
            breaker: BreakerConfig::default(),
        }
    }
}
