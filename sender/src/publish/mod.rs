//! Accepts events: the first two of the six verbs, publish and fan out.
//!
//! Relies on the [`Directory`] for who receives, on the [`Store`] for keeping, and on the engine for the rest.
//! Guarantees that an event that was accepted is on disk with all of its deliveries, that nothing of an event that was
//! refused is, that the content is encrypted before it leaves this module, and that the engine hears of every new
//! delivery even if the caller has gone away in the meantime.
//!
//! **Idempotency.** The publisher's own `id`, or else the idempotency key of its request, makes a repetition known for
//! [`REMEMBERED`]: the same content is answered with the event that was accepted first, other content is refused.
//! Where both are given the `id` decides, since it names the event and not the request. Keys are shared by everybody
//! who may publish to everyone, and apart for each token that is bound to a consumer.
//!
//! **Order.** Delivery ids ascend in the order in which publications begin. Where an endpoint wants its deliveries in
//! that order, the engine waits for those that have their ids and are not on disk yet, so the events of a batch are
//! delivered as they stand in it, and what is published after an answer is delivered after what was answered. Between
//! publications that do not wait for each other there is no order to keep.

mod cancel;
mod expected;
mod expiry;
mod fan_out;
mod idempotency;
pub mod payload;
mod redeliver;
mod single;
mod tell;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use waxseal_envelope::{Data, EventType, MAX_TXN};
use waxseal_keys::{Clock, Timestamp};

use crate::data_keys::DataKeys;
use crate::directory::{ChangeError, Directory, To};
use crate::engine::{Arrival, EngineHandle};
use crate::id::{Ascending, ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::endpoint::Endpoint;
use crate::model::event::PublishedEvent;
use crate::store::{Accepted, DeliveryFilter, NewDelivery, Store, StoreError};

pub use self::cancel::{Attempting, CancelError, CancelledSome};
pub use self::expected::Expected;
pub use self::expiry::{Expiry, LONGEST_LIFE};
pub use self::fan_out::UNVERIFIED_LIFE;
use self::fan_out::live;
pub use self::idempotency::{IdempotencyKey, IdempotencyKeyError};
pub use self::payload::{PayloadError, SealedPayload, read_payload};
pub use self::redeliver::{RedeliverError, Redelivered, Under};
pub use self::single::{TEST_LIFE, TEST_TYPE};

/// Whoever makes deliveries, as publishing needs to know them.
pub trait Arrivals: Debug + Send + Sync {
    /// Takes deliveries that are on disk. Must not block; what it drops it must find in the store later.
    fn arrived(&self, arrivals: Vec<Arrival>);

    /// Hears of deliveries that will be on disk soon, or not. Until they are dismissed nothing behind them is made.
    fn expect(&self, _expected: &[Expected]) {}

    /// These have arrived, or never will.
    fn dismiss(&self, _expected: &[Expected]) {}

    /// Forgets deliveries that are no longer live in the store; returns those that are being made just now.
    fn withdrawn(&self, endpoint: EndpointId, ids: &[DeliveryId]) -> Vec<DeliveryId>;
}

impl Arrivals for EngineHandle {
    fn arrived(&self, arrivals: Vec<Arrival>) {
        Self::arrived(self, arrivals);
    }

    fn expect(&self, expected: &[Expected]) {
        Self::expect(self, expected);
    }

    fn dismiss(&self, expected: &[Expected]) {
        Self::dismiss(self, expected);
    }

    fn withdrawn(&self, endpoint: EndpointId, ids: &[DeliveryId]) -> Vec<DeliveryId> {
        Self::withdrawn(self, endpoint, ids)
    }
}

/// An event that somebody wants to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Its type, which must be declared.
    pub event_type: EventType,
    /// What it says.
    pub data: Data,
    /// Whom it is for.
    pub to: To,
    /// The publisher's own id: travels as `txn` and makes a repetition known.
    pub id: Option<String>,
    /// When it happened.
    pub occurred_at: Option<Timestamp>,
    /// When it stops being worth delivering; never, if this is not said.
    pub expiry: Option<Expiry>,
    /// Makes a repetition of the same request known.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The consumer to which the publisher is bound, if it is.
    pub publisher: Option<ConsumerId>,
}

