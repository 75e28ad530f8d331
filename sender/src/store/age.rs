//! What is removed by age, and how far a walk over the oldest has come.

use waxseal_keys::Timestamp;

use crate::id::EndpointId;

/// What is removed by age. Each kind goes in a walk of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Kept {
    /// Contents of events. Their ids, types and times stay, and with them everything about their deliveries.
    Contents,
    /// The records of events whose content is gone: the event, its deliveries, their attempts.
    Records,
}

/// One slice of a walk over the oldest events.
///
/// What a live delivery still needs is never removed: an event of which any delivery is live is passed over, whatever
/// its age. Records go as a whole, once the last delivery of the event has been over since `until` or longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Slice {
    /// What to remove.
    pub kept: Kept,
    /// Of events that were accepted at or before this.
    pub until: Timestamp,
    /// Where the slice before ended; none to begin a walk.
    pub after: Option<AgePosition>,
    /// How many events are looked at.
    pub limit: u32,
}

/// A place in the order of events by age. Only the store that made it knows the order of those of equal age.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AgePosition {
    /// When the event there was accepted.
    pub accepted_at: Timestamp,
    /// Which one of those.
    pub tie: i64,
}

/// What a slice has removed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Removed {
    /// Contents, or events.
    pub events: u64,
    /// Deliveries, each with its attempts.
    pub deliveries: u64,
    /// Where to go on; none at the end of the walk.
    pub next: Option<AgePosition>,
}

/// What [`Outbox::forget_endpoints`](super::Outbox::forget_endpoints) has done.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// How many endpoints nothing tells of any more.
    pub endpoints: u64,
    /// Where to go on; none if that was all.
    pub next: Option<EndpointId>,
}
