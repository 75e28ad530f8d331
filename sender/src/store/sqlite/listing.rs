//! What people ask of one thing: an event, a delivery, its attempts.

use rusqlite::{Connection, OptionalExtension, params};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::values::{consumer_id, endpoint_id, event_id, final_state, optional_time, time};
use crate::id::{DeliveryId, EventId};
use crate::model::delivery::{Attempt, Delivery, DeliveryState};
use crate::store::EventSummary;

/// What is known of an event beside its content.
pub(super) fn event(connection: &Connection, id: EventId) -> Result<Option<EventSummary>, Failure> {
    let found = connection
        .prepare_cached("SELECT event_type, accepted_at, expires_at, content FROM events WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, time(row, 1), optional_time(row, 2), row.get(3)?)))
        .optional()?;
    let Some((event_type, accepted_at, expires_at, content_kept)) = found else { return Ok(None) };
    let mut statement =
        connection.prepare_cached("SELECT consumer FROM event_keys WHERE event = ?1 ORDER BY consumer")?;
    let mut rows = statement.query([id.as_bytes()])?;
    let mut consumers = Vec::new();
    while let Some(row) = rows.next()? {
        consumers.push(consumer_id(row, 0)?);
    }
    let (accepted_at, expires_at) = (accepted_at?, expires_at?);
    Ok(Some(EventSummary { id, event_type, accepted_at, expires_at, consumers, content_kept }))
}

/// One delivery.
pub(super) fn delivery(connection: &Connection, id: DeliveryId) -> Result<Option<Delivery>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT d.event, r.endpoint, r.consumer, d.route FROM deliveries d CROSS JOIN routes r ON r.no = d.route
             WHERE d.id = ?1",
    )?;
    let mut rows = statement.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (event, endpoint, consumer) = (event_id(row, 0)?, endpoint_id(row, 1)?, consumer_id(row, 2)?);
    let history = History::of(connection, id)?;
    let live = live(connection, row.get(3)?, id)?;
    let (state, attempts_made) = match (&live, history.end) {
        (Some(Live { attempts_made: 0, .. }), None) => (DeliveryState::Pending, 0),
        (Some(live), None) => (DeliveryState::Retrying, live.attempts_made),
        (None, Some((end, _))) => (end, history.attempts_made),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::corrupt("delivery: neither live nor ended"));
        }
    };
    Ok(Some(Delivery {
        id,
        event,
        endpoint,
        consumer,
        state,
        attempts_made,
        due_at: live.as_ref().map(|live| live.due_at),
        last_attempt_at: history.last_attempt_at,
        expires_at: live.and_then(|live| live.expires_at),
        ended_at: history.end.map(|(_, at)| at),
    }))
}

/// The attempts of a delivery, oldest first.
pub(super) fn attempts(connection: &Connection, delivery: DeliveryId) -> Result<Vec<Attempt>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT number, started_at, duration_ms, status, result, signing_kid, encryption_kid, excerpt, next_at,
                clock_skew
             FROM attempts WHERE delivery = ?1 AND number > 0 ORDER BY number",
    )?;
    let mut rows = statement.query([delivery.as_bytes()])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Attempt {
            number: row.get(0)?,
            started_at: time(row, 1)?,
            duration_ms: row.get(2)?,
            status: row.get(3)?,
            result: row.get(4)?,
            signing_kid: row.get(5)?,
            encryption_kid: row.get(6)?,
            excerpt: row.get(7)?,
            next_at: optional_time(row, 8)?,
            clock_skew_seconds: row.get(9)?,
        });
    }
    Ok(found)
}

/// What the rows of `attempts` say of one delivery.
#[derive(Default)]
struct History {
    attempts_made: u32,
    last_attempt_at: Option<Timestamp>,
    end: Option<(DeliveryState, Timestamp)>,
}

impl History {
    fn of(connection: &Connection, delivery: DeliveryId) -> Result<Self, Failure> {
        let mut statement = connection.prepare_cached(
            "SELECT number, recorded_at, state FROM attempts WHERE delivery = ?1 ORDER BY number",
        )?;
        let mut rows = statement.query([delivery.as_bytes()])?;
        let mut history = Self::default();
        while let Some(row) = rows.next()? {
            let number: u32 = row.get(0)?;
            if number > 0 {
                history.attempts_made = number;
                history.last_attempt_at = Some(time(row, 1)?);
            }
            if let Some(state) = row.get(2)? {
                history.end = Some((final_state(state)?, time(row, 1)?));
            }
        }
        Ok(history)
    }
}

/// What the live row of one delivery says.
struct Live {
    due_at: Timestamp,
    attempts_made: u32,
    expires_at: Option<Timestamp>,
}

fn live(connection: &Connection, route: i64, id: DeliveryId) -> Result<Option<Live>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT due_at, attempts_made, expires_at FROM delivery_live WHERE route = ?1 AND id = ?2",
    )?;
    let mut rows = statement.query(params![route, id.as_bytes()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (due_at, expires_at) = (time(row, 0)?, optional_time(row, 2)?);
    Ok(Some(Live { due_at, attempts_made: row.get(1)?, expires_at }))
}