/// An event that was accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// Its id.
    pub event: EventId,
    /// Its deliveries.
    pub deliveries: Vec<PublishedDelivery>,
    /// Whether it had been accepted before; then these are the deliveries of that time, and redeliveries since.
    pub replayed: bool,
}

/// One delivery of an event that was accepted.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct PublishedDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// To whom.
    pub consumer: ConsumerId,
    /// Where to.
    pub endpoint: EndpointId,
}

/// Why an event was not accepted. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// A field says something that it cannot say.
    #[error("{field}: {detail}")]
    Refused {
        /// The field, as the API names it.
        field: &'static str,
        /// What is wrong and what was expected.
        detail: String,
    },
    /// The same id or idempotency key was used for another event.
    #[error("the same {field} was used before for other content, as event {event}")]
    Conflict {
        /// Which of the two, as the API names it.
        field: &'static str,
        /// The event that was accepted then.
        event: EventId,
    },
    /// The store failed. If it is not known whether the event was kept, a repetition with the same id will tell.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process is ending.
    #[error("the process is ending")]
    Ending,
}

impl PublishError {
    /// A stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "publish.refused",
            Self::Conflict { .. } => "publish.conflict",
            Self::Store(error) => error.code(),
            Self::Ending => "publish.ending",
        }
    }
}

/// Accepts events.
#[derive(Clone, Debug)]
pub struct Publisher {
    store: Arc<dyn Store>,
    directory: Arc<Directory>,
    data_keys: Arc<DataKeys>,
    engine: Arc<dyn Arrivals>,
    clock: Arc<dyn Clock>,
    ids: Arc<Ascending>,
}

impl Publisher {
    /// A publisher over these parts.
    pub fn new(
        store: Arc<dyn Store>,
        directory: Arc<Directory>,
        data_keys: Arc<DataKeys>,
        engine: Arc<dyn Arrivals>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { store, directory, data_keys, engine, clock, ids: Arc::default() }
    }

    /// Goes on after the ids that are in the store: an earlier process may have made them by a clock that was set back
    /// since, and where the order is strict it is that of the ids.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn resume(&self) -> Result<(), StoreError> {
        let last = DeliveryFilter { limit: 1, ..DeliveryFilter::default() };
        if let Some(last) = self.store.deliveries(last).await?.deliveries.first() {
            self.ids.go_on_after(last.id);
        }
        Ok(())
    }

    /// Every delivery that was made until now was made before this, by its id. It is now, unless the clock was set back.
    pub fn horizon(&self) -> Timestamp {
        self.ids.horizon(self.clock.now())
    }

    /// Accepts an event and fans it out. When this returns it is on disk.
    ///
    /// # Errors
    /// [`PublishError`]; nothing was kept.
    pub async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        let now = self.clock.now();
        let identified_by = if publication.id.is_some() { "id" } else { "Idempotency-Key" };
        let idempotency = idempotency::idempotency(&publication, &self.data_keys.system(), now);
        let (expires_at, endpoints) = match self.admit(&publication, now) {
            Ok(admitted) => admitted,
            // What would be refused by now may have been accepted when it came for the first time.
            Err(refusal) => {
                let Some(key) = idempotency else { return Err(refusal) };
                return match self.store.accepted_earlier(key, now).await? {
                    Some(Accepted::Replayed(event)) => self.replayed(event).await,
                    Some(Accepted::Conflict(event)) => {
                        Err(PublishError::Conflict { field: identified_by, event })
                    }
                    Some(Accepted::New) | None => Err(refusal),
                };
            }
        };

        let id = EventId::generate(now);
        let Publication { event_type, data, id: txn, occurred_at, .. } = publication;
        let event = PublishedEvent { id, event_type, occurred_at, txn, data, redelivery_of: None };
        let mut fan_out = self.fan_out(event, endpoints, expires_at, now);
        fan_out.idempotency = idempotency;
        let deliveries = fan_out.deliveries();
        match self.keep(fan_out).await? {
            Accepted::New => Ok(Published { event: id, deliveries, replayed: false }),
            Accepted::Replayed(event) => self.replayed(event).await,
            Accepted::Conflict(event) => Err(PublishError::Conflict { field: identified_by, event }),
        }
    }

    /// What a publication says now, and to whom it goes now.
    fn admit(
        &self,
        publication: &Publication,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Vec<Arc<Endpoint>>), PublishError> {
        check(publication, now)?;
        let expires_at = publication.expiry.map(|expiry| expiry_from(expiry, now)).transpose()?;
        let endpoints = self.directory.fan_out(&publication.event_type, &publication.to).map_err(refused)?;
        Ok((expires_at, endpoints))
    }

    /// The answer to a publication that was accepted before, as this event.
    async fn replayed(&self, event: EventId) -> Result<Published, PublishError> {
        Ok(Published { event, deliveries: self.deliveries_of(event).await?, replayed: true })
    }

    /// Tells the engine of deliveries that are on disk.
    pub(crate) fn arrived(&self, arrivals: Vec<Arrival>) {
        if !arrivals.is_empty() {
            self.engine.arrived(arrivals);
        }
    }

    /// The deliveries of an event, oldest first.
    async fn deliveries_of(&self, event: EventId) -> Result<Vec<PublishedDelivery>, StoreError> {
        let mut found = Vec::new();
        let mut before = None;
        loop {
            let filter =
                DeliveryFilter { event: Some(event), before, limit: PAGE, ..DeliveryFilter::default() };
            let page = self.store.deliveries(filter).await?.deliveries;
            before = page.last().map(|delivery| delivery.id);
            let full = page.len() >= usize::try_from(PAGE).unwrap_or(usize::MAX);
            found.extend(page.into_iter().map(|delivery| PublishedDelivery {
                id: delivery.id,
                consumer: delivery.consumer,
                endpoint: delivery.endpoint,
            }));
            if !full {
                found.reverse();
                return Ok(found);
            }
        }
    }
}

