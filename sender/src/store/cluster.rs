//! What several nodes that share one store need beside what it keeps: who owns which shards, and word of what others did.
//!
//! **Ownership is a lease.** A node renews it with [`Cluster::tend`] and works on its shards for a while after the *beginning*
//! of the last call that succeeded, by its own clock, and no longer; whoever takes over waits until the lease has run out by
//! the store's clock. Nothing else protects a shard. A node that goes on too long (it was stopped and continued) makes
//! duplicates at most: every settlement is fenced by itself.
//!
//! **A hint is only a hint.** [`Cluster::hints`] says early what would be found anyway: arrivals are found by asking, and so
//! are changes. When hints may have been lost, [`Hint::Lost`] says so, and whoever listens looks at everything anew.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;
use waxseal_keys::Timestamp;

use super::{EndpointWork, Record, RecordKind, Shard, Shards, StoreError};
use crate::id::{DeliveryId, EndpointId, NodeId};

/// A store that several nodes may use at once.
#[async_trait]
pub trait Cluster: fmt::Debug + Send + Sync {
    /// Registers this node or renews its lease, both for [`LEASE`] from now on by the store's clock; then takes shards that
    /// nobody owns, up to a fair share of them all if the node [takes shards](NodeRole::takes_shards). What the node
    /// owned beyond its share stays its own until it [gives it back](Self::give_back).
    async fn tend(&self, node: &Node) -> Result<Tenure, StoreError>;

    /// Gives these shards back; of those that the node does not own nothing happens.
    async fn give_back(&self, node: NodeId, shards: Shards) -> Result<(), StoreError>;

    /// Gives everything back and forgets the node.
    async fn leave(&self, node: NodeId) -> Result<(), StoreError>;

    /// The nodes whose lease has not been over for long, the shards that each owns, and how the store does.
    async fn overview(&self) -> Result<Overview, StoreError>;

    /// Live deliveries with ids after these, in the order of their ids within each shard, at most `limit` of each shard.
    async fn arrivals(
        &self,
        after: Vec<(Shard, DeliveryId)>,
        limit: u32,
    ) -> Result<Vec<FoundArrival>, StoreError>;

    /// What was configured after this version, each thing once, as it is now; [everything](Configured::everything), after
    /// version 0, or if it is [forgotten](Self::forget_changes) what was removed since. The health of endpoints is left out.
    async fn configured_after(&self, version: Version) -> Result<Configured, StoreError>;

    /// Forgets of what is configured no more that it ever was, the oldest first, of about so much at most; returns of how
    /// much. Not before every node has said that it [works by](Self::works_by) that, except those whose lease has been
    /// over for long. What was [withdrawn](Self::withdrawn) long ago is forgotten with it.
    async fn forget_changes(&self, limit: u32) -> Result<u64, StoreError>;

    /// Of which endpoints deliveries were cancelled, by any node, since where an earlier look says that the
    /// [next](Withdrawn::next) one begins; what that one has found may be found again. Without any there is nothing but where
    /// to begin.
    async fn withdrawn(&self, since: Option<u64>) -> Result<Withdrawn, StoreError>;

    /// The health of the endpoints of these shards, as far as there is any on record.
    async fn health(&self, shards: Shards) -> Result<Vec<Record>, StoreError>;

    /// Waits for the turn to change the configuration. There is one turn at a time among all nodes, given back when it is
    /// dropped. It is no protection in itself: a node that is too slow loses it. [`RecordChange::OnlyAt`] is.
    ///
    /// [`RecordChange::OnlyAt`]: super::RecordChange::OnlyAt
    async fn turn(&self) -> Result<Turn, StoreError>;

    /// Says that this node works by this version of the configuration.
    async fn works_by(&self, node: NodeId, version: Version) -> Result<(), StoreError>;

    /// Keeps how endpoints of this node's shards do, where that is worth telling. Nothing is written of what is as it was.
    async fn tell_conditions(&self, node: NodeId, told: ToldConditions) -> Result<(), StoreError>;

    /// How endpoints do that other nodes make deliveries to; of one, or of all.
    async fn conditions(&self, endpoint: Option<EndpointId>) -> Result<Vec<ToldCondition>, StoreError>;

    /// Tells the other nodes. Does not wait, and may fail silently.
    fn hint(&self, hint: Hint);

    /// Hears what other nodes tell from now on. Who falls behind has [lost](Hint::Lost) some.
    fn hints(&self) -> broadcast::Receiver<Hint>;
}

/// What a node says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// Its id: of the process, not of the machine.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// What it does.
    pub role: NodeRole,
    /// The program's version.
    pub program: String,
    /// When it began.
    pub started_at: Timestamp,
}

/// What a node does.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum NodeRole {
    /// It serves the API and delivers.
    #[default]
    All,
    /// It serves the API only.
    Api,
    /// It delivers only.
    Engine,
}

