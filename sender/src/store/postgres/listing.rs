//! What people ask of one thing: an event, a delivery, its attempts.

use tokio_postgres::Row;
use uuid::Uuid;

use super::connect::Session;
use super::failure::Failure;
use super::values::{
    consumer_id, count, delivery_id, endpoint_id, event_id, final_state, get, optional_time, time, uuid,
};
use crate::id::{ConsumerId, DeliveryId, EventId};
use crate::model::delivery::{Attempt, Delivery, DeliveryState};
use crate::store::EventSummary;

/// What is known of an event beside its content.
pub(super) async fn event(session: &Session, id: EventId) -> Result<Option<EventSummary>, Failure> {
    let Some(row) = session.query_opt(EVENT, &[&uuid(id.as_bytes())]).await? else { return Ok(None) };
    let names: &str = get(&row, 3)?;
    let consumers = names.split_whitespace().map(ConsumerId::parse).collect::<Result<Vec<_>, _>>();
    let mut consumers = consumers.map_err(|_| Failure::corrupt("consumer"))?;
    consumers.sort();
    Ok(Some(EventSummary {
        id,
        event_type: get(&row, 0)?,
        accepted_at: time(&row, 1)?,
        expires_at: optional_time(&row, 2)?,
        consumers,
        content_kept: get(&row, 4)?,
    }))
}

/// One delivery.
pub(super) async fn delivery(session: &Session, id: DeliveryId) -> Result<Option<Delivery>, Failure> {
    let found = deliveries(session, &[id]).await?;
    Ok(found.into_iter().next().map(|(delivery, _)| delivery))
}

/// These deliveries, each with the type of its event, as they are at one moment. Those that are gone are left out.
pub(super) async fn deliveries(
    session: &Session,
    ids: &[DeliveryId],
) -> Result<Vec<(Delivery, String)>, Failure> {
    let ids: Vec<Uuid> = ids.iter().map(|id| uuid(id.as_bytes())).collect();
    let rows = session.query(DELIVERIES, &[&ids]).await?;
    rows.iter().map(|row| Ok((of_row(row)?, get(row, 11)?))).collect()
}

fn of_row(row: &Row) -> Result<Delivery, Failure> {
    let due_at = optional_time(row, 4)?;
    let end: Option<i16> = get(row, 9)?;
    let (state, attempts_made) = match (due_at, end) {
        (Some(_), None) => match count(row, 5)? {
            0 => (DeliveryState::Pending, 0),
            made => (DeliveryState::Retrying, made),
        },
        (None, Some(end)) => (final_state(end)?, count(row, 7)?),
        (Some(_), Some(_)) | (None, None) => {
            return Err(Failure::corrupt("delivery: neither live nor ended"));
        }
    };
    Ok(Delivery {
        id: delivery_id(row, 0)?,
        event: event_id(row, 1)?,
        endpoint: endpoint_id(row, 2)?,
        consumer: consumer_id(row, 3)?,
        state,
        attempts_made,
        due_at,
        last_attempt_at: optional_time(row, 8)?,
        expires_at: optional_time(row, 6)?,
        ended_at: optional_time(row, 10)?,
    })
}

/// The attempts of a delivery, oldest first.
pub(super) async fn attempts(session: &Session, delivery: DeliveryId) -> Result<Vec<Attempt>, Failure> {
    let rows = session.query(ATTEMPTS, &[&uuid(delivery.as_bytes())]).await?;
    rows.iter().map(attempt).collect()
}

fn attempt(row: &Row) -> Result<Attempt, Failure> {
    let corrupt = |_| Failure::corrupt("attempt");
    Ok(Attempt {
        number: count(row, 0)?,
        started_at: time(row, 1)?,
        duration_ms: u32::try_from(get::<i64>(row, 2)?).map_err(corrupt)?,
        status: get::<Option<i32>>(row, 3)?.map(u16::try_from).transpose().map_err(corrupt)?,
        result: get(row, 4)?,
        signing_kid: get(row, 5)?,
        encryption_kid: get(row, 6)?,
        excerpt: get(row, 7)?,
        next_at: optional_time(row, 8)?,
        clock_skew_seconds: get(row, 9)?,
    })
}

const EVENT: &str =
    "SELECT event_type, accepted_at, expires_at, consumers, EXISTS (SELECT FROM contents WHERE event = $1)
         FROM events WHERE id = $1";

const DELIVERIES: &str =
    "SELECT d.id, d.event, d.endpoint, r.consumer, l.due_at, l.attempts_made, l.expires_at,
            coalesce(h.made, 0), h.last_at, h.state, h.ended_at, e.event_type
         FROM unnest($1::uuid[]) WITH ORDINALITY AS w (id, place)
         JOIN deliveries d ON d.id = w.id
         JOIN routes r ON r.endpoint = d.endpoint
         JOIN events e ON e.id = d.event
         LEFT JOIN delivery_live l
             ON l.shard = get_byte(uuid_send(d.endpoint), 15)::smallint AND l.endpoint = d.endpoint AND l.id = d.id
         LEFT JOIN LATERAL (
             SELECT max(number) AS made, max(recorded_at) FILTER (WHERE number > 0) AS last_at, max(state) AS state,
                    max(recorded_at) FILTER (WHERE state IS NOT NULL) AS ended_at
                 FROM attempts WHERE delivery = d.id) AS h ON true
         ORDER BY w.place";

const ATTEMPTS: &str =
    "SELECT number, started_at, duration_ms, status, result, signing_kid, encryption_kid, excerpt, next_at, clock_skew
         FROM attempts WHERE delivery = $1 AND number > 0 ORDER BY number";
