//! `[consumer_tokens]`: how much a consumer may ask for with tokens of its own.

use serde::Deserialize;

use crate::api::budget::ByHandLimits;

/// How much a consumer may ask for with tokens that are bound to it.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ConsumerTokensConfig {
    /// Test events within an hour.
    pub tests_an_hour: u32,
    /// Redeliveries under the same event id within an hour.
    pub redeliveries_an_hour: u32,
    /// Redeliveries as new within an hour.
    pub redeliveries_as_new_an_hour: u32,
}

impl ConsumerTokensConfig {
    /// The limits that it describes.
    pub fn by_hand(&self) -> ByHandLimits {
        ByHandLimits {
            tests_an_hour: self.tests_an_hour,
            redeliveries_an_hour: self.redeliveries_an_hour,
            redeliveries_as_new_an_hour: self.redeliveries_as_new_an_hour,
        }
    }

    /// What no single field can say.
    pub(super) fn check(&self) -> Result<(), String> {
        let counts = [
            ("consumer_tokens.tests_an_hour", self.tests_an_hour),
            ("consumer_tokens.redeliveries_an_hour", self.redeliveries_an_hour),
            ("consumer_tokens.redeliveries_as_new_an_hour", self.redeliveries_as_new_an_hour),
        ];
        match counts.into_iter().find(|(_, count)| !(1..=1_000_000).contains(count)) {
            Some((field, _)) => Err(format!("{field}: expected a number from 1 to 1000000")),
            None => Ok(()),
        }
    }
}

impl Default for ConsumerTokensConfig {
    fn default() -> Self {
        let ByHandLimits { tests_an_hour, redeliveries_an_hour, redeliveries_as_new_an_hour } =
            ByHandLimits::default();
        Self { tests_an_hour, redeliveries_an_hour, redeliveries_as_new_an_hour }
    }
}
