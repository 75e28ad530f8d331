//! What the engine reads: which endpoints have work, what is due, what has run out, what is delivered.
//!
//! Every scan of what is due begins at the place that the caller has come to, so it never walks over the entries that its
//! own settlements have left behind, however long somebody's snapshot keeps them from being removed.

use tokio_postgres::Row;
use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{
    consumer_id, count, delivery_id, endpoint_id, event_id, get, optional_time, shard_of, time, uuid,
};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::LiveDelivery;
use crate::store::{Backlog, DuePosition, EndpointWork, Shards, StoredPayload};

/// Every endpoint of these shards with live deliveries. The recursion jumps from one endpoint's first row to the next one's,
/// so a dead endpoint's backlog costs one step however long it is.
pub(super) async fn endpoints_with_work(
    session: &Session,
    shards: Shards,
) -> Result<Vec<EndpointWork>, Failure> {
    let rows = session.query(WORK, &[&numbers(shards)]).await?;
    let work = |row: &Row| {
        let (endpoint, consumer) = (endpoint_id(row, 0)?, consumer_id(row, 1)?);
        Ok(EndpointWork { endpoint, consumer, next_due: time(row, 2)? })
    };
    rows.iter().map(work).collect()
}

/// How much is live: counted as far as that is cheap, and then as many as the database thinks there are; and the earliest
/// due time, by the same jumps.
pub(super) async fn backlog(session: &Session) -> Result<Backlog, Failure> {
    let counted = session.query_one(COUNT, &[&MOST_COUNTED]).await?;
    let counted: i64 = get(&counted, 0)?;
    let live = if counted < MOST_COUNTED {
        counted
    } else {
        let estimate = session.query_one(ESTIMATE, &[]).await?;
        get::<i64>(&estimate, 0)?.max(counted)
    };
    let oldest = session.query_one(OLDEST, &[&numbers(Shards::ALL)]).await?;
    Ok(Backlog { live: u64::try_from(live).unwrap_or(0), oldest_due: optional_time(&oldest, 0)? })
}

/// A stretch of one endpoint's live deliveries, in the order in which they are due.
pub(super) async fn due(
    session: &Session,
    endpoint: EndpointId,
    after: Option<DuePosition>,
    until: Timestamp,
    limit: u32,
) -> Result<Vec<LiveDelivery>, Failure> {
    let (due_at, id) =
        after.map_or((i64::MIN, Uuid::nil()), |at| (at.due_at.as_millis(), uuid(at.id.as_bytes())));
    let (shard, ep) = (shard_of(endpoint), uuid(endpoint.as_bytes()));
    let rows =
        session.query(DUE, &[&shard, &ep, &due_at, &id, &until.as_millis(), &i64::from(limit)]).await?;
    rows.iter().map(live).collect()
}

