//! `accept` and `redeliver`: what comes into the outbox.

use std::collections::HashMap;

use tokio_postgres::types::ToSql;
use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{event_id, get, millis, shard_of, uuid};
use crate::id::{ConsumerId, EventId};
use crate::store::{Accepted, Idempotency, NewDelivery, NewEvent, StoreError};

/// Remembers the keys of these events, unless they are remembered already; returns the events that are new by that.
/// Keys are taken in their order, so that two batches with the same ones wait for each other and not both.
pub(super) async fn remember(session: &Session, events: &[&NewEvent]) -> Result<Vec<EventId>, Failure> {
    let mut keyed: Vec<(&Idempotency, &NewEvent)> =
        events.iter().filter_map(|event| Some((event.idempotency.as_ref()?, *event))).collect();
    keyed.sort_by_key(|(key, _)| key.key);
    let keys: Vec<&[u8]> = keyed.iter().map(|(key, _)| &key.key[..]).collect();
    let contents: Vec<&[u8]> = keyed.iter().map(|(key, _)| &key.content[..]).collect();
    let ids: Vec<Uuid> = keyed.iter().map(|(_, event)| uuid(event.id.as_bytes())).collect();
    let made: Vec<i64> = keyed.iter().map(|(_, event)| event.accepted_at.as_millis()).collect();
    let ends: Vec<i64> = keyed.iter().map(|(key, _)| key.expires_at.as_millis()).collect();
    let rows = session.query(REMEMBER, &[&keys, &contents, &ids, &made, &ends]).await?;
    rows.iter().map(|row| event_id(row, 0)).collect()
}

/// What becomes of these events, of which some are new by their keys.
pub(super) async fn judge(
    session: &Session,
    events: &[&NewEvent],
    remembered: &[EventId],
) -> Result<Vec<Accepted>, Failure> {
    let is_old = |event: &&NewEvent| event.idempotency.is_some() && !remembered.contains(&event.id);
    let keys: Vec<&[u8]> = events
        .iter()
        .copied()
        .filter(is_old)
        .filter_map(|event| event.idempotency.as_ref().map(|key| &key.key[..]))
        .collect();
    let mut earlier = HashMap::new();
    if !keys.is_empty() {
        for row in session.query(EARLIER, &[&keys]).await? {
            earlier.insert(get::<Vec<u8>>(&row, 0)?, (get::<Vec<u8>>(&row, 1)?, event_id(&row, 2)?));
        }
    }
    let judged = |event: &&NewEvent| match &event.idempotency {
        Some(new) if !remembered.contains(&event.id) => {
            // It may have been forgotten between the two statements: then the same request succeeds when it is repeated.
            let (content, first) = earlier
                .get(&new.key[..])
                .ok_or_else(|| Failure::unavailable("what the key was used for was forgotten just now"))?;
            Ok(if content[..] == new.content {
                Accepted::Replayed(*first)
            } else {
                Accepted::Conflict(*first)
            })
        }
        _ => Ok(Accepted::New),
    };
    events.iter().map(judged).collect()
}

/// What became of the same idempotency key, if it is still remembered.
pub(super) async fn remembered(
    session: &Session,
    new: &Idempotency,
    now: Timestamp,
) -> Result<Option<Accepted>, Failure> {
    let found = session.query_opt(REMEMBERED, &[&&new.key[..], &now.as_millis()]).await?;
    found
        .map(|row| {
            let (same, event) = (get::<&[u8]>(&row, 0)? == new.content, event_id(&row, 1)?);
            Ok(if same { Accepted::Replayed(event) } else { Accepted::Conflict(event) })
        })
        .transpose()
}

/// The rows of some events and of some deliveries, column by column.
#[derive(Debug, Default)]
pub(super) struct Arrivals<'e> {
    events: Events<'e>,
    keys: Keys<'e>,
    deliveries: Deliveries,
}

#[derive(Debug, Default)]
struct Events<'e> {
    id: Vec<Uuid>,
    accepted_at: Vec<i64>,
    tie: Vec<i64>,
    expires_at: Vec<Option<i64>>,
    event_type: Vec<&'e str>,
    consumers: Vec<String>,
    sealed: Vec<&'e [u8]>,
}

#[derive(Debug, Default)]
struct Keys<'e> {
    event: Vec<Uuid>,
    consumer: Vec<&'e str>,
    wrapped: Vec<&'e [u8]>,
}

#[derive(Debug, Default)]
struct Deliveries {
    shard: Vec<i16>,
    endpoint: Vec<Uuid>,
    id: Vec<Uuid>,
    event: Vec<Uuid>,
    due_at: Vec<i64>,
    expires_at: Vec<Option<i64>>,
}

impl<'e> Arrivals<'e> {
    /// Of these events.
    pub(super) fn of(events: impl Iterator<Item = &'e NewEvent>) -> Self {
        let mut all = Self::default();
        for event in events {
            all.add(event);
        }
        all
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.id.is_empty()
    }

