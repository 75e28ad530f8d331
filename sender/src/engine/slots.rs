//! Who uses how many of the slots: deliveries in flight, by the standing of their lanes.
//!
//! A lane is counted as it stands now, not as it stood when its deliveries were claimed: one that never answers turns
//! from new or sound into struggling while it holds its slots, and is counted among the struggling from then on.
//!
//! Lanes that struggle get new slots as long as they have less than a quarter of all; lanes that struggle or have
//! never answered, less than half together. So at least half of the slots are for those that are known to answer.

use super::limits::{Limits, Standing};

/// How many slots the lanes of each standing use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Slots {
    pub(super) sound: usize,
    pub(super) new: usize,
    pub(super) struggling: usize,
}

/// What one lane is counted as.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Counted {
    pub(super) standing: Standing,
    pub(super) in_flight: usize,
}

impl Slots {
    /// Counts a lane as it is now instead of as it was.
    pub(super) fn recount(&mut self, before: Counted, now: Counted) {
        *self.of(before.standing) -= before.in_flight;
        *self.of(now.standing) += now.in_flight;
    }

    /// How many there are in flight.
    pub(super) fn total(&self) -> usize {
        self.sound + self.new + self.struggling
    }

    /// Whether a lane of this standing may take another slot.
    pub(super) fn admit(&self, standing: Standing, limits: &Limits) -> bool {
        let unsound = self.new + self.struggling;
        self.total() < limits.in_flight
            && match standing {
                Standing::Sound => true,
                Standing::New => unsound < limits.unsound(),
                Standing::Struggling => self.struggling < limits.struggling() && unsound < limits.unsound(),
            }
    }

    fn of(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Sound => &mut self.sound,
            Standing::New => &mut self.new,
            Standing::Struggling => &mut self.struggling,
        }
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self { standing: Standing::New, in_flight: 0 }
    }
}
