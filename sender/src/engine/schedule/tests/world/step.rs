//! What can happen in the world.

use crate::engine::pace::Terms;

/// One thing that happens. `which` picks one of what is there at that moment.
#[derive(Clone, Debug)]
pub(in crate::engine::schedule::tests) enum Step {
    Publish { endpoint: usize, delay: i64 },
    Announce { which: usize },
    LoseAnnouncement { which: usize },
    Claim,
    Settle { which: usize, how: How },
    Done { which: usize },
    BeginRead,
    Read { which: usize, fails: bool },
    Hold { endpoint: usize },
    Release { endpoint: usize },
    Withdraw { endpoint: usize, which: usize },
    LookAtStore,
    Discover,
    Doubtful,
    NewEpoch,
    Advance { millis: i64 },
    Agree { endpoint: usize, terms: Terms },
    WriteHealth { which: usize, done: bool },
    Restart,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::schedule::tests) enum How {
    Final,
    /// Answered, but not delivered for good.
    Refused,
    /// Answered after so many seconds.
    Slow(u64),
    Again(i64),
    /// As `Again`, with a wish to be left alone for so long.
    Rest(i64),
    Held,
    Left,
}