/// A stretch of one endpoint's live deliveries, in the order of their ids.
pub(super) async fn in_order(
    session: &Session,
    endpoint: EndpointId,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<LiveDelivery>, Failure> {
    let after = after.map_or(Uuid::nil(), |id| uuid(id.as_bytes()));
    let (shard, ep) = (shard_of(endpoint), uuid(endpoint.as_bytes()));
    let rows = session.query(IN_ORDER, &[&shard, &ep, &after, &i64::from(limit)]).await?;
    rows.iter().map(live).collect()
}

/// Live deliveries whose time ran out, those first that ran out first: a stretch of each shard's own part of an index.
pub(super) async fn expired(
    session: &Session,
    shards: Shards,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<LiveDelivery>, Failure> {
    let rows = session.query(EXPIRED, &[&numbers(shards), &now.as_millis(), &i64::from(limit)]).await?;
    rows.iter().map(live).collect()
}

/// The payloads of these events for these consumers, in the order in which they are wanted.
pub(super) async fn payloads(
    session: &Session,
    wanted: &[(EventId, ConsumerId)],
) -> Result<Vec<StoredPayload>, Failure> {
    let events: Vec<Uuid> = wanted.iter().map(|(event, _)| uuid(event.as_bytes())).collect();
    let consumers: Vec<&str> = wanted.iter().map(|(_, consumer)| consumer.as_str()).collect();
    let rows = session.query(PAYLOADS, &[&events, &consumers]).await?;
    let payload = |row: &Row| {
        Ok(StoredPayload {
            event: event_id(row, 0)?,
            consumer: consumer_id(row, 1)?,
            event_type: get(row, 2)?,
            sealed: get(row, 3)?,
            wrapped_key: get(row, 4)?,
        })
    };
    rows.iter().map(payload).collect()
}

/// The numbers of these shards, for one parameter.
pub(super) fn numbers(shards: Shards) -> Vec<i16> {
    shards.iter().map(|shard| i16::from(shard.number())).collect()
}

fn live(row: &Row) -> Result<LiveDelivery, Failure> {
    Ok(LiveDelivery {
        id: delivery_id(row, 0)?,
        event: event_id(row, 1)?,
        endpoint: endpoint_id(row, 2)?,
        consumer: consumer_id(row, 3)?,
        due_at: time(row, 4)?,
        attempts_made: count(row, 5)?,
        expires_at: optional_time(row, 6)?,
    })
}

/// The endpoints of the shard `s` that have something live, each with what is due first, by jumps. Here and below, that the
/// shard is not negative is the condition of the index that is meant.
macro_rules! work {
    () => {
        "WITH RECURSIVE work (endpoint, due_at) AS (
             (SELECT endpoint, due_at FROM delivery_live WHERE shard::bigint >= 0 AND shard::bigint = s.shard
                 ORDER BY endpoint, due_at LIMIT 1)
             UNION ALL
             SELECT n.endpoint, n.due_at FROM work CROSS JOIN LATERAL (
                 SELECT endpoint, due_at FROM delivery_live
                     WHERE shard::bigint >= 0 AND shard::bigint = s.shard AND endpoint > work.endpoint
                     ORDER BY endpoint, due_at LIMIT 1) AS n)
         SELECT endpoint, due_at FROM work"
    };
}

/// One shard after the other: an order over several at once would be sorted from all that there is.
const WORK: &str = concat!(
    "SELECT w.endpoint, r.consumer, w.due_at FROM unnest($1::smallint[]) AS s (shard) CROSS JOIN LATERAL (",
    work!(),
    ") AS w JOIN routes r ON r.endpoint = w.endpoint"
);

const OLDEST: &str = concat!(
    "SELECT min(w.due_at) FROM unnest($1::smallint[]) AS s (shard) CROSS JOIN LATERAL (",
    work!(),
    ") AS w"
);

const COUNT: &str = "SELECT count(*) FROM (SELECT FROM delivery_live LIMIT $1) AS counted";

const ESTIMATE: &str =
    "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'delivery_live'::regclass";

const DUE: &str = "SELECT l.id, l.event, l.endpoint, r.consumer, l.due_at, l.attempts_made, l.expires_at
         FROM (SELECT * FROM delivery_live
                   WHERE shard::bigint >= 0 AND shard::bigint = $1::smallint AND endpoint = $2
                       AND (due_at, id) > ($3, $4) AND due_at <= $5
                   ORDER BY due_at, id LIMIT $6) AS l
         JOIN routes r ON r.endpoint = l.endpoint ORDER BY l.due_at, l.id";

const IN_ORDER: &str =
    "SELECT l.id, l.event, l.endpoint, r.consumer, l.due_at, l.attempts_made, l.expires_at
         FROM (SELECT * FROM delivery_live WHERE shard = $1 AND endpoint = $2 AND id > $3 ORDER BY id LIMIT $4) AS l
         JOIN routes r ON r.endpoint = l.endpoint ORDER BY l.id";

const EXPIRED: &str = "SELECT l.id, l.event, l.endpoint, r.consumer, l.due_at, l.attempts_made, l.expires_at
         FROM unnest($1::smallint[]) AS s (shard)
         CROSS JOIN LATERAL (
             SELECT * FROM delivery_live WHERE shard = s.shard AND expires_at IS NOT NULL AND expires_at <= $2
                 ORDER BY expires_at LIMIT $3) AS l
         JOIN routes r ON r.endpoint = l.endpoint ORDER BY l.expires_at LIMIT $3";

const PAYLOADS: &str = "SELECT w.event, w.consumer, e.event_type, c.sealed, k.wrapped
         FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS w (event, consumer, place)
         JOIN contents c ON c.event = w.event
         JOIN event_keys k ON k.event = w.event AND k.consumer = w.consumer
         JOIN events e ON e.id = w.event
         ORDER BY w.place";

/// Some ten milliseconds.
const MOST_COUNTED: i64 = 10_000;
