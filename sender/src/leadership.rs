//! Whether this node leads: does what one node alone must do, such as retention and telling the operator.
//!
//! A node leads while it owns [`Shard::LEADING`](crate::store::Shard::LEADING) and trusts its lease. Two never lead at the
//! same time as long as leases are kept, and everything that a leader does can be done twice without harm. A process that
//! has its store to itself always leads.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock_watch::this_instant;

/// Says whether this node leads.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<Leading>);

/// For how long a node leads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Leading {
    /// It does not.
    No,
    /// As long as its lease is trusted.
    Until(Instant),
    /// As long as it runs.
    Always,
}

impl Leadership {
    /// Of the one process that its store has.
    pub fn sole() -> Self {
        Self(watch::channel(Leading::Always).1)
    }

    pub(crate) fn new(leading: watch::Receiver<Leading>) -> Self {
        Self(leading)
    }

    /// Whether this node leads at this moment.
    pub fn leads(&self) -> bool {
        self.0.borrow().holds()
    }

    /// Waits until this node leads.
    pub async fn taken(&mut self) {
        if self.0.wait_for(Leading::holds).await.is_err() && !self.leads() {
            // Nobody is left who could say so.
            std::future::pending().await
        }
    }
}

impl Leading {
    fn holds(&self) -> bool {
        match self {
            Self::No => false,
            Self::Until(moment) => this_instant() < *moment,
            Self::Always => true,
        }
    }
}
