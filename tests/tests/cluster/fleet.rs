//! Whole senders on one store, each on a runtime of its own, so that one can be gone from one moment to the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use waxseal_envelope::{Data, EventType, Issuer};
use waxseal_keys::{Clock, KeyEncryptionKey, ManualClock, RingPolicy, SignatureAlgorithm, SystemClock};
use waxseal_sender::directory::To;
use waxseal_sender::engine::egress::EgressPolicy;
use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::engine::ownership::OwnershipPolicy;
use waxseal_sender::engine::{EngineHandle, EnginePolicy};
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::consumer::{DeclaredType, Visibility};
use waxseal_sender::model::pace::Pace;
use waxseal_sender::publish::{Publication, Published};
use waxseal_sender::sender::{Sender, Settings};
use waxseal_sender::signing_keys::X5c;
use waxseal_sender::store::{LEASE, NodeRole, Shard, Shards, Store};
use waxseal_tests::store_model::StoreModel;

use crate::node::{consumer, endpoint, id, until};

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
        let store: Arc<dyn Store> = Arc::new(model.clone());
        let kek = KeyEncryptionKey::from_text(&self.kek.to_text()).unwrap();
        let start = Sender::start(settings(role), store, kek, Arc::new(SystemClock));
        let sender = Arc::new(runtime.spawn(start).await.unwrap().unwrap());
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
        let (visible_to, created_at) = (Visibility::All, SystemClock.now());
        let declared = DeclaredType { name: event_type(), description: None, visible_to, created_at };
        self.sender.directory().create_event_type(declared).await.unwrap();
        for name in consumers {
            self.sender.directory().create_consumer(consumer(name)).await.unwrap();
        }
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
        let publication = Publication {
            event_type: event_type(),
            data: Data::json(b"{}").unwrap(),
            to: To::Consumers(vec![id(to)]),
            id: None,
            occurred_at: None,
            idempotency_key: None,
            publisher: None,
            expiry: None,
        };
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

fn event_type() -> EventType {
    EventType::parse("order.created").unwrap()
}

fn settings(role: NodeRole) -> Settings {
    let ownership = OwnershipPolicy {
        tend_every: Duration::from_millis(60),
        trusted_for: TRUSTED_FOR,
        look_every: Duration::from_millis(100),
        tell_every: Duration::from_millis(50),
        ..OwnershipPolicy::default()
    };
    let mut engine = EnginePolicy { ownership, ..EnginePolicy::default() };
    engine.limits.per_endpoint = MOST_AT_ONCE;
    Settings {
        issuer: Issuer::parse("https://sender.example").unwrap(),
        algorithm: SignatureAlgorithm::EdDsa,
        ring: RingPolicy::default(),
        jwks_max_age: Duration::from_secs(60),
        x5c: X5c::Omitted,
        egress: EgressPolicy {
            allow: vec!["127.0.0.1/32".parse().unwrap()],
            http: PlainHttp::AllowedRanges,
            ..EgressPolicy::default()
        },
        engine,
        retention: Default::default(),
        operations: Default::default(),
        by_hand: Default::default(),
        role,
        node_name: "one of several".to_owned(),
    }
}

/// How many POSTs to an endpoint there may be at once.
pub const MOST_AT_ONCE: usize = 3;

/// Long enough for a machine that is busy, short enough to wait for.
const TRUSTED_FOR: Duration = Duration::from_secs(3);
