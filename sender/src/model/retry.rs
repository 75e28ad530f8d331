//! When failed attempts to one endpoint are repeated, where that differs from the sender's own schedule.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A schedule of an endpoint's own: valid by construction.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    schedule_seconds: Vec<u32>,
    /// In thousandths, so that equal is equal.
    jitter_permille: u16,
}

/// Why these are not a schedule. The words say what was expected.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RetryError {
    /// Too many entries.
    #[error("expected at most {MAX_ENTRIES} entries")]
    Entries,
    /// An entry that is no pause.
    #[error("expected whole seconds from 1 to {LONGEST_PAUSE} in each entry")]
    Pause,
    /// All entries together are too long.
    #[error("expected at most {LONGEST_TOTAL} seconds (30 days) in all entries together")]
    Total,
    /// The jitter is no part of one.
    #[error("expected a number from 0 to 1")]
    Jitter,
}

impl Retry {
    /// The pauses after the first failed attempt, after the second, and so on, each varied by up to `jitter` of itself
    /// either way. No pauses: one attempt and no other.
    ///
    /// # Errors
    /// [`RetryError`] says what was expected.
    pub fn new(schedule_seconds: Vec<u32>, jitter: f64) -> Result<Self, RetryError> {
        if schedule_seconds.len() > MAX_ENTRIES {
            return Err(RetryError::Entries);
        }
        if schedule_seconds.iter().any(|pause| !(1..=LONGEST_PAUSE).contains(pause)) {
            return Err(RetryError::Pause);
        }
        if schedule_seconds.iter().map(|pause| u64::from(*pause)).sum::<u64>() > LONGEST_TOTAL {
            return Err(RetryError::Total);
        }
        // Thousandths from 0 to 1000, the nearest to what was given.
        let jitter_permille = (0..=1_000).find(|permille| f64::from(*permille) >= jitter * 1_000.0 - 0.5);
        match jitter_permille {
            Some(jitter_permille) if (0.0..=1.0).contains(&jitter) => {
                Ok(Self { schedule_seconds, jitter_permille })
            }
            _ => Err(RetryError::Jitter),
        }
    }

    /// The pauses, in seconds.
    pub fn schedule_seconds(&self) -> &[u32] {
        &self.schedule_seconds
    }

    /// The pauses.
    pub fn schedule(&self) -> Vec<Duration> {
        self.schedule_seconds.iter().map(|pause| Duration::from_secs(u64::from(*pause))).collect()
    }

    /// By how much of itself a pause varies, either way.
    pub fn jitter(&self) -> f64 {
        f64::from(self.jitter_permille) / 1_000.0
    }
}

/// How much a pause varies where nothing else is said.
pub const DEFAULT_JITTER: f64 = 0.2;

/// How many pauses a schedule may have.
pub const MAX_ENTRIES: usize = 30;

/// A week: what waits longer is better paused.
const LONGEST_PAUSE: u32 = 7 * 24 * 60 * 60;

/// As long as an event can live (see `publish::LONGEST_LIFE`).
const LONGEST_TOTAL: u64 = 30 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_bounded_in_every_direction() {
        let day = 24 * 60 * 60;
        for good in
            [vec![], vec![1], vec![7 * day], vec![day; 30], vec![7 * day, 7 * day, 7 * day, 7 * day, 2 * day]]
        {
            assert_eq!(Retry::new(good.clone(), 0.0).unwrap().schedule_seconds(), good);
        }
        for (bad, error) in [
            (vec![1; 31], RetryError::Entries),
            (vec![5, 0], RetryError::Pause),
            (vec![7 * day + 1], RetryError::Pause),
            (vec![7 * day, 7 * day, 7 * day, 7 * day, 2 * day + 1], RetryError::Total),
        ] {
            assert_eq!(Retry::new(bad, 0.0), Err(error));
        }
    }

    #[test]
    fn jitter_is_a_part_of_one_in_thousandths() {
        for (given, kept) in [(0.0, 0.0), (0.2, 0.2), (1.0, 1.0), (0.123_4, 0.123), (0.000_6, 0.001)] {
            assert_eq!(Retry::new(vec![], given).unwrap().jitter(), kept, "{given}");
        }
        for bad in [-0.001, 1.001, f64::NAN, f64::INFINITY] {
            assert_eq!(Retry::new(vec![], bad), Err(RetryError::Jitter), "{bad}");
        }
    }
}
