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
    Shards(ShardStep),
}

/// What happens to shards, each that of one endpoint, and what other nodes do.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::schedule::tests) enum ShardStep {
    Lose {
        endpoint: usize,
    },
    Gain {
        endpoint: usize,
    },
    Drain {
        endpoint: usize,
    },
    TrustEnds,
    TrustReturns,
    /// Another node accepts a delivery.
    Publish {
        endpoint: usize,
        delay: i64,
    },
    /// That is found out.
    Notice {
        which: usize,
    },
    /// The owner makes an attempt, or ends the delivery; not if this node is the owner.
    Settle {
        endpoint: usize,
        which: usize,
        again: Option<i64>,
    },
    /// Another node cancels a delivery, whoever the owner is.
    Withdraw {
        endpoint: usize,
        which: usize,
    },
    /// And says so.
    HearOfIt {
        endpoint: usize,
    },
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
