//! How many rows are taken at once, from where on, and how long is waited after trouble. Pure.
//!
//! Rows are read from where the last batch began, as the index before that is full of what was deleted, and stays full of
//! it while somebody's transaction keeps the database from removing that. Transactions that committed late may have rows
//! there, so it is read from its beginning again and again: a position is a shortcut, and never a promise that nothing
//! lies before it. After each such look comes a rest of twenty times as long, also if the database ended it because it took
//! too long: what is published meanwhile is carried at the pace that it always has.

use std::time::Duration;

use tokio::time::Instant;

/// The state of it.
#[derive(Debug)]
pub(super) struct Pace {
    most: u32,
    size: u32,
    waited: Duration,
    from: i64,
    /// When the last look from the beginning ended, and how long it took.
    looked: Option<(Instant, Duration)>,
    /// Nothing was found at last.
    idle: bool,
}

impl Pace {
    pub(super) fn new(most: u32) -> Self {
        Self { most, size: most.min(FIRST), waited: Duration::ZERO, from: 0, looked: None, idle: false }
    }

    /// How many rows to take.
    pub(super) fn size(&self) -> u32 {
        self.size
    }

    /// From where on to read.
    pub(super) fn from(&self, now: Instant) -> i64 {
        let Some((at, took)) = self.looked else { return 0 };
        let rest = took * REST;
        let rest = if self.idle { rest } else { rest.max(SHORTEST_REST) };
        if now.saturating_duration_since(at) < rest { self.from } else { 0 }
    }

    /// From where on the first row of all can be found without a long walk.
    pub(super) fn first(&self) -> i64 {
        if self.looked.is_some_and(|(_, took)| took >= SLOW_LOOK) { self.from } else { 0 }
    }

    /// Notes that it was read from there on until now, and the first row that was found.
    pub(super) fn read(&mut self, from: i64, first: Option<i64>, took: Duration, now: Instant) {
        if from == 0 {
            self.looked = Some((now, took));
        }
        self.from = first.unwrap_or(self.from);
        self.idle = first.is_none();
    }

    /// Notes that reading from there on failed after so long. It goes on from its position, if there is one.
    pub(super) fn failed(&mut self, from: i64, took: Duration, now: Instant) {
        if from == 0 && self.from > 0 {
            self.looked = Some((now, took));
        }
    }

    /// Reads from the beginning next time, whenever that would be due.
    pub(super) fn read_anew(&mut self) {
        self.looked = None;
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
const SHORTEST_REST: Duration = Duration::from_secs(1);
/// So that looks from the beginning take a twentieth of the time.
const REST: u32 = 20;
/// Some million entries of what was deleted.
pub(super) const SLOW_LOOK: Duration = Duration::from_secs(1);
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
        let mut turn = |millis, first| {
            let from = pace.from(at(millis));
            pace.read(from, first, Duration::ZERO, at(millis));
            from
        };
        assert_eq!(turn(0, Some(500)), 0);
        assert_eq!(turn(10, Some(900)), 500);
        assert_eq!(turn(999, Some(950)), 900);
        // A second has passed, though it was read from the position all the time.
        assert_eq!(turn(1_000, Some(120)), 0);
        assert_eq!(turn(1_001, Some(960)), 120);
        // Nothing from there on: from the beginning each time, as that costs nothing.
        assert_eq!(turn(1_002, None), 960);
        assert_eq!(turn(1_003, None), 0);
        assert_eq!(turn(1_004, Some(130)), 0);
        assert_eq!(turn(1_005, Some(970)), 130);
    }

    #[test]
    fn a_look_from_the_beginning_is_followed_by_twenty_times_its_time() {
        let (mut pace, begin) = (Pace::new(100), this_instant());
        let (at, took) = (|millis| begin + Duration::from_millis(millis), Duration::from_secs(1));
        pace.read(0, Some(2_000), took, at(1_000));
        assert_eq!(pace.first(), 2_000, "the way to the first of all is long");
        for millis in [1_001, 5_000, 20_999] {
            assert_eq!(pace.from(at(millis)), 2_000, "after {millis} ms");
            // Nothing is there for now, which is no reason to begin anew.
            pace.read(2_000, None, Duration::ZERO, at(millis));
        }
        assert_eq!(pace.from(at(21_000)), 0);
        // One that the database has ended counts as much.
        pace.failed(0, Duration::from_secs(10), at(31_000));
        assert_eq!(
            (pace.from(at(31_001)), pace.from(at(230_999)), pace.from(at(231_000))),
            (2_000, 2_000, 0)
        );
        pace.read_anew();
        assert_eq!(pace.from(at(31_002)), 0);
    }

    #[test]
    fn without_a_position_it_is_read_from_the_beginning() {
        let (mut pace, begin) = (Pace::new(100), this_instant());
        pace.failed(0, Duration::from_secs(10), begin);
        assert_eq!((pace.from(begin), pace.first()), (0, 0));
    }
}
