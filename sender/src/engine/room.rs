//! How much the lanes together hold in memory.

use super::lane::Waiting;
use super::limits::Limits;
use crate::model::event::PublishedEvent;

/// What the lanes together hold in memory.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) waiting: usize,
    pub(super) payload_bytes: usize,
}

impl Room {
    pub(super) fn has_bytes(&self, event: &PublishedEvent, limits: &Limits) -> bool {
        self.payload_bytes + size(event) <= limits.payload_bytes
    }

    pub(super) fn add(&mut self, waiting: &Waiting) {
        self.waiting += 1;
        self.payload_bytes += waiting.payload.as_deref().map_or(0, size);
    }

    pub(super) fn take(&mut self, waiting: &Waiting) {
        self.waiting -= 1;
        self.payload_bytes -= waiting.payload.as_deref().map_or(0, size);
    }
}

/// How much memory a payload takes, near enough to keep a budget. One that several lanes share is counted in each.
pub(super) fn size(event: &PublishedEvent) -> usize {
    let data = match &event.data {
        waxseal_envelope::Data::Json(json) => json.get().len(),
        waxseal_envelope::Data::Binary { bytes, .. } => bytes.len(),
    };
    data + OVERHEAD
}

/// The event's other members and what the allocator adds.
const OVERHEAD: usize = 256;
