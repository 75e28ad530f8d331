//! What is kept of an endpoint that fails, so that a restart does not forget it.

use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EndpointId};

/// An endpoint that has been failing for a while. One that is well has no such record.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointHealth {
    /// Which one.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// The first attempt since the last one that delivered.
    pub failing_since: Timestamp,
    /// How many attempts had been made since then when this was written.
    pub attempts: u32,
    /// Its breaker, if that is open.
    pub open: Option<OpenBreaker>,
}

/// A breaker that is open: nothing is posted but one probe from time to time.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct OpenBreaker {
    /// Since when.
    pub since: Timestamp,
    /// How many probes have failed.
    pub failed_probes: u32,
    /// When the next probe may be made.
    pub probe_at: Timestamp,
}
