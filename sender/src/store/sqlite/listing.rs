//! What people ask: an event, a delivery, lists of deliveries, attempts.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params, params_from_iter};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::merge::{Merged, Range, upper_bound};
use super::values::{
    FINAL_STATES, consumer_id, delivery_id, endpoint_id, event_id, final_state, optional_time, present, time,
};
use crate::id::{DeliveryId, EventId};
use crate::model::delivery::{Attempt, Delivery, DeliveryState};
use crate::store::{DeliveryFilter, EventSummary};

/// What is known of an event beside its content.
pub(super) fn event(connection: &Connection, id: EventId) -> Result<Option<EventSummary>, Failure> {
    let found = connection
        .prepare_cached("SELECT event_type, accepted_at, expires_at FROM events WHERE id = ?1")?
        .query_row([id.as_bytes()], |row| Ok((row.get(0)?, time(row, 1), optional_time(row, 2))))
        .optional()?;
    let Some((event_type, accepted_at, expires_at)) = found else { return Ok(None) };
    let mut statement =
        connection.prepare_cached("SELECT consumer FROM event_keys WHERE event = ?1 ORDER BY consumer")?;
    let mut rows = statement.query([id.as_bytes()])?;
    let mut consumers = Vec::new();
    while let Some(row) = rows.next()? {
        consumers.push(consumer_id(row, 0)?);
    }
    Ok(Some(EventSummary { id, event_type, accepted_at: accepted_at?, expires_at: expires_at?, consumers }))
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

/// A page of deliveries, newest first.
pub(super) fn deliveries(connection: &Connection, filter: &DeliveryFilter) -> Result<Vec<Delivery>, Failure> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut page = Vec::new();
    if limit == 0 {
        return Ok(page);
    }
    let mut take = |id: DeliveryId| -> Result<bool, Failure> {
        let found = present(delivery(connection, id)?, "delivery")?;
        if matches(filter, &found) {
            page.push(found);
        }
        Ok(page.len() < limit)
    };
    if filter.event.is_none()
        && (filter.endpoint.is_some() || filter.consumer.is_some() || filter.state.is_some())
    {
        let mut merged = Merged::start(connection, ranges(connection, filter)?.into_iter(), filter.before)?;
        while let Some(id) = merged.next()? {
            if !take(id)? {
                break;
            }
        }
        return Ok(page);
    }
    let (sql, first) = match filter.event {
        Some(event) => (
            "SELECT id FROM deliveries WHERE event = ?2 AND id < ?1 ORDER BY id DESC",
            Some(Value::Blob(event.as_bytes().to_vec())),
        ),
        None => ("SELECT id FROM deliveries WHERE id < ?1 ORDER BY id DESC", None),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let bound = Value::Blob(upper_bound(filter.before));
    let mut rows = statement.query(params_from_iter([bound].into_iter().chain(first)))?;
    while let Some(row) = rows.next()? {
        if !take(delivery_id(row, 0)?)? {
            break;
        }
    }
    drop(rows);
    drop(statement);
    Ok(page)
}

/// The attempts of a delivery, oldest first.
pub(super) fn attempts(connection: &Connection, delivery: DeliveryId) -> Result<Vec<Attempt>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT number, started_at, duration_ms, status, result, signing_kid, encryption_kid, excerpt, next_at
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

fn matches(filter: &DeliveryFilter, delivery: &Delivery) -> bool {
    filter.event.is_none_or(|event| event == delivery.event)
        && filter.endpoint.is_none_or(|endpoint| endpoint == delivery.endpoint)
        && filter.consumer.as_ref().is_none_or(|consumer| *consumer == delivery.consumer)
        && filter.state.is_none_or(|state| state == delivery.state)
}

/// The index ranges that hold what a filter without an event wants, and at most live deliveries that it does not.
fn ranges(connection: &Connection, filter: &DeliveryFilter) -> Result<Vec<Range>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT no FROM routes WHERE (?1 IS NULL OR endpoint = ?1) AND (?2 IS NULL OR consumer = ?2)",
    )?;
    let endpoint = filter.endpoint.map(|endpoint| *endpoint.as_bytes());
    let consumer = filter.consumer.as_ref().map(|consumer| consumer.as_str());
    let mut rows = statement.query(params![endpoint, consumer])?;
    let mut ranges = Vec::new();
    while let Some(row) = rows.next()? {
        let route: i64 = row.get(0)?;
        if filter.state.is_none_or(|state| !state.is_final()) {
            ranges.push(Range::Live { route });
        }
        let ended =
            FINAL_STATES.iter().filter(|(state, _)| filter.state.is_none_or(|wanted| wanted == *state));
        ranges.extend(ended.map(|(_, state)| Range::Ended { route, state: *state }));
    }
    Ok(ranges)
}
