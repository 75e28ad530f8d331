//! The audit trail: appended by whoever changes something, searched, and forgotten from its old end.

use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{get, uuid};
use crate::id::{AuditId, ConsumerId};
use crate::store::{AuditFilter, AuditPage, AuditRow};

/// Writes entries, as part of whatever transaction this is.
pub(super) async fn append(session: &Session, rows: &[&AuditRow]) -> Result<(), Failure> {
    let ids: Vec<Uuid> = rows.iter().map(|row| uuid(row.id.as_bytes())).collect();
    let actors: Vec<&str> = rows.iter().map(|row| &*row.actor).collect();
    let actions: Vec<&str> = rows.iter().map(|row| &*row.action).collect();
    let objects: Vec<&str> = rows.iter().map(|row| &*row.object).collect();
    let consumers: Vec<Option<&str>> =
        rows.iter().map(|row| row.consumer.as_ref().map(ConsumerId::as_str)).collect();
    let sealed: Vec<&[u8]> = rows.iter().map(|row| &*row.sealed).collect();
    session.execute(APPEND_MANY, &[&ids, &actors, &actions, &objects, &consumers, &sealed]).await?;
    Ok(())
}

/// A page of the entries that match, from the narrowest index that the filter names. What it says beyond that is compared
/// row by row, for no more than [`MOST_LOOKED_AT`] rows.
pub(super) async fn audit(session: &Session, filter: &AuditFilter) -> Result<AuditPage, Failure> {
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
    let after = filter.after.map_or(Uuid::nil(), |id| uuid(id.as_bytes()));
    let before = filter.before.map_or(Uuid::max(), |id| uuid(id.as_bytes()));
    let most = i64::try_from(MOST_LOOKED_AT).unwrap_or(i64::MAX);
    let rows = session.query(index, &[&wanted, &after, &before, &most]).await?;
    let mut last = None;
    for row in &rows {
        let consumer = get::<Option<&str>>(row, 4)?.map(ConsumerId::parse).transpose();
        let id = AuditId::from_bytes(get::<Uuid>(row, 0)?.into_bytes());
        let found = AuditRow {
            id,
            actor: get(row, 1)?,
            action: get(row, 2)?,
            object: get(row, 3)?,
            consumer: consumer.map_err(|_| Failure::corrupt("consumer"))?,
            sealed: get(row, 5)?,
        };
        last = Some(id);
        if filter.matches(&found) {
            page.rows.push(found);
        }
        if page.rows.len() >= limit {
            return Ok(page);
        }
    }
    page.reached = last.filter(|_| rows.len() >= MOST_LOOKED_AT);
    Ok(page)
}

/// Forgets the oldest entries from before this moment; returns how many.
pub(super) async fn forget(session: &Session, before: Timestamp, limit: u32) -> Result<u64, Failure> {
    let bound = uuid(AuditId::lower_bound(before).as_bytes());
    session.execute(FORGET, &[&bound, &i64::from(limit)]).await
}

pub(super) const APPEND_MANY: &str = "INSERT INTO audit (id, actor, action, object, consumer, sealed)
         SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[])";

/// The first parameter is what the index is for.
const ALL: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE $1::text IS NOT NULL AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4";
const BY_OBJECT: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE object = $1 AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4";
const BY_CONSUMER: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE consumer = $1 AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4";
const BY_ACTOR: &str = "SELECT id, actor, action, object, consumer, sealed FROM audit
    WHERE actor = $1 AND id > $2 AND id < $3 ORDER BY id DESC LIMIT $4";

const FORGET: &str = "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)";

/// How many entries one page looks at: some milliseconds.
const MOST_LOOKED_AT: usize = 2_000;
