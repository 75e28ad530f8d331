//! Of which endpoints deliveries were cancelled lately: noted with what is cancelled, found by whoever looks for it.
//!
//! **Nothing is missed, and no clock is believed.** A look says which transaction was the oldest that went on at that moment:
//! all before it were seen or undone, so the next look begins with it, and finds again what it has found of those behind it.

use tokio_postgres::Row;
use uuid::Uuid;

use super::connect::Session;
use super::failure::Failure;
use super::values::{counted, endpoint_id, get};
use crate::store::{Withdrawal, Withdrawn};

/// Notes that deliveries of these endpoints are cancelled, in the same transaction.
pub(super) async fn note(session: &Session, endpoints: &[Uuid]) -> Result<(), Failure> {
    if !endpoints.is_empty() {
        session.execute(NOTE, &[&endpoints]).await?;
    }
    Ok(())
}

/// What was noted by this transaction or one behind it; nothing, where there is none.
pub(super) async fn since(session: &Session, transaction: Option<u64>) -> Result<Withdrawn, Failure> {
    let rows = session.query(SINCE, &[&transaction.map(|id| id.to_string())]).await?;
    let next = rows.first().map_or(Ok(transaction.unwrap_or(0)), |row| counted(row, 0))?;
    // Where nothing was found there is a row that says only where to go on.
    let noted = rows.iter().filter(|row| !matches!(get::<Option<i64>>(row, 1), Ok(None)));
    let found =
        noted.map(|row: &Row| Ok(Withdrawal { number: counted(row, 1)?, endpoint: endpoint_id(row, 2)? }));
    Ok(Withdrawn { next, found: found.collect::<Result<_, Failure>>()? })
}

/// Forgets some of what every owner has seen long ago: one that has not looked for so long has lost its shards. Says whether
/// there may be more.
pub(super) async fn forget(session: &Session) -> Result<bool, Failure> {
    Ok(session.execute(FORGET, &[&SOME]).await? >= u64::try_from(SOME).unwrap_or(u64::MAX))
}

pub(super) const NOTE: &str = "INSERT INTO withdrawn (endpoint) SELECT * FROM unnest($1::uuid[])";

const SINCE: &str = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, w.number, w.endpoint
         FROM (VALUES (true)) AS one LEFT JOIN withdrawn w ON w.made_by >= $1::text::xid8 ORDER BY w.number";

const FORGET: &str = "DELETE FROM withdrawn w USING (
             SELECT made_by, number FROM withdrawn WHERE made_at < clock_timestamp() - interval '1 hour'
                 ORDER BY made_by, number LIMIT $1) AS old
         WHERE w.made_by = old.made_by AND w.number = old.number";

/// Rows that are removed in one transaction.
const SOME: i64 = 5_000;
