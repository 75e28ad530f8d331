//! Which shards this node works on, and how long it may believe that.
//!
//! # Authority
//!
//! The store alone says who owns what ([`Cluster`]). What it said is believed from the *beginning* of the call that asked,
//! for a while that is shorter than the lease, by the clock of this process that nobody sets. So whoever takes a shard over
//! after the lease finds that its last owner has begun nothing for some time. A node never asks the store whether it
//! still owns something: it looks at that clock, before each claim and once more before each POST.
//!
//! # States of a shard
//!
//! ```text
//!               tend: ours                 tend: too many             in flight ended
//!   others' ------------------> worked on ----------------> drained ------------------> given back
//!      ^                           |
//!      +---------------------------+  tend: not ours, or it has changed hands; the trust has ended; a stop
//! ```
//!
//! # What happens when
//!
//! - *the store does not answer*: when the trust ends nothing more is begun, and what waits in memory is dropped. With the
//!   first answer every shard that is still owned is gained anew.
//! - *a shard has changed hands in between*, which its number says: it is lost and gained in one.
//! - *a node joins*: the others drain what is more than their share, and give it back.
//! - *a node stops*: it goes on renewing its lease while what is in flight ends, then gives everything back.
//! - *a node dies, or is stopped and continued*: others own its shards when its lease is over. What it posts by then is
//!   posted twice at most, and its settlements are fenced.
//!
//! A process that has its store to itself works on everything from its start on, and none of this runs.

mod arrivals;
mod hints;
mod holding;
mod tell;
mod tenure;
mod told;
mod withdrawals;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use self::arrivals::Seen;
pub(super) use self::hints::{hear, look};
pub(super) use self::tell::tell;
pub(super) use self::tenure::keep;
pub(super) use self::told::states;
use crate::clock_watch::this_instant;
use crate::id::{DeliveryId, EndpointId};
use crate::leadership::{Leadership, Leading};
use crate::store::{Cluster, LEASE, Node, NodeRole, Shard, Shards, TEND_EVERY, TRUSTED_FOR};

/// When what is done for ownership.
#[derive(Clone, Copy, Debug)]
pub struct OwnershipPolicy {
    /// How often the lease is renewed.
    pub tend_every: Duration,
    /// How long after the beginning of a renewal it is trusted; shorter than the store's lease.
    pub trusted_for: Duration,
    /// How often it is looked for what other nodes have accepted.
    pub look_every: Duration,
    /// How often it is looked for what came late.
    pub look_far_every: Duration,
    /// How far the clocks of nodes may be apart, and how long the write of an acceptance may take, together.
    pub slack: Duration,
    /// The same as it usually is. What comes later than that is not found before it is looked far.
    pub usual_slack: Duration,
    /// How often other nodes are told how endpoints do, if that has changed.
    pub tell_every: Duration,
    /// How long what is in flight is waited for before its shard is given back.
    pub drain_within: Duration,
}

/// What a node is and owns, for those who look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeView {
    /// What the node says of itself.
    pub node: Node,
    /// What it works on.
    pub shards: Shards,
    /// Whether it may begin anything.
    pub trusted: bool,
    /// Whether a commit waits for a second machine; unknown yet.
    pub synchronous_standby: Option<bool>,
}

/// What a node works on, and how long it may.
pub(super) struct Ownership {
    pub(super) node: Node,
    pub(super) policy: OwnershipPolicy,
    cluster: Option<Arc<dyn Cluster>>,
    trusted_until: watch::Sender<Option<Instant>>,
    works_on: watch::Sender<Shards>,
    leading: watch::Sender<Leading>,
    synchronous_standby: watch::Sender<Option<bool>>,
    seen: Mutex<Seen>,
    /// Where something is said to have arrived.
    arrived: Mutex<Shards>,
    /// Whether words were lost: the next look at everything is to reach far.
    lost: AtomicBool,
    bell: Notify,
}

impl Ownership {
    /// Of everything, unless there is a cluster to share it with.
    pub(super) fn new(node: Node, policy: OwnershipPolicy, cluster: Option<Arc<dyn Cluster>>) -> Self {
        let (shards, leading) = match &cluster {
            None => (Shards::ALL, Leading::Always),
            Some(_) => (Shards::NONE, Leading::No),
        };
        Self {
            node,
            policy,
            cluster,
            trusted_until: watch::Sender::new(None),
            works_on: watch::Sender::new(shards),
            leading: watch::Sender::new(leading),
            synchronous_standby: watch::Sender::new(None),
            seen: Mutex::default(),
            arrived: Mutex::default(),
            lost: AtomicBool::default(),
            bell: Notify::new(),
        }
    }

    pub(super) fn cluster(&self) -> Option<&Arc<dyn Cluster>> {
        self.cluster.as_ref()
    }

    /// Whether anything may be begun at this moment.
    pub(super) fn is_trusted(&self) -> bool {
        self.cluster.is_none() || self.trusted_until.borrow().is_some_and(|until| this_instant() < until)
    }

    /// Whether deliveries to this endpoint are made here.
    pub(super) fn have(&self, endpoint: EndpointId) -> bool {
        self.works_on.borrow().have(endpoint)
    }

    /// What is worked on, as it changes.
    pub(super) fn watch(&self) -> watch::Receiver<Shards> {
        self.works_on.subscribe()
    }

    pub(super) fn leadership(&self) -> Leadership {
        Leadership::new(self.leading.subscribe())
    }

    pub(super) fn view(&self) -> NodeView {
        NodeView {
            node: self.node.clone(),
            shards: *self.works_on.borrow(),
            trusted: self.is_trusted(),
            synchronous_standby: *self.synchronous_standby.borrow(),
        }
    }

    /// These were announced here: they need not be found by looking.
    pub(super) fn announced(&self, ids: impl IntoIterator<Item = DeliveryId>) {
        if self.cluster.is_some() {
            self.with_seen(|seen| ids.into_iter().for_each(|id| seen.insert(id)));
        }
    }

    fn with_seen<T>(&self, work: impl FnOnce(&mut Seen) -> T) -> T {
        work(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Works on these, if that is trusted, until then.
    fn set(&self, shards: Shards, until: Option<Instant>) {
        self.trusted_until.send_replace(until);
        self.works_on.send_if_modified(|now| std::mem::replace(now, shards) != shards);
        let leading = until.filter(|_| shards.contains(Shard::LEADING)).map_or(Leading::No, Leading::Until);
        self.leading.send_replace(leading);
        metrics::gauge!("waxseal_shards_owned").set(u32::try_from(shards.len()).map_or(0.0, f64::from));
        metrics::gauge!("waxseal_ownership_trusted").set(f64::from(u8::from(until.is_some())));
    }
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ownership").field("node", &self.node.id).finish_non_exhaustive()
    }
}

impl NodeView {
    /// What the node does.
    pub fn role(&self) -> NodeRole {
        self.node.role
    }
}

impl Default for OwnershipPolicy {
    fn default() -> Self {
        Self {
            tend_every: TEND_EVERY,
            trusted_for: TRUSTED_FOR,
            look_every: Duration::from_secs(1),
            look_far_every: Duration::from_secs(15),
            slack: Duration::from_secs(30),
            usual_slack: Duration::from_secs(2),
            tell_every: Duration::from_secs(2),
            drain_within: LEASE * 4,
        }
    }
}
