//! The delivery engine: what was accepted is posted until it is delivered or has visibly ended.
//!
//! `schedule` says which delivery is made next, and is the place to read about states, authority and failure.
//! `deliver` makes one: seal, post, judge, settle. This module connects the two: it shares the schedule between
//! publishers, the tasks that deliver and the driver that reads the store, keeps time and hears of changes.
//!
//! Relies on the store for what is live and on the directory for what is configured. Guarantees that every live
//! delivery is made when it is due, unless its endpoint is held; that nothing is posted without the protection that
//! its endpoint asks for; and that an attempt that was made is recorded, however long the store takes.

pub mod breaker;
mod claim;
pub mod condition;
mod deliver;
mod driver;
pub mod egress;
mod expire;
mod gone;
pub mod hold;
mod lane;
mod limits;
mod meters;
mod observe;
pub mod ownership;
mod pace;
mod place;
pub mod post;
mod recent;
mod ring;
mod room;
mod schedule;
mod seal;
mod set_back;
mod settle;
mod shared;
mod slots;
pub mod verdict;
pub mod verification;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use waxseal_envelope::Issuer;
use waxseal_keys::Clock;

use self::breaker::BreakerPolicy;
pub use self::claim::Arrival;
use self::condition::{Condition, EndpointState};
use self::egress::Egress;
use self::hold::Hold;
pub use self::limits::Limits;
use self::ownership::{NodeView, OwnershipPolicy};
use self::shared::{Phase, Shared};
use self::verdict::RetryPolicy;
use self::verification::{VerificationPolicy, Verifier};
use crate::consumer_keys::ConsumerKeys;
use crate::credentials::Credentials;
use crate::data_keys::DataKeys;
use crate::directory::Directory;
use crate::id::{DeliveryId, EndpointId};
use crate::leadership::Leadership;
use crate::publish::Expected;
use crate::signing_keys::SigningKeys;
use crate::store::{Hint, Node, Shard, Shards, Store, StoreError};

/// Starts delivering.
#[derive(Debug)]
pub struct Engine;

/// What an engine works with.
#[derive(Clone, Debug)]
pub struct EngineParts {
    /// Where deliveries live.
    pub store: Arc<dyn Store>,
    /// What is configured.
    pub directory: Arc<Directory>,
    /// What stored payloads are decrypted with.
    pub data_keys: Arc<DataKeys>,
    /// What signs.
    pub signing_keys: Arc<SigningKeys>,
    /// What seals.
    pub consumer_keys: Arc<ConsumerKeys>,
    /// What endpoints are shown beside the token.
    pub credentials: Arc<Credentials>,
    /// What posts.
    pub egress: Arc<Egress>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Who signs, as tokens say it.
    pub issuer: Issuer,
    /// Which process this is, for others that share the store.
    pub node: Node,
    /// How much, how often, how long.
    pub policy: EnginePolicy,
}

/// How much an engine does at once, and when.
#[derive(Clone, Debug)]
pub struct EnginePolicy {
    /// How much at once.
    pub limits: Limits,
    /// When failed attempts are repeated.
    pub retry: RetryPolicy,
    /// When an endpoint is left alone, and when it is given up.
    pub breaker: BreakerPolicy,
    /// How endpoints are asked whether they want events.
    pub verification: VerificationPolicy,
    /// When what is done for the ownership of shards, where others share the store.
    pub ownership: OwnershipPolicy,
    /// How often the store is searched for what nobody announced.
    pub discover_every: Duration,
    /// How long a stop waits for what is in flight.
    pub stop_within: Duration,
}

/// How much an engine has at hand.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct EngineStats {
    /// Endpoints of which something is known.
    pub lanes: usize,
    /// Deliveries that wait in memory.
    pub waiting: usize,
    /// Bytes of payloads that wait in memory.
    pub payload_bytes: usize,
    /// Deliveries that are in flight.
    pub in_flight: usize,
    /// Endpoints that are held.
    pub held: usize,
}

