//! `accept` and `redeliver`: what comes into the outbox.

use rusqlite::{Connection, OptionalExtension, params};
use waxseal_keys::Timestamp;

use super::catalog;
use super::failure::Failure;
use super::session::Session;
use crate::id::EventId;
use crate::store::{Accepted, Idempotency, NewDelivery, NewEvent, RecordChange, StoreError};

/// Keeps an event, its wrapped keys and its deliveries, unless its idempotency key says that it is here already.
pub(super) fn accept(session: &mut Session, event: &NewEvent) -> Result<Accepted, Failure> {
    if let Some(idempotency) = &event.idempotency {
        if let Some(earlier) = remembered(session.connection(), idempotency, event.accepted_at)? {
            return Ok(earlier);
        }
        remember(session, idempotency, event)?;
    }
    session
        .prepare(
            "INSERT INTO events (id, accepted_at, event_type, sealed, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            event.id.as_bytes(),
            event.accepted_at.as_millis(),
            event.event_type,
            event.sealed,
            event.expires_at.map(Timestamp::as_millis),
        ])?;
    for (consumer, wrapped) in &event.wrapped_keys {
        session
            .prepare("INSERT INTO event_keys (event, consumer, wrapped) VALUES (?1, ?2, ?3)")?
            .execute(params![event.id.as_bytes(), consumer.as_str(), wrapped])?;
    }
    for delivery in &event.deliveries {
        insert_delivery(session, delivery, event.id)?;
    }
    catalog::change(session, &event.changes)?;
    Ok(Accepted::New)
}

/// Adds deliveries of stored events. One of an event that is unknown or has no content any more fails, and with it the
/// transaction.
pub(super) fn redeliver(
    session: &mut Session,
    deliveries: &[(NewDelivery, EventId)],
    changes: &[RecordChange],
) -> Result<(), Failure> {
    for (delivery, event) in deliveries {
        let found = session
            .prepare("SELECT 1 FROM events WHERE id = ?1 AND content = 1")?
            .exists([event.as_bytes()])?;
        if !found {
            return Err(Failure::Store(StoreError::NotFound { what: "event" }));
        }
        insert_delivery(session, delivery, *event)?;
    }
    catalog::change(session, changes)
}

fn insert_delivery(session: &mut Session, delivery: &NewDelivery, event: EventId) -> Result<(), Failure> {
    let route = session.route(delivery.endpoint, &delivery.consumer)?;
    session.prepare("INSERT INTO deliveries (id, event, route) VALUES (?1, ?2, ?3)")?.execute(params![
        delivery.id.as_bytes(),
        event.as_bytes(),
        route
    ])?;
    session
        .prepare(
            "INSERT INTO delivery_live (route, due_at, id, event, attempts_made, expires_at)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5)",
        )?
        .execute(params![
            route,
            delivery.due_at.as_millis(),
            delivery.id.as_bytes(),
            event.as_bytes(),
            delivery.expires_at.map(Timestamp::as_millis),
        ])?;
    session.live_change += 1;
    Ok(())
}

/// What became of the same idempotency key, if it is still remembered.
pub(super) fn remembered(
    connection: &Connection,
    new: &Idempotency,
    now: Timestamp,
) -> Result<Option<Accepted>, Failure> {
    let found = connection
        .prepare_cached("SELECT content, event FROM idempotency WHERE key = ?1 AND expires_at > ?2")?
        .query_row(params![new.key, now.as_millis()], |row| Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?)))
        .optional()?;
    Ok(found.map(|(content, event)| {
        let event = EventId::from_bytes(event);
        if content == new.content { Accepted::Replayed(event) } else { Accepted::Conflict(event) }
    }))
}

fn remember(session: &mut Session, new: &Idempotency, event: &NewEvent) -> Result<(), Failure> {
    session
        .prepare(
            "INSERT OR REPLACE INTO idempotency (key, content, event, expires_at) VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![new.key, new.content, event.id.as_bytes(), new.expires_at.as_millis()])?;
    session.keys_seen = session.keys_seen.wrapping_add(1);
    if session.keys_seen.is_multiple_of(SWEEP_EVERY) {
        sweep(session, new, event.accepted_at)?;
    }
    Ok(())
}

/// Forgets expired keys among those that follow this one. Keys are spread evenly, so looking at [`SWEEP`] of them for
/// every [`SWEEP_EVERY`] new ones keeps the expired to about a quarter of the table, without an index by time and
/// mostly on pages that are being written anyway.
fn sweep(session: &Session, from: &Idempotency, now: Timestamp) -> Result<(), Failure> {
    session
        .prepare(
            "DELETE FROM idempotency WHERE expires_at <= ?2 AND key IN
                 (SELECT key FROM idempotency WHERE key > ?1 ORDER BY key LIMIT ?3)",
        )?
        .execute(params![from.key, now.as_millis(), SWEEP])?;
    Ok(())
}

/// How many new keys pay for one look at old ones.
const SWEEP_EVERY: u32 = 16;

/// How many old keys are looked at.
const SWEEP: u32 = 64;
