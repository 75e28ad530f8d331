//! What is measured of every delivery that arrives. Their names are looked up once: whatever records metrics must be
//! installed before an engine is started.

use std::fmt;
use std::time::Duration;

use metrics::{Counter, Histogram};

/// The meters of one engine.
pub(super) struct Meters {
    delivered: Counter,
    attempt: Histogram,
    to_delivered: Histogram,
}

impl Meters {
    pub(super) fn new() -> Self {
        Self {
            delivered: metrics::counter!("waxseal_deliveries_total", "result" => "delivered"),
            attempt: metrics::histogram!("waxseal_attempt_seconds"),
            to_delivered: metrics::histogram!("waxseal_publish_to_delivered_seconds"),
        }
    }

    /// A POST is over, whatever it came to.
    pub(super) fn attempted(&self, took: Duration) {
        self.attempt.record(took.as_secs_f64());
    }

    /// An event was delivered by the first POST, so long after it was published.
    pub(super) fn delivered_at_once(&self, after: Duration) {
        self.to_delivered.record(after.as_secs_f64());
    }

    /// So many deliveries have come to this.
    pub(super) fn ended(&self, result: &'static str, many: u64) {
        match result {
            "delivered" => self.delivered.increment(many),
            _ => metrics::counter!("waxseal_deliveries_total", "result" => result).increment(many),
        }
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}
