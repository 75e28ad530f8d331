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
pub mod hold;
mod lane;
mod limits;
mod observe;
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

use std::sync::Arc;
use std::time::Duration;

use waxseal_envelope::Issuer;
use waxseal_keys::Clock;

use self::breaker::BreakerPolicy;
pub use self::claim::Arrival;
use self::condition::Condition;
use self::egress::Egress;
use self::hold::Hold;
pub use self::limits::Limits;
use self::shared::{Phase, Shared};
use self::verdict::RetryPolicy;
use self::verification::{VerificationPolicy, Verifier};
use crate::consumer_keys::ConsumerKeys;
use crate::credentials::Credentials;
use crate::data_keys::DataKeys;
use crate::directory::Directory;
use crate::id::{DeliveryId, EndpointId};
use crate::publish::Expected;
use crate::signing_keys::SigningKeys;
use crate::store::Store;

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
    /// Starts an engine on the current runtime. It finds by itself what is live in the store.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start(parts: EngineParts) -> EngineHandle {
        let shared = Arc::new(Shared::new(parts, tokio::runtime::Handle::current()));
        // Subscribed before anything is read, so that no change falls in between.
        let news = driver::News::subscribe(&shared);
        let verifier = Arc::new(Verifier::new(Arc::clone(&shared)));
        tokio::spawn(Arc::clone(&verifier).run(shared.parts.directory.subscribe()));
        tokio::spawn(driver::drive(Arc::clone(&shared), news));
        EngineHandle { shared, verifier }
    }
}

impl EngineHandle {
    /// Announces deliveries that are on disk since just now. Never waits; what does not fit into memory is read from
    /// the store later.
    pub fn arrived(&self, arrivals: Vec<Arrival>) {
        self.shared.with(|schedule, now| {
            for arrival in arrivals {
                schedule.arrive(arrival, now);
            }
        });
        self.shared.pump();
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

    /// Forgets deliveries that are no longer live in the store; returns those that are being made just now.
    pub fn withdrawn(&self, endpoint: EndpointId, ids: &[DeliveryId]) -> Vec<DeliveryId> {
        let in_flight = self.shared.with(|schedule, now| schedule.withdraw(endpoint, ids, now));
        self.shared.pump();
        in_flight
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
            discover_every: Duration::from_secs(30),
            stop_within: Duration::from_secs(10),
        }
    }
}