/// What a node owns.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tenure {
    /// Each shard, with the number of times that it has changed hands: a number that has changed says that others may have
    /// worked on it meanwhile.
    pub shards: Vec<(Shard, u64)>,
    /// How many of them are more than a fair share.
    pub excess: usize,
}

/// A live delivery that was found by asking.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FoundArrival {
    /// Its id.
    pub id: DeliveryId,
    /// Where to, to whom, and when it is due.
    pub work: EndpointWork,
}

/// Counts the changes of what is configured.
pub type Version = u64;

/// What is configured, or has been since.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Configured {
    /// The version that this leads to.
    pub version: Version,
    /// What is there.
    pub put: Vec<Record>,
    /// What is not there any more.
    pub removed: Vec<(RecordKind, String)>,
    /// Whether there is nothing but what is put here.
    pub everything: bool,
}

/// What was cancelled lately.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Withdrawn {
    /// Where the next look begins.
    pub next: u64,
    /// What there is.
    pub found: Vec<Withdrawal>,
}

/// Deliveries of an endpoint were cancelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Withdrawal {
    /// Tells it from every other one.
    pub number: u64,
    /// Whose.
    pub endpoint: EndpointId,
}

/// The turn to change the configuration; dropping it gives it back.
pub struct Turn(#[expect(dead_code, reason = "it is there to be dropped")] Box<dyn Send + Sync>);

/// What a node tells of how endpoints do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ToldConditions {
    /// All that is worth telling, in place of whatever it said before. It may not remain: no disk is waited for.
    All(Vec<ToldCondition>),
    /// What is otherwise since it told all.
    Changed {
        /// Of these endpoints this, in place of what it said of them before.
        told: Vec<ToldCondition>,
        /// Of these there is nothing to tell any more.
        over: Vec<EndpointId>,
    },
}

/// How an endpoint does, as the owner of its shard says it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ToldCondition {
    /// Which one.
    pub endpoint: EndpointId,
    /// What the owner says of it, for its reader to understand: no content, no URL.
    pub told: String,
}

/// Word from another node.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Hint {
    /// There is something new for these shards.
    Arrived(Shards),
    /// Something is configured otherwise.
    Configured,
    /// The signing ring has changed.
    RingChanged,
    /// Deliveries of this endpoint were cancelled or ended by somebody else than its owner.
    Withdrawn(EndpointId),
    /// Some hints were lost.
    Lost,
}

/// The nodes, and how the store does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overview {
    /// Every node, oldest first.
    pub nodes: Vec<NodeState>,
    /// What nobody owns.
    pub unowned: Shards,
    /// Whether a commit waits for a second machine before it is acknowledged.
    pub synchronous_standby: bool,
    /// How old the oldest snapshot is that somebody holds open.
    pub oldest_snapshot: Duration,
    /// How far the furthest standby that is connected is behind, in bytes; none is connected.
    pub standby_lag_bytes: Option<u64>,
}

/// A node, as the others see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodeState {
    /// What it says of itself.
    pub node: Node,
    /// How long its lease still lasts; zero: it is over.
    pub lease_left: Duration,
    /// What it owns.
    pub shards: Shards,
    /// By which version of the configuration it works.
    pub works_by: Version,
}

impl Node {
    /// This process, which begins now.
    pub fn begin(name: impl Into<String>, role: NodeRole, now: Timestamp) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { id: NodeId::generate(now), name: name.into(), role, program, started_at: now }
    }
}

impl NodeRole {
    /// Whether it makes deliveries.
    pub fn takes_shards(self) -> bool {
        matches!(self, Self::All | Self::Engine)
    }

    /// Whether it serves the API.
    pub fn serves_api(self) -> bool {
        matches!(self, Self::All | Self::Api)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Api => "api",
            Self::Engine => "engine",
        }
    }

    /// The role that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::All, Self::Api, Self::Engine].into_iter().find(|role| role.name() == name)
    }
}

impl Tenure {
    /// The shards without their numbers.
    pub fn owned(&self) -> Shards {
        self.shards.iter().map(|(shard, _)| *shard).collect()
    }
}

impl Turn {
    /// A turn that is given back when `guard` is dropped.
    pub fn new(guard: impl Send + Sync + 'static) -> Self {
        Self(Box::new(guard))
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turn")
    }
}

/// How long a lease lasts by the store's clock.
pub const LEASE: Duration = Duration::from_secs(15);

/// How often a lease is renewed.
pub const TEND_EVERY: Duration = Duration::from_secs(3);

/// How long after the beginning of a renewal a node trusts it, by its own clock. What is begun until then has the rest of the
/// lease to end.
pub const TRUSTED_FOR: Duration = Duration::from_secs(10);