    fn add(&mut self, event: &'e NewEvent) {
        let id = uuid(event.id.as_bytes());
        let names: Vec<&str> =
            event.wrapped_keys.iter().map(|(consumer, _)| ConsumerId::as_str(consumer)).collect();
        self.events.id.push(id);
        self.events.accepted_at.push(event.accepted_at.as_millis());
        self.events.tie.push(tie(event.id));
        self.events.expires_at.push(millis(event.expires_at));
        self.events.event_type.push(&event.event_type);
        self.events.consumers.push(names.join(" "));
        self.events.sealed.push(&event.sealed);
        for (consumer, wrapped) in &event.wrapped_keys {
            self.keys.event.push(id);
            self.keys.consumer.push(consumer.as_str());
            self.keys.wrapped.push(wrapped);
        }
        for delivery in &event.deliveries {
            self.deliveries.add(delivery, event.id);
        }
    }

    /// Writes them, in one statement.
    pub(super) async fn write(&self, session: &Session) -> Result<(), Failure> {
        let (events, keys, deliveries) = (&self.events, &self.keys, &self.deliveries);
        let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![
            &events.id,
            &events.accepted_at,
            &events.tie,
            &events.expires_at,
            &events.event_type,
            &events.consumers,
            &events.sealed,
            &keys.event,
            &keys.consumer,
            &keys.wrapped,
        ];
        parameters.extend(deliveries.columns());
        session.execute(INSERT, &parameters).await?;
        Ok(())
    }
}

impl Deliveries {
    fn add(&mut self, delivery: &NewDelivery, event: EventId) {
        self.shard.push(shard_of(delivery.endpoint));
        self.endpoint.push(uuid(delivery.endpoint.as_bytes()));
        self.id.push(uuid(delivery.id.as_bytes()));
        self.event.push(uuid(event.as_bytes()));
        self.due_at.push(delivery.due_at.as_millis());
        self.expires_at.push(millis(delivery.expires_at));
    }

    fn columns(&self) -> [&(dyn ToSql + Sync); 6] {
        [&self.shard, &self.endpoint, &self.id, &self.event, &self.due_at, &self.expires_at]
    }
}

/// Adds deliveries of stored events, whose contents are held until the commit. One of an event that is unknown or has no
/// content any more fails, and with it the transaction.
pub(super) async fn redeliver(
    session: &Session,
    deliveries: &[(NewDelivery, EventId)],
) -> Result<(), Failure> {
    let mut rows = Deliveries::default();
    for (delivery, event) in deliveries {
        rows.add(delivery, *event);
    }
    let held = session.query(HOLD_CONTENTS, &[&rows.event]).await?;
    let held: Vec<EventId> = held.iter().map(|row| event_id(row, 0)).collect::<Result<_, _>>()?;
    if deliveries.iter().any(|(_, event)| !held.contains(event)) {
        return Err(Failure::Store(StoreError::NotFound { what: "event" }));
    }
    session.execute(REDELIVER, &rows.columns()).await?;
    Ok(())
}

/// Puts events of equal age in an order: the random part of the id, or most of it.
pub(super) fn tie(event: EventId) -> i64 {
    let [.., a, b, c, d, e, f, g, h] = *event.as_bytes();
    i64::from_be_bytes([a, b, c, d, e, f, g, h])
}

pub(super) const REMEMBER: &str = "INSERT INTO idempotency AS i (key, content, event, made_at, expires_at)
         SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::uuid[], $4::bigint[], $5::bigint[])
     ON CONFLICT (key) DO UPDATE SET content = excluded.content, event = excluded.event,
         made_at = excluded.made_at, expires_at = excluded.expires_at
         WHERE i.expires_at <= excluded.made_at
     RETURNING event";

const EARLIER: &str = "SELECT key, content, event FROM idempotency WHERE key = ANY($1::bytea[])";

const REMEMBERED: &str = "SELECT content, event FROM idempotency WHERE key = $1 AND expires_at > $2";

pub(super) const INSERT: &str =
    "WITH e AS (
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bytea[])
             AS e (id, accepted_at, tie, expires_at, event_type, consumers, sealed)),
     d AS (
         SELECT * FROM unnest($11::smallint[], $12::uuid[], $13::uuid[], $14::uuid[], $15::bigint[], $16::bigint[])
             AS d (shard, endpoint, id, event, due_at, expires_at)),
     events AS (
         INSERT INTO events (id, accepted_at, tie, expires_at, event_type, consumers)
             SELECT id, accepted_at, tie, expires_at, event_type, consumers FROM e),
     contents AS (
         INSERT INTO contents (event, accepted_at, tie, sealed) SELECT id, accepted_at, tie, sealed FROM e),
     keys AS (
         INSERT INTO event_keys (event, consumer, wrapped) SELECT * FROM unnest($8::uuid[], $9::text[], $10::bytea[])),
     deliveries AS (
         INSERT INTO deliveries (id, event, endpoint) SELECT id, event, endpoint FROM d)
     INSERT INTO delivery_live (shard, endpoint, id, event, due_at, attempts_made, expires_at)
         SELECT shard, endpoint, id, event, due_at, 0, expires_at FROM d";

const HOLD_CONTENTS: &str =
    "SELECT event FROM contents WHERE event = ANY($1::uuid[]) ORDER BY event FOR KEY SHARE";

const REDELIVER: &str = "WITH d AS (
         SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::uuid[], $5::bigint[], $6::bigint[])
             AS d (shard, endpoint, id, event, due_at, expires_at)),
     deliveries AS (
         INSERT INTO deliveries (id, event, endpoint) SELECT id, event, endpoint FROM d)
     INSERT INTO delivery_live (shard, endpoint, id, event, due_at, attempts_made, expires_at)
         SELECT shard, endpoint, id, event, due_at, 0, expires_at FROM d";
