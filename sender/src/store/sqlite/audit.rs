//! The audit trail: appended by whoever changes something, searched, and forgotten from its old end.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, params};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::session::{Scrub, Session, overwriting};
use super::values::consumer_id;
use crate::id::{AuditId, ConsumerId};
use crate::store::{AuditFilter, AuditPage, AuditRow};

/// Writes an entry, as part of whatever transaction this is.
pub(super) fn append(session: &Session, row: &AuditRow) -> Result<(), Failure> {
    session
        .prepare(
            "INSERT INTO audit (id, actor, action, object, consumer, sealed) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            row.id.as_bytes(),
            row.actor,
            row.action,
            row.object,
            row.consumer.as_ref().map(ConsumerId::as_str),
            row.sealed
        ])?;
    Ok(())
}

/// A page of the entries that match, from the narrowest index that the filter names. What it says beyond that is compared
/// row by row, for no more than [`MOST_LOOKED_AT`] rows.
pub(super) fn audit(connection: &Connection, filter: &AuditFilter) -> Result<AuditPage, Failure> {
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let mut page = AuditPage::default();
    if limit == 0 {
        return Ok(page);
    }
    let (index, wanted) = match (&filter.object, &filter.consumer, &filter.actor) {
        (Some(object), ..) => (BY_OBJECT, object.as_str()),
        (None, Some(consumer), _) => (BY_CONSUMER, consumer.as_str()),
        (None, None, Some(actor)) => (BY_ACTOR, actor.as_str()),
        (None, None, None) => (ALL, ""),
    };
    let mut statement = connection.prepare_cached(index)?;
    let (after, before) = (filter.after.as_ref(), filter.before.as_ref());
    let bounds =
        (after.map_or([0x00; 16], |id| *id.as_bytes()), before.map_or([0xff; 16], |id| *id.as_bytes()));
    let mut rows = statement.query(params![wanted, bounds.0, bounds.1, most_looked_at()])?;
    let (mut looked_at, mut last) = (0, None);
    while let Some(row) = rows.next()? {
        let consumer = match row.get_ref(4)? {
            ValueRef::Null => None,
            _ => Some(consumer_id(row, 4)?),
        };
        let id = AuditId::from_bytes(row.get(0)?);
        let found = AuditRow {
            id,
            actor: row.get(1)?,
            action: row.get(2)?,
            object: row.get(3)?,
            consumer,
            sealed: row.get(5)?,
        };
        (looked_at, last) = (looked_at + 1, Some(id));
        if filter.matches(&found) {
            page.rows.push(found);
        }
        if page.rows.len() >= limit {
            return Ok(page);
        }
    }
    page.reached = last.filter(|_| looked_at >= MOST_LOOKED_AT);
    Ok(page)
}

/// Forgets the oldest entries from before this moment; returns how many.
pub(super) fn forget(session: &mut Session, before: Timestamp, limit: u32) -> Result<u64, Failure> {
    let bound = AuditId::lower_bound(before);
    session.scrub = Scrub::Soon;
    let forgotten = overwriting(session, || {
        let sql = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ?1 ORDER BY id LIMIT ?2)";
        Ok(session.prepare(sql)?.execute(params![bound.as_bytes(), limit])?)
    })?;
    Ok(u64::try_from(forgotten).unwrap_or(u64::MAX))
}

fn most_looked_at() -> i64 {
    i64::try_from(MOST_LOOKED_AT).unwrap_or(i64::MAX)
}

/// The first parameter is what the index is for.
const ALL: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE ?1 IS NOT NULL AND id > ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4";
const BY_OBJECT: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE object = ?1 AND id > ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4";
const BY_CONSUMER: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE consumer = ?1 AND id > ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4";
const BY_ACTOR: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE actor = ?1 AND id > ?2 AND id < ?3 ORDER BY id DESC LIMIT ?4";

/// How many entries one page looks at: some milliseconds.
const MOST_LOOKED_AT: usize = 2_000;
