//! What went wrong within a window of time, counted.

use crate::id::{ConsumerId, EndpointId};
use crate::model::delivery::DeliveryState;

/// What went wrong within a window of time.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Failures {
    /// Refused attempts (answered with a status from 400 to 499) and deliveries that ended as exhausted, refused or
    /// expired, by what they have in common. In no particular order.
    pub counts: Vec<FailureCount>,
    /// Whether there was more than [`MOST_FAILURES`], and only so many were counted.
    pub is_cut: bool,
}

/// How often the same thing went wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FailureCount {
    /// Where.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub consumer: ConsumerId,
    /// With events of which type.
    pub event_type: String,
    /// How the delivery ended; `None`: an attempt was refused, and the delivery goes on.
    pub state: Option<DeliveryState>,
    /// The code of the attempt; none where a delivery ended without one.
    pub result: Option<String>,
    /// How often.
    pub count: u64,
    /// By how many seconds the receiver's clock was ahead of ours, where that was notable: the value that is furthest
    /// from zero.
    pub clock_skew_seconds: Option<i32>,
}

/// How many rows are looked at for one window: some tens of milliseconds.
pub const MOST_FAILURES: usize = 20_000;
