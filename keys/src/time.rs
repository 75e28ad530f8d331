//! [`Timestamp`]: the one representation of a moment in all crates.
//!
//! Relies on nothing. Guarantees that no arithmetic on it overflows or panics, whatever a peer or a
//! database supplied.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment as Unix time in milliseconds; serialised as that integer.
///
/// ```
/// use std::time::Duration;
/// use waxseal_keys::Timestamp;
///
/// let issued = Timestamp::from_seconds(1_795_293_600);
/// let later = issued.saturating_add(Duration::from_secs(90));
/// assert_eq!(later.duration_since(issued), Duration::from_secs(90));
/// assert_eq!(issued.duration_since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest moment that can be represented.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest moment that can be represented.
    pub const MAX: Self = Self(i64::MAX);

    /// A moment from milliseconds since 1970-01-01T00:00:00Z.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// A moment from whole seconds since 1970-01-01T00:00:00Z; saturates far outside any calendar.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MILLIS_PER_SECOND))
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down (also before 1970).
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(MILLIS_PER_SECOND)
    }

    /// This moment plus `duration`, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(whole_millis(duration)))
    }

    /// This moment minus `duration`, at least [`Timestamp::MIN`].
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(whole_millis(duration)))
    }

    /// How long after `earlier` this moment is; zero if `earlier` is in fact later.
    pub fn duration_since(self, earlier: Self) -> Duration {
        u64::try_from(i128::from(self.0) - i128::from(earlier.0))
            .map_or(Duration::ZERO, Duration::from_millis)
    }
}

impl fmt::Display for Timestamp {
    /// The milliseconds, as in the serialised form.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds of a duration, rounded **up**: a wait must never become shorter by rounding.
fn whole_millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(NANOS_PER_MILLI)).unwrap_or(i64::MAX)
}

const MILLIS_PER_SECOND: i64 = 1_000;
const NANOS_PER_MILLI: u128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_floored_on_both_sides_of_1970() {
        assert_eq!(Timestamp::from_millis(1_999).as_seconds(), 1);
        assert_eq!(Timestamp::from_millis(-1).as_seconds(), -1);
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.saturating_add(Duration::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.saturating_sub(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::from_seconds(i64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.duration_since(Timestamp::MIN), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn waits_are_rounded_up() {
        let zero = Timestamp::from_millis(0);
        assert_eq!(zero.saturating_add(Duration::from_nanos(1)).as_millis(), 1);
    }

    #[test]
    fn is_an_integer_in_json() {
        assert_eq!(serde_json::to_string(&Timestamp::from_millis(5)).unwrap(), "5");
        assert_eq!(serde_json::from_str::<Timestamp>("-7").unwrap(), Timestamp::from_millis(-7));
    }
}
