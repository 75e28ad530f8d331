//! What was seen of the arrivals of other nodes: the same rows are found again and again for a while.
//!
//! Ids carry the time at which they were made, by the clock of whoever made them, and reach the store somewhat later: mostly
//! at once, and in the worst case after some [slack](super::OwnershipPolicy::slack). What was found is found again by every
//! look that reaches back so far, as long as it is live, and of a dead endpoint that is all that came for it. So most looks
//! are [near](Reach::Near) ones, and one now and then is [far](Reach::Far). Each begins its slack before the last one of
//! its kind, and what was seen is remembered for as long as a far one can find it again. What is missed all the same is
//! found by discovery.

use std::collections::BTreeSet;
use std::time::Duration;

use waxseal_keys::Timestamp;

use crate::id::DeliveryId;

/// How far a look at everything reaches back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reach {
    /// As far as what comes as it usually does.
    Near,
    /// As far as anything that comes late.
    Far,
}

/// Ids that were seen, and since when nothing was missed.
#[derive(Debug, Default)]
pub(super) struct Seen {
    ids: BTreeSet<DeliveryId>,
    /// When the last look at everything began.
    last: Option<Timestamp>,
    /// When the last one began that reached far.
    last_far: Option<Timestamp>,
}

impl Seen {
    pub(super) fn insert(&mut self, id: DeliveryId) {
        self.ids.insert(id);
    }

    pub(super) fn contains(&self, id: DeliveryId) -> bool {
        self.ids.contains(&id)
    }

    /// Where a look that begins now has to begin.
    pub(super) fn start(&self, now: Timestamp, reach: Reach, slack: Duration) -> DeliveryId {
        let last = match reach {
            Reach::Near => self.last,
            Reach::Far => self.last_far,
        };
        DeliveryId::lower_bound(last.map_or(now, |last| last.min(now)).saturating_sub(slack))
    }

    /// A look at everything that began at `began` has ended.
    pub(super) fn looked(&mut self, began: Timestamp) {
        self.last = Some(began);
    }

    /// It reached far: what only an earlier one could find is forgotten.
    pub(super) fn looked_far(&mut self, began: Timestamp, slack: Duration) {
        self.looked(began);
        self.last_far = Some(began);
        self.ids = self.ids.split_off(&DeliveryId::lower_bound(began.saturating_sub(slack)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: Duration = Duration::from_secs(30);
    const USUAL: Duration = Duration::from_secs(2);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(10_000 + seconds)
    }

    #[test]
    fn a_look_begins_before_the_last_one_that_succeeded_however_long_ago_that_was() {
        let mut seen = Seen::default();
        let far = |seen: &Seen, now| seen.start(at(now), Reach::Far, SLACK);
        assert_eq!(far(&seen, 0), DeliveryId::lower_bound(at(-30)));
        seen.looked_far(at(0), SLACK);
        assert_eq!(far(&seen, 600), DeliveryId::lower_bound(at(-30)));
        seen.looked_far(at(600), SLACK);
        assert_eq!(far(&seen, 601), DeliveryId::lower_bound(at(570)));
        assert_eq!(far(&seen, 100), DeliveryId::lower_bound(at(70)), "the clock was set back");
    }

    #[test]
    fn near_looks_begin_before_the_last_one_of_either_kind_and_far_ones_before_the_last_far_one() {
        let mut seen = Seen::default();
        seen.looked_far(at(0), SLACK);
        assert_eq!(seen.start(at(1), Reach::Near, USUAL), DeliveryId::lower_bound(at(-2)));
        seen.looked(at(1));
        seen.looked(at(2));
        assert_eq!(seen.start(at(9), Reach::Near, USUAL), DeliveryId::lower_bound(at(0)));
        assert_eq!(seen.start(at(9), Reach::Far, SLACK), DeliveryId::lower_bound(at(-30)));
    }

    #[test]
    fn what_can_be_found_again_is_remembered_and_nothing_else() {
        let mut seen = Seen::default();
        let ids: Vec<_> = (0..100).map(|n| DeliveryId::generate(at(n))).collect();
        ids.iter().for_each(|id| seen.insert(*id));
        seen.looked_far(at(80), SLACK);
        seen.looked(at(90));
        let start = seen.start(at(91), Reach::Far, SLACK);
        assert!(ids.iter().all(|id| seen.contains(*id) == (*id > start)));
        assert!(seen.contains(ids[50]) && !seen.contains(ids[49]));
    }
}
