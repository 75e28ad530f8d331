//! When an endpoint that fails is left alone, and when it is given up.

use std::time::Duration;

use serde::Deserialize;

use super::{duration, unless_never};
use crate::engine::breaker::BreakerPolicy;

/// The circuit breaker of every endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// So many failures in a row open it.
    pub failures: u32,
    /// How long it stays open before the first probe; twice as long after each that failed.
    #[serde(deserialize_with = "duration")]
    pub first_pause: Duration,
    /// And how long at most.
    #[serde(deserialize_with = "duration")]
    pub longest_pause: Duration,
    /// How long an endpoint may do nothing but fail before it is paused; `"never"`: for ever.
    #[serde(deserialize_with = "unless_never")]
    pub disable_after: Option<Duration>,
}

impl BreakerConfig {
    /// What the engine works with.
    pub fn policy(&self) -> BreakerPolicy {
        BreakerPolicy {
            failures: self.failures,
            first_pause: self.first_pause,
            longest_pause: self.longest_pause,
            disable_after: self.disable_after,
            ..BreakerPolicy::default()
        }
    }

    /// What no single field can say.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.failures == 0 {
            return Err("delivery.breaker.failures: expected a number from 1 on".to_owned());
        }
        if self.longest_pause < self.first_pause {
            return Err(
                "delivery.breaker.longest_pause: expected at least delivery.breaker.first_pause".into()
            );
        }
        Ok(())
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        let policy = BreakerPolicy::default();
        Self {
            failures: policy.failures,
            first_pause: policy.first_pause,
            longest_pause: policy.longest_pause,
            disable_after: policy.disable_after,
        }
    }
}
