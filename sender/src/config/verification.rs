//! `[verification]`: how endpoints are asked whether they want events.

use std::time::Duration;

use serde::Deserialize;

use super::{duration, durations};
use crate::engine::verification::{HostLimits, VerificationPolicy};

/// How endpoints are asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VerificationConfig {
    /// How long one attempt waits for its answer.
    #[serde(deserialize_with = "duration")]
    pub answer_within: Duration,
    /// The pauses between attempts.
    #[serde(deserialize_with = "durations")]
    pub pauses: Vec<Duration>,
    /// How far apart two attempts at one host are at least.
    #[serde(deserialize_with = "duration")]
    pub host_apart: Duration,
    /// Attempts at one host within an hour.
    pub host_an_hour: usize,
    /// Those of them that are one consumer's.
    pub host_an_hour_for_consumer: usize,
    /// Attempts within an hour for one consumer, at all hosts together.
    pub consumer_an_hour: usize,
    /// Attempts within an hour for one consumer at endpoints that have proved themselves and have other keys now.
    pub agreed_an_hour: usize,
}

impl VerificationConfig {
    /// What the engine works with.
    pub fn policy(&self) -> VerificationPolicy {
        VerificationPolicy {
            answer_within: self.answer_within,
            pauses: self.pauses.clone(),
            hosts: HostLimits {
                apart: self.host_apart,
                an_hour: self.host_an_hour,
                an_hour_for_consumer: self.host_an_hour_for_consumer,
                an_hour_everywhere: self.consumer_an_hour,
            },
            agreed_an_hour: self.agreed_an_hour,
            ..VerificationPolicy::default()
        }
    }

    /// What no single field can say.
    pub(super) fn check(&self) -> Result<(), String> {
        // Else the next attempt would show that the one before was refused at once.
        if self.pauses.iter().any(|pause| *pause < self.answer_within) {
            return Err("verification.pauses: expected pauses of at least verification.answer_within".into());
        }
        let counts = [
            ("verification.host_an_hour", self.host_an_hour),
            ("verification.host_an_hour_for_consumer", self.host_an_hour_for_consumer),
            ("verification.consumer_an_hour", self.consumer_an_hour),
            ("verification.agreed_an_hour", self.agreed_an_hour),
        ];
        match counts.into_iter().find(|(_, count)| !(1..=10_000).contains(count)) {
            Some((field, _)) => Err(format!("{field}: expected a number from 1 to 10000")),
            None => Ok(()),
        }
    }
}

impl Default for VerificationConfig {
    fn default() -> Self {
        let VerificationPolicy { answer_within, pauses, hosts, agreed_an_hour, .. } =
            VerificationPolicy::default();
        Self {
            answer_within,
            pauses,
            host_apart: hosts.apart,
            host_an_hour: hosts.an_hour,
            host_an_hour_for_consumer: hosts.an_hour_for_consumer,
            consumer_an_hour: hosts.an_hour_everywhere,
            agreed_an_hour,
        }
    }
}
