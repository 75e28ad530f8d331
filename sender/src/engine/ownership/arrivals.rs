//! What was seen of the arrivals of other nodes: the same rows are found again and again for a while.
//!
//! Ids carry the time at which they were made, by the clock of whoever made them, and reach the store somewhat later. So
//! each look at everything begins some [slack](super::OwnershipPolicy::slack) before the one before it, and what was seen is
//! remembered for as long. What is missed all the same is found by discovery.

use std::collections::BTreeSet;
use std::time::Duration;

use waxseal_keys::Timestamp;

use crate::id::DeliveryId;

/// Ids that were seen, and since when nothing was missed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: BTreeSet<DeliveryId>,
    /// When the last look at everything began.
    last: Option<Timestamp>,
}

impl Seen {
    pub(super) fn insert(&mut self, id: DeliveryId) {
        self.ids.insert(id);
    }

    pub(super) fn contains(&self, id: DeliveryId) -> bool {
        self.ids.contains(&id)
    }

    /// Where a look that begins now has to begin.
    pub(super) fn start(&self, now: Timestamp, slack: Duration) -> DeliveryId {
        let last = self.last.map_or(now, |last| last.min(now));
        DeliveryId::lower_bound(last.saturating_sub(slack))
    }

    /// A look at everything that began at `began` has ended: what only an earlier one could find is forgotten.
    pub(super) fn looked(&mut self, began: Timestamp, slack: Duration) {
        self.last = Some(began);
        self.ids = self.ids.split_off(&DeliveryId::lower_bound(began.saturating_sub(slack)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: Duration = Duration::from_secs(30);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(10_000 + seconds)
    }

    #[test]
    fn a_look_begins_before_the_last_one_that_succeeded_however_long_ago_that_was() {
        let mut seen = Seen::default();
        assert_eq!(seen.start(at(0), SLACK), DeliveryId::lower_bound(at(-30)));
        seen.looked(at(0), SLACK);
        assert_eq!(seen.start(at(600), SLACK), DeliveryId::lower_bound(at(-30)));
        seen.looked(at(600), SLACK);
        assert_eq!(seen.start(at(601), SLACK), DeliveryId::lower_bound(at(570)));
        assert_eq!(seen.start(at(100), SLACK), DeliveryId::lower_bound(at(70)), "the clock was set back");
    }

    #[test]
    fn what_can_be_found_again_is_remembered_and_nothing_else() {
        let mut seen = Seen::default();
        let ids: Vec<_> = (0..100).map(|n| DeliveryId::generate(at(n))).collect();
        ids.iter().for_each(|id| seen.insert(*id));
        seen.looked(at(80), SLACK);
        let start = seen.start(at(81), SLACK);
        assert!(ids.iter().all(|id| seen.contains(*id) == (*id > start)));
        assert!(seen.contains(ids[50]) && !seen.contains(ids[49]));
    }
}
