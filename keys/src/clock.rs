//! Clocks: the only place in the libraries where the time of day is read.
//!
//! Everything else takes a [`Timestamp`] or a `dyn` [`Clock`], so that tests own the time.

use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use crate::time::Timestamp;

/// A source of the current time. It may jump in both directions.
pub trait Clock: Debug + Send + Sync {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else takes as a parameter"
    )]
    fn now(&self) -> Timestamp {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => millis(since),
            Err(before) => -millis(before.duration()),
        })
    }
}

/// A clock for tests: it stands still until it is told otherwise, and is shared behind an `Arc`.
///
/// ```
/// use std::time::Duration;
/// use waxseal_keys::{Clock, ManualClock, Timestamp};
///
/// let clock = ManualClock::new(Timestamp::from_seconds(100));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now(), Timestamp::from_seconds(105));
/// clock.set(Timestamp::from_seconds(0));
/// assert_eq!(clock.now(), Timestamp::from_seconds(0));
/// ```
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_millis()))
    }

    /// Sets the clock, forwards or backwards.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            Timestamp::from_millis(now).saturating_add(by).as_millis()
        });
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_clock_is_after_this_was_written() {
        assert!(SystemClock.now() > Timestamp::from_seconds(1_750_000_000));
    }
}
