//! `redate`: what a clock has dated that was set back since is due as if it had been dated now.
//!
//! A query finds what is due later than now and was planned later than now; a write moves it, unless it has been settled
//! meanwhile. What is moved goes to before its old place, so a walk does not meet it again.

use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{delivery_id, get, optional_time, shard_of, time, uuid};
use crate::id::EndpointId;
use crate::store::{DuePosition, Redated};

/// What is to be moved, and where the stretch that was looked at ends.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) ids: Vec<Uuid>,
    from: Vec<i64>,
    to: Vec<i64>,
    pub(super) next: Option<DuePosition>,
}

/// Looks at a stretch of what one endpoint has due later than now.
pub(super) async fn find(
    session: &Session,
    endpoint: EndpointId,
    now: Timestamp,
    latest: Timestamp,
    after: Option<DuePosition>,
    limit: u32,
) -> Result<Found, Failure> {
    let (due, id) =
        after.map_or((now.as_millis(), Uuid::max()), |at| (at.due_at.as_millis(), uuid(at.id.as_bytes())));
    let (shard, endpoint) = (shard_of(endpoint), uuid(endpoint.as_bytes()));
    let rows = session.query(FIND, &[&shard, &endpoint, &due, &id, &i64::from(limit)]).await?;
    let mut found = Found::default();
    for row in &rows {
        let (due_at, id) = (time(row, 0)?, delivery_id(row, 1)?);
        found.next = Some(DuePosition { due_at, id });
        let planned_at = match get::<i32>(row, 2)? {
            0 => due_at,
            _ => optional_time(row, 3)?.unwrap_or(now),
        };
        if planned_at > latest {
            let to = now.saturating_add(due_at.duration_since(planned_at));
            found.ids.push(uuid(id.as_bytes()));
            found.from.push(due_at.as_millis());
            found.to.push(to.as_millis());
        }
    }
    if u32::try_from(rows.len()).is_ok_and(|looked_at| looked_at < limit) {
        found.next = None;
    }
    Ok(found)
}

/// Moves what was found.
pub(super) async fn apply(
    session: &Session,
    endpoint: EndpointId,
    found: &Found,
) -> Result<Redated, Failure> {
    let (shard, endpoint) = (shard_of(endpoint), uuid(endpoint.as_bytes()));
    let moved = session.execute(MOVE, &[&shard, &endpoint, &found.ids, &found.from, &found.to]).await?;
    Ok(Redated { moved, next: found.next })
}

const FIND: &str = "SELECT l.due_at, l.id, l.attempts_made,
            (SELECT max(recorded_at) FROM attempts WHERE delivery = l.id AND number > 0)
         FROM delivery_live l
         WHERE l.shard::bigint >= 0 AND l.shard::bigint = $1::smallint AND l.endpoint = $2
             AND (l.due_at, l.id) > ($3, $4)
         ORDER BY l.due_at, l.id LIMIT $5";

const MOVE: &str = "UPDATE delivery_live l SET due_at = m.due_to
         FROM unnest($3::uuid[], $4::bigint[], $5::bigint[]) AS m (id, due_from, due_to)
         WHERE l.shard = $1 AND l.endpoint = $2 AND l.id = m.id AND l.due_at = m.due_from";
