//! Whole senders on one store, each on a runtime of its own, so that one can be gone from one moment to the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use waxseal_keys::{Clock, KeyEncryptionKey, ManualClock, SystemClock};
use waxseal_sender::directory::To;
use waxseal_sender::engine::ownership::OwnershipPolicy;
use waxseal_sender::engine::{EngineHandle, EnginePolicy};
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::pace::Pace;
use waxseal_sender::publish::Published;
use waxseal_sender::sender::Sender;
use waxseal_sender::store::{LEASE, NodeRole, Shard, Shards};
use waxseal_tests::store_model::StoreModel;

use crate::node::{endpoint, id, until};
use crate::sender;

/// A store, and the clock by which its leases run; it stands still unless it is told.
pub struct Fleet {
    clock: Arc<ManualClock>,
    first: StoreModel,
    kek: KeyEncryptionKey,
    taken: bool,
}

/// One sender.
pub struct Member {
    pub model: StoreModel,
    pub sender: Arc<Sender>,
    runtime: Runtime,
}

impl Fleet {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let first = StoreModel::shared(Arc::clone(&clock) as Arc<dyn Clock>);
        Self { clock, first, kek: KeyEncryptionKey::generate(), taken: false }
    }

    /// Another sender that makes deliveries.
    pub async fn join(&mut self) -> Member {
        self.join_as(NodeRole::All).await
    }

    pub async fn join_as(&mut self, role: NodeRole) -> Member {
        let model = if self.taken { self.first.for_another_node() } else { self.first.clone() };
        self.taken = true;
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let start = sender::start(model.clone(), sender::again(&self.kek), role, engine());
        let sender = Arc::new(runtime.spawn(start).await.unwrap());
        Member { model, sender, runtime }
    }

    /// Whoever has not renewed its lease by now has lost it.
    pub fn let_leases_run_out(&self) {
        self.clock.advance(LEASE + Duration::from_secs(1));
    }
}

impl Member {
    pub fn engine(&self) -> &EngineHandle {
        self.sender.engine()
    }

    /// What it works on just now.
    pub fn shards(&self) -> Shards {
        self.engine().node().unwrap().shards
    }

    pub fn is_trusted(&self) -> bool {
        self.engine().node().unwrap().trusted
    }

    pub async fn declare(&self, consumers: &[&str]) {
        sender::declare(self.sender.directory(), consumers).await;
    }

    /// A new endpoint, in a shard that is not among these.
    pub async fn endpoint(&self, of: &str, url: url::Url, pace: Pace, not_in: Shards) -> EndpointId {
        let made = std::iter::repeat_with(|| endpoint(of, url.clone())).find(|made| !not_in.have(made.id));
        let made = waxseal_sender::model::endpoint::Endpoint { pace, ..made.unwrap() };
        self.sender.directory().create_endpoint(made, None).await.unwrap().id
    }

    pub async fn publish(&self, to: &str) -> Published {
        self.try_publish(to).await.unwrap()
    }

    pub async fn try_publish(&self, to: &str) -> Result<Published, String> {
        let publication = sender::publication(To::Consumers(vec![id(to)]));
        let sender = Arc::clone(&self.sender);
        let published = self.runtime.spawn(async move { sender.publisher().publish(publication).await });
        published.await.unwrap().map_err(|error| error.to_string())
    }

    /// Gone, without a word to anybody.
    pub fn die(self) {
        self.runtime.shutdown_background();
    }

    pub async fn stop(self) {
        let Self { sender, runtime, .. } = self;
        let sender = Arc::into_inner(sender).expect("nothing is published any more");
        runtime.spawn(sender.stop()).await.unwrap();
        runtime.shutdown_background();
    }
}

/// Waits until these work on all shards, each on about as many.
pub async fn shared_out(members: &[&Member]) {
    until("the shards are shared out", || {
        let shards: Vec<_> = members.iter().map(|member| member.shards()).collect();
        let all = shards.iter().fold(Shards::NONE, |all, one| all.or(*one));
        let least = Shard::COUNT / members.len() - members.len();
        all == Shards::ALL && shards.iter().all(|one| one.len() >= least)
    })
    .await;
}

fn engine() -> EnginePolicy {
    let ownership = OwnershipPolicy {
        tend_every: Duration::from_millis(60),
        trusted_for: TRUSTED_FOR,
        look_every: Duration::from_millis(100),
        tell_every: Duration::from_millis(50),
        ..OwnershipPolicy::default()
    };
    let mut engine = EnginePolicy { ownership, ..EnginePolicy::default() };
    engine.limits.per_endpoint = MOST_AT_ONCE;
    engine
}

/// How many POSTs to an endpoint there may be at once.
pub const MOST_AT_ONCE: usize = 3;

/// Long enough for a machine that is busy, short enough to wait for.
const TRUSTED_FOR: Duration = Duration::from_secs(3);
