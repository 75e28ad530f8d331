//! `redate`: what a clock has dated that was set back since is due as if it had been dated now.
//!
//! A reader finds what is due later than now and was planned later than now; the writer moves it, unless it has been
//! settled meanwhile. What is moved goes to before its old place, so a walk does not meet it again.

use rusqlite::{Connection, OptionalExtension, params};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::session::Session;
use super::values::{delivery_id, time};
use crate::id::{DeliveryId, EndpointId};
use crate::store::{DuePosition, Redated};

/// What is to be moved, and where the stretch that was looked at ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) moves: Vec<Move>,
    pub(super) next: Option<DuePosition>,
}

/// A live delivery that gets a new due time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    route: i64,
    id: DeliveryId,
    from: Timestamp,
    to: Timestamp,
}

/// Looks at a stretch of what one endpoint has due later than now.
pub(super) fn find(
    connection: &Connection,
    endpoint: EndpointId,
    now: Timestamp,
    latest: Timestamp,
    after: Option<DuePosition>,
    limit: u32,
) -> Result<Found, Failure> {
    let route: Option<i64> = connection
        .prepare_cached("SELECT no FROM routes WHERE endpoint = ?1")?
        .query_row([endpoint.as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(route) = route else { return Ok(Found::default()) };
    let (due, id) =
        after.map_or((now.as_millis(), [0xFF; 16]), |at| (at.due_at.as_millis(), *at.id.as_bytes()));
    let mut statement = connection.prepare_cached(
        "SELECT due_at, id, attempts_made,
                (SELECT max(recorded_at) FROM attempts WHERE delivery = l.id AND number > 0)
             FROM delivery_live l
             WHERE route = ?1 AND (due_at, id) > (?2, ?3) ORDER BY due_at, id LIMIT ?4",
    )?;
    let mut rows = statement.query(params![route, due, id, limit])?;
    let (mut found, mut looked_at) = (Found::default(), 0);
    while let Some(row) = rows.next()? {
        let (due_at, id) = (time(row, 0)?, delivery_id(row, 1)?);
        looked_at += 1;
        found.next = Some(DuePosition { due_at, id });
        let planned_at = match row.get(2)? {
            0_u32 => due_at,
            _ => row.get::<_, Option<i64>>(3)?.map_or(now, Timestamp::from_millis),
        };
        if planned_at > latest {
            let to = now.saturating_add(due_at.duration_since(planned_at));
            found.moves.push(Move { route, id, from: due_at, to });
        }
    }
    if looked_at < limit {
        found.next = None;
    }
    Ok(found)
}

/// Moves what was found.
pub(super) fn apply(session: &Session, found: &Found) -> Result<Redated, Failure> {
    let mut moved = 0;
    for one in &found.moves {
        let (from, to) = (one.from.as_millis(), one.to.as_millis());
        let rows = session
            .prepare("UPDATE delivery_live SET due_at = ?4 WHERE route = ?1 AND id = ?2 AND due_at = ?3")?
            .execute(params![one.route, one.id.as_bytes(), from, to])?;
        moved += u64::try_from(rows).unwrap_or(u64::MAX);
    }
    Ok(Redated { moved, next: found.next })
}
