//! How many rows are taken at once, from where on, and how long is waited after trouble. Pure.
//!
//! Rows are read from where the last batch began, as the index before that is full of what was deleted. Transactions
//! that committed late may have rows there, so it is read from its beginning once a second, and whenever nothing more
//! is found: a position is a shortcut, and never a promise that nothing lies before it.

use std::time::Duration;

use tokio::time::Instant;

/// The state of it.
#[derive(Debug)]
pub(super) struct Pace {
    most: u32,
    size: u32,
    waited: Duration,
    from: i64,
    began_anew: Option<Instant>,
}

impl Pace {
    pub(super) fn new(most: u32) -> Self {
        Self { most, size: most.min(FIRST), waited: Duration::ZERO, from: 0, began_anew: None }
    }

    /// How many rows to take.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// From where on to read.
    pub(super) fn from(&self, now: Instant) -> i64 {
        match self.began_anew {
            Some(at) if now.saturating_duration_since(at) < ANEW => self.from,
            Some(_) | None => 0,
        }
    }

    /// Notes the first row that was found from there on.
    pub(super) fn read(&mut self, first: Option<i64>, now: Instant) {
        let anew = self.from(now) == 0;
        match first {
            Some(first) => {
                if anew {
                    self.began_anew = Some(now);
                }
                self.from = first;
            }
            None => self.began_anew = None,
        }
    }

    /// The sender answered, after this long.
    pub(super) fn went_well(&mut self, took: Duration) {
        self.waited = Duration::ZERO;
        if took < QUICK {
            self.size = self.size.saturating_mul(2).min(self.most);
        } else if took > SLOW {
            self.size = (self.size / 2).max(1);
        }
    }

    /// Fewer than these rows may be understood, or be in time.
    pub(super) fn make_smaller(&mut self, than: usize) {
        let than = u32::try_from(than).unwrap_or(u32::MAX);
        self.size = (self.size.min(than) / 2).max(1);
    }

    /// How long to wait after one more failure.
    pub(super) fn back_off(&mut self) -> Duration {
        self.waited = (self.waited * 2).clamp(SHORTEST, LONGEST);
        self.waited
    }
}

/// Reads how many events may be in one batch.
///
/// # Errors
/// What was expected.
pub fn batch_size(text: &str) -> Result<u32, String> {
    let size = text.parse().ok().filter(|size| (1..=LARGEST_BATCH).contains(size));
    size.ok_or_else(|| format!("expected a number from 1 to {LARGEST_BATCH}"))
}

/// What the sender's API takes.
pub const LARGEST_BATCH: u32 = 100;
const FIRST: u32 = 20;
const ANEW: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(500);
/// Half of what a call may take.
const SLOW: Duration = Duration::from_secs(1);
const SHORTEST: Duration = Duration::from_millis(100);
/// Events wait no longer than this for a sender that is back.
const LONGEST: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock_watch::this_instant;

    #[test]
    fn batches_grow_while_the_sender_is_quick_and_shrink_when_it_is_not() {
        let mut pace = Pace::new(100);
        for expected in [40, 80, 100, 100] {
            pace.went_well(Duration::from_millis(10));
            assert_eq!(pace.size(), expected);
        }
        pace.went_well(Duration::from_millis(700));
        assert_eq!(pace.size(), 100);
        pace.went_well(Duration::from_millis(1_500));
        assert_eq!(pace.size(), 50);
        pace.make_smaller(30);
        assert_eq!(pace.size(), 15);
        for _ in 0..10 {
            pace.make_smaller(100);
        }
        assert_eq!(pace.size(), 1);
        assert_eq!(Pace::new(5).size(), 5);
    }

    #[test]
    fn waiting_grows_up_to_a_bound_and_ends_with_the_first_success() {
        let mut pace = Pace::new(100);
        let waits: Vec<_> = (0..8).map(|_| pace.back_off().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        pace.went_well(Duration::ZERO);
        assert_eq!(pace.back_off(), SHORTEST);
    }

    #[test]
    fn what_lies_before_the_position_is_looked_at_again_soon() {
        let (mut pace, begin) = (Pace::new(100), this_instant());
        let at = |millis| begin + Duration::from_millis(millis);
        assert_eq!(pace.from(at(0)), 0);
        pace.read(Some(500), at(0));
        assert_eq!(pace.from(at(10)), 500);
        pace.read(Some(900), at(10));
        assert_eq!(pace.from(at(999)), 900);
        // A second has passed, though it was read from the position all the time.
        assert_eq!(pace.from(at(1_000)), 0);
        pace.read(Some(120), at(1_000));
        assert_eq!(pace.from(at(1_001)), 120);
        // Nothing from there on: from the beginning next time.
        pace.read(None, at(1_002));
        assert_eq!(pace.from(at(1_003)), 0);
    }
}
