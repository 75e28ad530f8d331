//! What is counted, through the `metrics` facade (feature `metrics`): a reason or a result, never an id or content.
//!
//! | counter | label | its values |
//! | --- | --- | --- |
//! | `waxseal_receiver_events_total` | `result` | `taken`, `repeated`, `verified` |
//! | `waxseal_receiver_inbox_total` | `result` | `processed`, `failed`, `dead`: how attempts from the inbox ended |
//! | `waxseal_receiver_refusals_total` | `reason` | the codes of [`Reject`] |
//!
//! Relies on the recorder that the partner installs. Guarantees that the number of series is bounded: every value is
//! a constant of this program.

use crate::Reject;

/// An event that was acknowledged, and why.
pub(crate) fn event(result: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("waxseal_receiver_events_total", "result" => result).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = result;
}

/// A request that was not.
pub(crate) fn refused(reject: &Reject) {
    #[cfg(feature = "metrics")]
    metrics::counter!("waxseal_receiver_refusals_total", "reason" => reject.code()).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = reject;
}

/// How an attempt from the inbox ended.
#[cfg(feature = "inbox")]
pub(crate) fn inbox(result: &'static str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("waxseal_receiver_inbox_total", "result" => result).increment(1);
    #[cfg(not(feature = "metrics"))]
    let _ = result;
}
