//! What the engine reads: which endpoints have work, what is due, what has run out, what is delivered.

use rusqlite::{Connection, OptionalExtension, Rows, params};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::values::{consumer_id, delivery_id, endpoint_id, event_id, optional_time, time};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::store::{DuePosition, EndpointWork, Shards, StoredPayload};

/// Every endpoint with live deliveries. The recursion jumps from one endpoint's first row to the next one's, so a
/// dead endpoint's backlog costs one step however long it is.
pub(super) fn endpoints_with_work(connection: &Connection) -> Result<Vec<EndpointWork>, Failure> {
    let mut statement = connection.prepare_cached(
        "WITH RECURSIVE work (route) AS (
             SELECT min(route) FROM delivery_live
             UNION ALL
             SELECT (SELECT min(route) FROM delivery_live WHERE route > work.route) FROM work
                 WHERE work.route IS NOT NULL)
         SELECT r.endpoint, r.consumer, (SELECT min(due_at) FROM delivery_live WHERE route = work.route)
             FROM work CROSS JOIN routes r ON r.no = work.route",
    )?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(EndpointWork {
            endpoint: endpoint_id(row, 0)?,
            consumer: consumer_id(row, 1)?,
            next_due: time(row, 2)?,
        });
    }
    Ok(found)
}

/// The earliest due time of all, by the same jumps.
pub(super) fn oldest_due(connection: &Connection) -> Result<Option<Timestamp>, Failure> {
    Ok(endpoints_with_work(connection)?.iter().map(|work| work.next_due).min())
}

/// A stretch of one endpoint's live deliveries, in the order in which the table is clustered.
pub(super) fn due(
    connection: &Connection,
    endpoint: EndpointId,
    after: Option<DuePosition>,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<LiveDelivery>, Failure> {
    let Some((route, consumer)) = route(connection, endpoint)? else { return Ok(Vec::new()) };
    let (after_due, after_id) = position(after);
    let mut statement = connection.prepare_cached(
        "SELECT id, event, due_at, attempts_made, expires_at FROM delivery_live
             WHERE route = ?1 AND (due_at, id) > (?2, ?3) AND due_at <= ?4 ORDER BY due_at, id LIMIT ?5",
    )?;
    live(statement.query(params![route, after_due, after_id, until.as_millis(), limit])?, endpoint, &consumer)
}

/// A stretch of one endpoint's live deliveries, in the order of their ids: through the unique index.
pub(super) fn in_order(
    connection: &Connection,
    endpoint: EndpointId,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<LiveDelivery>, Failure> {
    let Some((route, consumer)) = route(connection, endpoint)? else { return Ok(Vec::new()) };
    let after = after.map_or([0; 16], |id| *id.as_bytes());
    let mut statement = connection.prepare_cached(
        "SELECT id, event, due_at, attempts_made, expires_at FROM delivery_live INDEXED BY delivery_live_by_id
             WHERE route = ?1 AND id > ?2 ORDER BY id LIMIT ?3",
    )?;
    live(statement.query(params![route, after, limit])?, endpoint, &consumer)
}

fn route(connection: &Connection, endpoint: EndpointId) -> Result<Option<(i64, ConsumerId)>, Failure> {
    let found = connection
        .prepare_cached("SELECT no, consumer FROM routes WHERE endpoint = ?1")?
        .query_row([endpoint.as_bytes()], |row| Ok((row.get::<_, i64>(0)?, consumer_id(row, 1))))
        .optional()?;
    found.map(|(route, consumer)| Ok((route, consumer?))).transpose()
}

fn live(
    mut rows: Rows<'_>,
    endpoint: EndpointId,
    consumer: &ConsumerId,
) -> Result<Vec<LiveDelivery>, Failure> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(LiveDelivery {
            id: delivery_id(row, 0)?,
            event: event_id(row, 1)?,
            endpoint,
            consumer: consumer.clone(),
            due_at: time(row, 2)?,
            attempts_made: row.get(3)?,
            expires_at: optional_time(row, 4)?,
        });
    }
    Ok(found)
}

/// Live deliveries whose time ran out, those first that ran out first: a stretch of an index of their own.
pub(super) fn expired(
    connection: &Connection,
    shards: Shards,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<LiveDelivery>, Failure> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut statement = connection.prepare_cached(
        "SELECT l.id, l.event, r.endpoint, r.consumer, l.due_at, l.attempts_made, l.expires_at
             FROM delivery_live l CROSS JOIN routes r ON r.no = l.route
             WHERE l.expires_at IS NOT NULL AND l.expires_at <= ?1 ORDER BY l.expires_at",
    )?;
    let mut rows = statement.query(params![now.as_millis()])?;
    let mut found = Vec::new();
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        let endpoint = endpoint_id(row, 2)?;
        if !shards.have(endpoint) {
            continue;
        }
        found.push(LiveDelivery {
            id: delivery_id(row, 0)?,
            event: event_id(row, 1)?,
            endpoint,
            consumer: consumer_id(row, 3)?,
            due_at: time(row, 4)?,
            attempts_made: row.get(5)?,
            expires_at: optional_time(row, 6)?,
        });
    }
    Ok(found)
}

/// The payloads of these events for these consumers, in the order in which they are wanted.
pub(super) fn payloads(
    connection: &Connection,
    wanted: Vec<(EventId, ConsumerId)>,
) -> Result<Vec<StoredPayload>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT e.event_type, e.sealed, k.wrapped FROM event_keys k CROSS JOIN events e ON e.id = k.event
             WHERE k.event = ?1 AND k.consumer = ?2 AND e.content = 1",
    )?;
    let mut found = Vec::with_capacity(wanted.len());
    for (event, consumer) in wanted {
        let payload = statement
            .query_row(params![event.as_bytes(), consumer.as_str()], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .optional()?;
        if let Some((event_type, sealed, wrapped_key)) = payload {
            found.push(StoredPayload { event, consumer, event_type, sealed, wrapped_key });
        }
    }
    Ok(found)
}

/// Before everything, unless told otherwise.
fn position(after: Option<DuePosition>) -> (i64, [u8; 16]) {
    after.map_or((i64::MIN, [0; 16]), |at| (at.due_at.as_millis(), *at.id.as_bytes()))
}
