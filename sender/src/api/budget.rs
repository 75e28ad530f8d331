//! How often a token that is bound to a consumer may have events made by hand: tests and redeliveries.
//!
//! Each of them is written to the operator's disk, and a consumer could ask for them without end. Guarantees that one
//! consumer, through however many tokens, gets what [`ByHandLimits`] allows within an hour, a sixth of it at once; that
//! whoever is refused learns when to come again; and that what is remembered is bounded. Tokens that are bound to nobody
//! are the operator's own and are not counted. A restart forgets what was spent. Where several nodes use the store, each
//! counts for itself: a consumer gets as much at each of them.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use lru::LruCache;
use waxseal_keys::{Clock, Timestamp};

use super::auth::Caller;
use super::problem::Problem;
use crate::id::ConsumerId;

/// How many of each a consumer's own tokens may ask for within an hour.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByHandLimits {
    /// Test events.
    pub tests_an_hour: u32,
    /// Redeliveries under the same event id.
    pub redeliveries_an_hour: u32,
    /// Redeliveries as new: each of them keeps the content once more.
    pub redeliveries_as_new_an_hour: u32,
}

impl Default for ByHandLimits {
    fn default() -> Self {
        Self { tests_an_hour: 60, redeliveries_an_hour: 1_200, redeliveries_as_new_an_hour: 120 }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum ByHand {
    Test,
    Redelivery,
    RedeliveryAsNew,
}

/// What each consumer has spent.
#[derive(Debug)]
pub(super) struct Budget {
    limits: ByHandLimits,
    /// When all that was spent is earned again (the theoretical arrival time of GCRA, ITU-T I.371).
    spent_until: Mutex<LruCache<(ConsumerId, ByHand), Timestamp>>,
}

impl Budget {
    pub(super) fn new(limits: ByHandLimits) -> Self {
        Self { limits, spent_until: Mutex::new(LruCache::new(KEPT)) }
    }

    /// Counts one for the consumer that the caller is bound to, if it is bound to one.
    ///
    /// # Errors
    /// `429` with how long to wait, if nothing is left. Nothing is counted then.
    pub(super) fn spend(&self, caller: &Caller, what: ByHand, clock: &dyn Clock) -> Result<(), Problem> {
        let Some(consumer) = caller.bound_to() else { return Ok(()) };
        self.take(consumer, what, clock).map_err(|wait| {
            let (count, name) = self.limit(what);
            let detail = format!(
                "a consumer's own tokens may ask for {count} {name} within an hour, a sixth of it at once"
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "api.by_hand_limit", detail).retry_after(wait)
        })
    }

    fn take(&self, consumer: &ConsumerId, what: ByHand, clock: &dyn Clock) -> Result<(), Duration> {
        let (count, _) = self.limit(what);
        let each = HOUR / count.max(1);
        let at_once = each * (count / 6).max(1);
        let mut spent_until = self.spent_until.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock: read before, it may be behind what another has noted meanwhile.
        let now = clock.now();
        let until = spent_until.get_or_insert_mut((consumer.clone(), what), || now);
        // Later than it can be: the clock was set back.
        if until.duration_since(now) > at_once {
            *until = now;
        }
        let next = (*until).max(now).saturating_add(each);
        let wait = next.duration_since(now).saturating_sub(at_once);
        if wait.is_zero() {
            *until = next;
            Ok(())
        } else {
            Err(wait)
        }
    }

    fn limit(&self, what: ByHand) -> (u32, &'static str) {
        match what {
            ByHand::Test => (self.limits.tests_an_hour, "test events"),
            ByHand::Redelivery => (self.limits.redeliveries_an_hour, "redeliveries"),
            ByHand::RedeliveryAsNew => (self.limits.redeliveries_as_new_an_hour, "redeliveries as new"),
        }
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// More consumers than use their own tokens within an hour. Whoever is forgotten may begin anew.
const KEPT: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

#[cfg(test)]
mod tests {
    use waxseal_keys::ManualClock;

    use super::*;
    use crate::at_once;

    fn at(seconds: i64) -> ManualClock {
        ManualClock::new(Timestamp::from_seconds(10_000 + seconds))
    }

    fn consumer(name: &str) -> ConsumerId {
        ConsumerId::parse(name).unwrap()
    }

    #[test]
    fn a_sixth_comes_at_once_and_the_rest_over_the_hour() {
        let (budget, acme) = (Budget::new(ByHandLimits::default()), consumer("acme"));
        let mut granted = [0; 3];
        for second in 0..3 * 3_600 {
            for _ in 0..20 {
                let taken = budget.take(&acme, ByHand::Test, &at(second)).is_ok();
                granted[usize::try_from(second / 3_600).unwrap()] += i32::from(taken);
            }
            assert!(second > 0 || granted[0] == 10, "{granted:?}");
        }
        assert_eq!(granted, [69, 60, 60]);
    }

    #[test]
    fn whoever_waits_as_long_as_is_said_is_let_through() {
        let budget = Budget::new(ByHandLimits { tests_an_hour: 6, ..ByHandLimits::default() });
        let (acme, clock) = (consumer("acme"), at(0));
        for _ in 0..20 {
            budget.take(&acme, ByHand::Test, &clock).unwrap();
            let wait = budget.take(&acme, ByHand::Test, &clock).unwrap_err();
            assert_eq!(wait, Duration::from_secs(600));
            clock.advance(wait);
        }
        // The clock is set back: what was spent later does not count.
        budget.take(&acme, ByHand::Test, &at(-5_000)).unwrap();
    }

    #[test]
    fn kinds_and_consumers_are_counted_apart_and_no_more_is_remembered_than_has_room() {
        let budget = Budget::new(ByHandLimits { tests_an_hour: 1, ..ByHandLimits::default() });
        let acme = consumer("acme");
        budget.take(&acme, ByHand::Test, &at(0)).unwrap();
        budget.take(&acme, ByHand::Test, &at(0)).unwrap_err();
        budget.take(&acme, ByHand::RedeliveryAsNew, &at(0)).unwrap();
        budget.take(&consumer("beta"), ByHand::Test, &at(0)).unwrap();
        for number in 0..KEPT.get() + 10 {
            budget.take(&consumer(&format!("c{number}")), ByHand::Test, &at(0)).unwrap();
        }
        assert_eq!(budget.spent_until.lock().unwrap().len(), KEPT.get());
    }

    #[test]
    fn of_those_who_ask_at_once_none_takes_the_clock_to_be_set_back() {
        let acme = consumer("acme");
        for round in 0..500 {
            let budget = Budget::new(ByHandLimits { tests_an_hour: 1, ..ByHandLimits::default() });
            let granted = at_once::granted(|clock| budget.take(&acme, ByHand::Test, clock).is_ok());
            assert_eq!(granted, 1, "round {round}");
        }
    }
}
