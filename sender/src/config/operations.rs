//! What the operator is told, and when.

use std::time::Duration;

use serde::Deserialize;

use super::duration;
use crate::id::ConsumerId;
use crate::operations::OperationsPolicy;

/// What the operator is told, and when.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OperationsConfig {
    /// The consumer whose endpoints operational events go to; absent: they are logged and counted only.
    pub consumer: Option<ConsumerId>,
    /// How long deliveries are held before that is told.
    #[serde(deserialize_with = "duration")]
    pub held_after: Duration,
    /// How long the windows are in which failures are counted.
    #[serde(deserialize_with = "duration")]
    pub summary_every: Duration,
}

impl OperationsConfig {
    /// The policy that it describes.
    pub fn policy(&self) -> OperationsPolicy {
        OperationsPolicy {
            consumer: self.consumer.clone(),
            held_after: self.held_after,
            summary_every: self.summary_every,
            ..OperationsPolicy::default()
        }
    }
}

impl Default for OperationsConfig {
    fn default() -> Self {
        let OperationsPolicy { consumer, held_after, summary_every, .. } = OperationsPolicy::default();
        Self { consumer, held_after, summary_every }
    }
}