/// A running engine. It runs until [`EngineHandle::stop`] or the end of the runtime; dropping a handle changes
/// nothing.
#[derive(Clone, Debug)]
pub struct EngineHandle {
    shared: Arc<Shared>,
    verifier: Arc<Verifier>,
}

impl Engine {
    /// Starts an engine on the current runtime. It finds by itself what is live in the store. Its metrics go to the
    /// recorder that is installed by then.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(parts: EngineParts) -> EngineHandle {
        let shared = Arc::new(Shared::new(parts, tokio::runtime::Handle::current()));
        // Subscribed before anything is read, so that no change falls in between.
        let news = driver::News::subscribe(&shared);
        let verifier = Arc::new(Verifier::new(Arc::clone(&shared)));
        tokio::spawn(Arc::clone(&verifier).run(shared.parts.directory.subscribe()));
        let tenure = shared.ownership.cluster().map(Arc::clone).map(|cluster| {
            tokio::spawn(ownership::hear(Arc::clone(&shared), cluster.hints()));
            tokio::spawn(ownership::look(Arc::clone(&shared), Arc::clone(&cluster)));
            tokio::spawn(ownership::tell(Arc::clone(&shared), Arc::clone(&verifier), Arc::clone(&cluster)));
            tokio::spawn(ownership::keep(Arc::clone(&shared), cluster))
        });
        tokio::spawn(driver::drive(Arc::clone(&shared), news, tenure));
        EngineHandle { shared, verifier }
    }
}

impl EngineHandle {
    /// Announces deliveries that are on disk since just now. Never waits; what does not fit into memory is read from
    /// the store later, and of what others make they are told.
    pub fn arrived(&self, arrivals: Vec<Arrival>) {
        let mut others = Shards::NONE;
        let ours = arrivals.into_iter().filter(|arrival| {
            let endpoint = arrival.delivery.endpoint;
            let is_ours = self.shared.ownership.have(endpoint);
            if !is_ours {
                others.insert(Shard::of(endpoint));
            }
            is_ours
        });
        let ours: Vec<_> = ours.collect();
        self.shared.ownership.announced(ours.iter().map(|arrival| arrival.delivery.id));
        self.shared.with(|schedule, now| ours.into_iter().for_each(|one| schedule.announced(one, now)));
        self.shared.pump();
        if let Some(cluster) = self.shared.ownership.cluster().filter(|_| !others.is_empty()) {
            cluster.hint(Hint::Arrived(others));
        }
    }

    /// Announces deliveries that will be on disk soon, or not: where the order is strict, nothing behind them is made
    /// until they are dismissed.
    pub fn expect(&self, expected: &[Expected]) {
        self.shared.with(|schedule, now| expected.iter().for_each(|one| schedule.expect(one, now)));
    }

    /// These have arrived, or never will.
    pub fn dismiss(&self, expected: &[Expected]) {
        self.shared.with(|schedule, now| expected.iter().for_each(|one| schedule.dismiss(one, now)));
        self.shared.pump();
    }

    /// Forgets deliveries that are no longer live in the store; returns those that are being made just now, and those
    /// that another node may be making.
    pub fn withdrawn(&self, endpoint: EndpointId, ids: &[DeliveryId]) -> Vec<DeliveryId> {
        let in_flight = self.shared.with(|schedule, now| schedule.withdraw(endpoint, ids, now));
        self.shared.pump();
        match self.shared.ownership.cluster().filter(|_| !self.shared.ownership.have(endpoint)) {
            Some(cluster) => {
                cluster.hint(Hint::Withdrawn(endpoint));
                ids.to_vec()
            }
            None => in_flight,
        }
    }

    /// Looks at an endpoint again: what it is held for may have gone, or the time moved.
    pub fn wake(&self, endpoint: EndpointId) {
        self.shared.with(|schedule, _| schedule.new_epoch());
        self.shared.look(endpoint);
        self.shared.ring();
        self.verifier.wake(endpoint);
    }