impl PublishedDelivery {
    fn of(delivery: &NewDelivery) -> Self {
        Self { id: delivery.id, consumer: delivery.consumer.clone(), endpoint: delivery.endpoint }
    }
}

/// Whether a text can be a publisher's own id: what `txn` can carry.
///
/// # Errors
/// What was expected.
pub fn check_id(id: &str) -> Result<(), String> {
    if (1..=MAX_TXN).contains(&id.len()) && !id.chars().any(char::is_control) {
        return Ok(());
    }
    Err(format!("expected 1 to {MAX_TXN} bytes without control characters"))
}

fn check(publication: &Publication, now: Timestamp) -> Result<(), PublishError> {
    let refuse = |field, detail| Err(PublishError::Refused { field, detail });
    if let Some(Err(detail)) = publication.id.as_deref().map(check_id) {
        return refuse("id", detail);
    }
    let latest = now.saturating_add(MAX_AHEAD);
    match publication.occurred_at {
        Some(at) if at < Timestamp::from_seconds(0) || at > latest => {
            refuse("occurred_at", "expected a time from 1970 on, and at most one day ahead".to_owned())
        }
        Some(_) | None => Ok(()),
    }
}

fn expiry_from(expiry: Expiry, now: Timestamp) -> Result<Timestamp, PublishError> {
    let refused = |detail: &str| PublishError::Refused { field: expiry.field(), detail: detail.to_owned() };
    expiry.from(now).map_err(refused)
}

fn refused(error: ChangeError) -> PublishError {
    match error {
        // One consumer can be given in two ways; the words say which one it is about.
        ChangeError::Invalid { field: "to.consumers", detail } => {
            PublishError::Refused { field: "to", detail }
        }
        ChangeError::Invalid { field, detail } => PublishError::Refused { field, detail },
        ChangeError::Store(error) => PublishError::Store(error),
        other => PublishError::Refused { field: "to", detail: other.to_string() },
    }
}

/// How long an id or idempotency key is remembered.
pub const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);
/// How far in the future an event may say that it happened: time zones and skewed clocks, not plans.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// Deliveries read at once when an answer is repeated.
const PAGE: u32 = 500;
