//! Ids, times and rows that properties are made from: deterministic, so that a failure reads the same twice.

use waxseal_keys::Timestamp;
use waxseal_sender::id::{AuditId, ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, LiveDelivery};
use waxseal_sender::store::{
    AuditRow, DeliveryFilter, Idempotency, NewDelivery, NewEvent, Outcome, RingRecord, Settlement,
};

/// A moment.
pub fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_800_000_000_000 + millis)
}

/// The event with this number; ids ascend with their numbers.
pub fn event_id(number: u32) -> EventId {
    EventId::from_bytes(id(0xE0, number))
}

/// The delivery with this number.
pub fn delivery_id(number: u32) -> DeliveryId {
    DeliveryId::from_bytes(id(0xD0, number))
}

/// The endpoint with this number.
pub fn endpoint_id(number: u32) -> EndpointId {
    EndpointId::from_bytes(id(0xB0, number))
}

/// The audit entry's id with this number: a minute after the one before.
pub fn audit_id(number: u32) -> AuditId {
    AuditId::lower_bound(at(i64::from(number) * 60_000))
}

/// An audit entry; some share their consumer, object, actor or action.
pub fn audit_row(number: u32) -> AuditRow {
    AuditRow {
        id: audit_id(number),
        actor: format!("actor-{}", number % 2),
        action: if number.is_multiple_of(5) { "endpoint.pause" } else { "endpoint.update" }.to_owned(),
        object: format!("object-{}", number % 7),
        consumer: (!number.is_multiple_of(4)).then(|| consumer(number % 3)),
        sealed: number.to_le_bytes().to_vec(),
    }
}

/// The ring, as it is kept.
pub fn ring(version: u64, sealed: &str) -> Option<RingRecord> {
    Some(RingRecord { version, sealed: sealed.as_bytes().to_vec() })
}

/// The consumer with this number.
pub fn consumer(number: u32) -> ConsumerId {
    ConsumerId::parse(&format!("consumer-{number}")).unwrap()
}

/// The consumer that owns an endpoint; three share them all.
pub fn owner_of(endpoint: u32) -> ConsumerId {
    consumer(endpoint % 3)
}

/// A delivery to an endpoint.
pub fn new_delivery(number: u32, endpoint: u32, due_at: Timestamp) -> NewDelivery {
    NewDelivery {
        id: delivery_id(number),
        endpoint: endpoint_id(endpoint),
        consumer: owner_of(endpoint),
        due_at,
        expires_at: None,
    }
}

/// An event with these deliveries, its key wrapped once for each of their consumers.
pub fn new_event(number: u32, accepted_at: Timestamp, deliveries: Vec<NewDelivery>) -> NewEvent {
    let mut consumers: Vec<ConsumerId> =
        deliveries.iter().map(|delivery| delivery.consumer.clone()).collect();
    consumers.sort();
    consumers.dedup();
    let wrap = |consumer: ConsumerId| {
        let wrapped = format!("key of {number} for {consumer}").into_bytes();
        (consumer, wrapped)
    };
    NewEvent {
        id: event_id(number),
        accepted_at,
        expires_at: None,
        event_type: format!("order.kind{}", number % 4),
        sealed: format!("payload of {number}").into_bytes(),
        wrapped_keys: consumers.into_iter().map(wrap).collect(),
        deliveries,
        idempotency: None,
        changes: Vec::new(),
    }
}

/// An idempotency key with its content.
pub fn idempotency(key: u8, content: u8, expires_at: Timestamp) -> Idempotency {
    Idempotency { key: [key; 32], content: [content; 32], expires_at }
}

/// What is live of a delivery that was accepted for an endpoint.
pub fn live(number: u32, event: u32, endpoint: u32, due_at: Timestamp, attempts_made: u32) -> LiveDelivery {
    LiveDelivery {
        id: delivery_id(number),
        event: event_id(event),
        endpoint: endpoint_id(endpoint),
        consumer: owner_of(endpoint),
        due_at,
        attempts_made,
        expires_at: None,
    }
}

/// An attempt, with every field filled or none that may be empty.
pub fn attempt(number: u32, started_at: Timestamp, next_at: Option<Timestamp>) -> Attempt {
    let full = number % 2 == 1;
    Attempt {
        number,
        started_at,
        duration_ms: 40 + number,
        status: full.then_some(if number % 4 == 1 { 503 } else { 403 }),
        result: if full { "answer.status" } else { "post.timeout" }.to_owned(),
        signing_kid: format!("signer-{number}"),
        encryption_kid: full.then(|| "recipient".to_owned()),
        excerpt: if full { b"ciphertext".to_vec() } else { Vec::new() },
        next_at,
        clock_skew_seconds: full.then_some(-90),
    }
}

/// The settlement of a live delivery by its next attempt.
pub fn settlement(delivery: LiveDelivery, outcome: Outcome, now: Timestamp) -> Settlement {
    let next_at = match outcome {
        Outcome::Again { due_at } => Some(due_at),
        Outcome::Final(_) => None,
    };
    let attempt = attempt(delivery.attempts_made + 1, now, next_at);
    Settlement { delivery, attempt: Some(attempt), outcome, at: now, changes: Vec::new() }
}

/// The end of a live delivery without an attempt.
pub fn end_without_attempt(delivery: LiveDelivery, outcome: Outcome, now: Timestamp) -> Settlement {
    Settlement { delivery, attempt: None, outcome, at: now, changes: Vec::new() }
}

/// Everything, in one page.
pub fn everything() -> DeliveryFilter {
    DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() }
}

fn id(kind: u8, number: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = kind;
    bytes[12..].copy_from_slice(&number.to_be_bytes());
    bytes
}