    /// Which endpoints are held, and why.
    pub fn holds(&self) -> Vec<(EndpointId, Hold)> {
        self.shared
            .with(|schedule, _| schedule.holds().map(|(endpoint, _, hold)| (endpoint, *hold)).collect())
    }

    /// How an endpoint does.
    pub fn condition(&self, endpoint: EndpointId) -> Condition {
        self.shared.with(|schedule, now| schedule.condition(endpoint, now))
    }

    /// What an endpoint waits for before it can be asked whether it wants events, if it does.
    pub fn verification_waits_for(&self, endpoint: EndpointId) -> Option<&'static str> {
        self.verifier.waits_for(endpoint)
    }

    /// How these endpoints do, whoever makes deliveries to them.
    ///
    /// # Errors
    /// If other nodes make some of these, and the store cannot say what they have told.
    pub async fn states(
        &self,
        endpoints: &[EndpointId],
    ) -> Result<HashMap<EndpointId, EndpointState>, StoreError> {
        let others: Vec<_> =
            endpoints.iter().copied().filter(|id| !self.shared.ownership.have(*id)).collect();
        let mut states = match (self.shared.ownership.cluster(), others.as_slice()) {
            (Some(cluster), [one]) => ownership::states(cluster.conditions(Some(*one)).await?),
            (Some(cluster), [_, _, ..]) => ownership::states(cluster.conditions(None).await?),
            (None, _) | (_, []) => HashMap::new(),
        };
        states.retain(|id, _| others.contains(id));
        self.shared.with(|schedule, now| {
            for id in endpoints.iter().filter(|id| !others.contains(id)) {
                let hold = schedule.hold_of(*id);
                let (condition, waits) = (schedule.condition(*id, now), self.verifier.waits_for(*id));
                states.insert(*id, EndpointState { hold, condition, verification_waits_for: waits });
            }
        });
        Ok(states)
    }

    /// Which endpoints are held, and why, whoever makes deliveries to them.
    ///
    /// # Errors
    /// If the store cannot say what other nodes have told.
    pub async fn all_holds(&self) -> Result<Vec<(EndpointId, Hold)>, StoreError> {
        let mut holds = self.holds();
        if let Some(cluster) = self.shared.ownership.cluster() {
            let told = ownership::states(cluster.conditions(None).await?);
            let others = told.into_iter().filter(|(id, _)| !self.shared.ownership.have(*id));
            holds.extend(others.filter_map(|(id, state)| Some((id, state.hold?))));
        }
        Ok(holds)
    }

    /// What this node is and works on, if it shares the store with others.
    pub fn node(&self) -> Option<NodeView> {
        self.shared.ownership.cluster().map(|_| self.shared.ownership.view())
    }

    /// Whether this node does what one node alone must do.
    pub fn leadership(&self) -> Leadership {
        self.shared.ownership.leadership()
    }

    /// How much is at hand.
    pub fn stats(&self) -> EngineStats {
        self.shared.with(|schedule, _| EngineStats {
            lanes: schedule.lanes(),
            waiting: schedule.room().waiting,
            payload_bytes: schedule.room().payload_bytes,
            in_flight: schedule.in_flight(),
            held: schedule.holds().count(),
        })
    }

    /// Stops: nothing more is begun, and what is in flight may end and be settled within the policy's time. The rest
    /// is released, as if it had not been begun. Returns when all of that has happened.
    pub async fn stop(&self) {
        self.shared.set_phase(Phase::Stopping);
        self.shared.wait_for(Phase::Stopped).await;
    }
}

impl Default for EnginePolicy {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            retry: RetryPolicy::default(),
            breaker: BreakerPolicy::default(),
            verification: VerificationPolicy::default(),
            ownership: OwnershipPolicy::default(),
            discover_every: Duration::from_secs(30),
            stop_within: Duration::from_secs(10),
        }
    }
}
