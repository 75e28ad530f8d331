//! What an endpoint asks of its lane, and the token bucket that keeps its rate.
//!
//! Pure functions of the time that they are given. Guarantees that in no stretch of time more is taken than the burst
//! and what the rate adds in that time, whatever the changes of the limit.

use std::fmt::Debug;
use std::time::Duration;

use waxseal_keys::Timestamp;

use crate::directory::Directory;
use crate::id::EndpointId;
use crate::model::pace::{Order, RateLimit};

/// What an endpoint's configuration asks of its lane.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Terms {
    pub(super) rate: Option<RateLimit>,
    /// Instead of the general limit.
    pub(super) concurrency: Option<usize>,
    pub(super) order: Order,
    /// How long it may do nothing but fail; `None`: for ever.
    pub(super) disable_after: Option<Duration>,
    pub(super) status: Status,
}

/// Whether deliveries are to be made at all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Status {
    #[default]
    Active,
    Paused,
}

/// Whoever knows the terms of endpoints.
pub(super) trait TermsOf: Debug + Send + Sync {
    /// The terms as they are now.
    fn terms_of(&self, endpoint: EndpointId) -> Terms;
}

/// The directory, and the sender's own `disable_after`.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) directory: std::sync::Arc<Directory>,
    pub(super) disable_after: Option<Duration>,
}

impl TermsOf for Configured {
    fn terms_of(&self, endpoint: EndpointId) -> Terms {
        // One that is gone has no terms; that it is gone is found when it is looked at.
        let Some(endpoint) = self.directory.endpoint(endpoint) else { return Terms::default() };
        Terms {
            rate: endpoint.pace.rate_limit,
            concurrency: endpoint.pace.concurrency.map(|concurrency| concurrency.count()),
            order: endpoint.pace.order,
            disable_after: endpoint.pace.disable_after.time(self.disable_after),
            status: if endpoint.is_active() { Status::Active } else { Status::Paused },
        }
    }
}

/// The tokens of one lane, as the one number that says it all: when the bucket will be full again.
///
/// This is the generic cell rate algorithm (ITU-T I.371): a token takes `apart`, a full bucket has `burst` of them,
/// and one can be taken as long as the bucket lacks at most `burst - 1`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bucket {
    full_at: i128,
}

impl Bucket {
    pub(super) fn full() -> Self {
        Self { full_at: i128::MIN }
    }

    /// The earliest time for the next POST.
    pub(super) fn next_at(self, limit: RateLimit) -> Timestamp {
        let spare = i128::from(limit.burst() - 1) * limit.nanos_apart();
        moment(self.full_at.saturating_sub(spare))
    }

    /// Takes a token, whether there is one or not: what could not be helped is paid for later.
    pub(super) fn take(&mut self, limit: RateLimit, now: Timestamp) {
        self.full_at = self.full_at.max(nanos(now)).saturating_add(limit.nanos_apart());
    }

    /// Goes on under another limit: it lacks no more than all tokens of the new one.
    pub(super) fn change(&mut self, limit: RateLimit, now: Timestamp) {
        let all = i128::from(limit.burst()) * limit.nanos_apart();
        self.full_at = self.full_at.min(nanos(now).saturating_add(all));
    }

    /// When nothing is lost by forgetting it.
    pub(super) fn full_at(self) -> Timestamp {
        moment(self.full_at)
    }
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.as_millis()) * NANOS_PER_MILLI
}

/// The first whole millisecond from then on.
fn moment(nanos: i128) -> Timestamp {
    let millis = nanos.div_euclid(NANOS_PER_MILLI) + i128::from(nanos.rem_euclid(NANOS_PER_MILLI) > 0);
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
}

const NANOS_PER_MILLI: i128 = 1_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However one tries, no window of time holds more than the burst and what the rate adds; and who waits for
        /// the time that is named gets a token then.
        #[test]
        fn no_window_holds_more_than_the_limit_says(
            per_second in prop_oneof![0.0167..2.0, 2.0..500.0, 500.0..10_000.0_f64],
            burst in 1..20_u64,
            pauses in prop::collection::vec(prop_oneof![Just(0), 1..20_i64, 0..5_000_i64], 1..200),
        ) {
            let limit = RateLimit::new(per_second, Some(burst)).unwrap();
            let (mut bucket, mut now, mut taken) = (Bucket::full(), 1_000_i64, Vec::new());
            for pause in pauses {
                now += pause;
                let next = bucket.next_at(limit);
                if next <= Timestamp::from_millis(now) || pause == 0 {
                    now = now.max(next.as_millis());
                    bucket.take(limit, Timestamp::from_millis(now));
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let count = u32::try_from(last - first + 1).unwrap();
                    // Half-open windows: one millisecond more than the distance.
                    let seconds = f64::from(u32::try_from(to - from + 1).unwrap()) / 1_000.0;
                    let most = f64::from(limit.burst()) + limit.per_second() * seconds;
                    prop_assert!(f64::from(count) <= most + 1e-6, "{count} within {seconds} s, most {most}");
                }
            }
        }
    }

    #[test]
    fn a_slower_limit_counts_at_once_and_forgives_what_it_cannot_hold() {
        let (fast, slow) = (RateLimit::new(1.0, Some(100)).unwrap(), RateLimit::new(1.0, Some(2)).unwrap());
        let mut bucket = Bucket::full();
        let now = Timestamp::from_seconds(1_000);
        (0..100).for_each(|_| bucket.take(fast, now));
        bucket.change(slow, now);
        let next = bucket.next_at(slow);
        assert_eq!(next.duration_since(now).as_millis().div_ceil(10), 101, "one token, after about a second");
    }

    #[test]
    fn one_post_a_minute_is_one_post_a_minute() {
        let limit = RateLimit::new(1.0 / 60.0, None).unwrap();
        let (mut bucket, now) = (Bucket::full(), Timestamp::from_seconds(1_000));
        assert!(bucket.next_at(limit) <= now);
        bucket.take(limit, now);
        let waits = bucket.next_at(limit).duration_since(now);
        assert!((59_900..=60_000).contains(&waits.as_millis()), "{waits:?}");
    }
}
