//! [`Pace`]: how fast, how many at once, in which order and for how long an endpoint is delivered to.
//!
//! Everything here is optional: an endpoint that says nothing gets what the sender's configuration says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What an endpoint asks of its deliveries.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pace {
    /// How many POSTs in which time.
    pub rate_limit: Option<RateLimit>,
    /// How many POSTs at once.
    pub concurrency: Option<Concurrency>,
    /// Which delivery is next.
    pub order: Order,
    /// When it is paused for failing.
    pub disable_after: DisableAfter,
}

/// A token bucket: on average so many POSTs a second, and so many at once after a rest.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct RateLimit {
    /// Millionths of a POST, so that a rate is a whole number and one POST a minute can be said.
    micros_per_second: u64,
    burst: u32,
}

/// How many POSTs may be under way at once: 1 to 64.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Concurrency(u8);

/// Which delivery is next.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// What is due first; a retry holds up nobody.
    #[default]
    Any,
    /// Strictly in the order of the deliveries' ids, which is that of acceptance: one at a time, and what fails is
    /// repeated before anything behind it is made.
    Fifo,
}

/// When an endpoint that does nothing but fail is paused.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisableAfter {
    /// As the sender's configuration says.
    #[default]
    Default,
    /// Never.
    Never,
    /// After so many seconds without a delivery that went well.
    Seconds(u64),
}

/// A value that a pace cannot have; says what was expected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PaceError {
    /// A rate.
    #[error("expected a number of POSTs a second from 1/60 to 10000")]
    PerSecond,
    /// A burst.
    #[error("expected a whole number from 1 to 10000")]
    Burst,
    /// A concurrency.
    #[error("expected a whole number from 1 to 64")]
    Concurrency,
}

impl RateLimit {
    /// A limit of `per_second` POSTs; without a `burst`, what comes in a second may come at once.
    ///
    /// # Errors
    /// If either is out of range.
    pub fn new(per_second: f64, burst: Option<u64>) -> Result<Self, PaceError> {
        // A sixtieth has no end as a decimal fraction: whoever writes 0.0166 means it.
        if !(LEAST_PER_SECOND..=MOST_PER_SECOND).contains(&per_second) {
            return Err(PaceError::PerSecond);
        }
        // Exact: a second's duration in nanoseconds, times the rate, is a thousand times the millionths.
        let thousandths = Duration::from_secs(1).mul_f64(per_second).as_nanos();
        let micros_per_second =
            u64::try_from(thousandths.div_ceil(1_000)).map_err(|_| PaceError::PerSecond)?;
        let burst = burst.unwrap_or_else(|| micros_per_second.div_ceil(MICROS).max(1));
        let burst = u32::try_from(burst).ok().filter(|burst| (1..=MOST_BURST).contains(burst));
        Ok(Self { micros_per_second, burst: burst.ok_or(PaceError::Burst)? })
    }

    /// How many POSTs a second.
    pub fn per_second(self) -> f64 {
        Duration::from_micros(self.micros_per_second).as_secs_f64()
    }

    /// How many at once after a rest.
    pub fn burst(self) -> u32 {
        self.burst
    }

    /// The time from one POST to the next at full rate, in nanoseconds, never too short.
    pub(crate) fn nanos_apart(self) -> i128 {
        i128::from(1_000_000_000 * MICROS).div_euclid(i128::from(self.micros_per_second)) + 1
    }
}

impl Concurrency {
    /// So many at once.
    ///
    /// # Errors
    /// If it is none or more than 64.
    pub fn new(count: u64) -> Result<Self, PaceError> {
        let count = u8::try_from(count).ok().filter(|count| (1..=MOST_AT_ONCE).contains(count));
        count.map(Self).ok_or(PaceError::Concurrency)
    }

    /// How many.
    pub fn count(self) -> usize {
        usize::from(self.0)
    }
}

impl DisableAfter {
    /// The time, where `default` is the sender's own; `None`: never.
    pub fn time(self, default: Option<Duration>) -> Option<Duration> {
        match self {
            Self::Default => default,
            Self::Never => None,
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds)),
        }
    }
}

/// A rate limit as people write it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    per_second: f64,
    burst: u64,
}

impl TryFrom<Written> for RateLimit {
    type Error = PaceError;

    fn try_from(written: Written) -> Result<Self, PaceError> {
        Self::new(written.per_second, Some(written.burst))
    }
}

impl From<RateLimit> for Written {
    fn from(limit: RateLimit) -> Self {
        Self { per_second: limit.per_second(), burst: u64::from(limit.burst) }
    }
}

impl TryFrom<u64> for Concurrency {
    type Error = PaceError;

    fn try_from(count: u64) -> Result<Self, PaceError> {
        Self::new(count)
    }
}

impl From<Concurrency> for u64 {
    fn from(concurrency: Concurrency) -> Self {
        Self::from(concurrency.0)
    }
}

const MICROS: u64 = 1_000_000;
const LEAST_PER_SECOND: f64 = 0.0166;
const MOST_PER_SECOND: f64 = 10_000.0;
const MOST_BURST: u32 = 10_000;
/// One connection each, and a receiver that wants more of them has several endpoints.
const MOST_AT_ONCE: u8 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_survives_its_written_form() {
        for per_second in [1.0 / 60.0, 0.5, 1.0, 2.5, 3.0, 33.3, 9_999.999_999, 10_000.0] {
            let limit = RateLimit::new(per_second, Some(7)).unwrap();
            let read: RateLimit = serde_json::from_str(&serde_json::to_string(&limit).unwrap()).unwrap();
            assert_eq!(read, limit, "{per_second}");
            assert!((limit.per_second() - per_second).abs() <= 1e-6, "{per_second}");
        }
        assert_eq!(RateLimit::new(2.5, None).unwrap().burst(), 3);
        assert_eq!(RateLimit::new(0.1, None).unwrap().burst(), 1);
    }

    #[test]
    fn what_is_out_of_range_is_refused() {
        for per_second in [0.0, -1.0, 0.01, 10_000.1, f64::NAN, f64::INFINITY] {
            assert_eq!(RateLimit::new(per_second, None), Err(PaceError::PerSecond), "{per_second}");
        }
        for burst in [0, 10_001, u64::MAX] {
            assert_eq!(RateLimit::new(1.0, Some(burst)), Err(PaceError::Burst));
        }
        for count in [0, 65, 256, u64::MAX] {
            assert_eq!(Concurrency::new(count), Err(PaceError::Concurrency));
        }
    }

    #[test]
    fn an_endpoint_of_an_earlier_version_has_the_default_pace() {
        assert_eq!(serde_json::from_str::<Pace>("{}").unwrap(), Pace::default());
        let whole = Pace {
            rate_limit: Some(RateLimit::new(0.5, Some(2)).unwrap()),
            concurrency: Some(Concurrency::new(3).unwrap()),
            order: Order::Fifo,
            disable_after: DisableAfter::Seconds(60),
        };
        assert_eq!(serde_json::from_str::<Pace>(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
    }
}
