//! What was configured since a version, each thing once; and the health of endpoints, which has none.
//!
//! That something was removed is remembered while somebody may be following from before that, and no longer.

use super::super::catalog;
use super::super::connect::Session;
use super::super::due::numbers;
use super::super::failure::Failure;
use super::super::timeline::Timeline;
use super::super::values::{bigint, counted, get};
use crate::store::{Configured, Record, Shards, Version};

/// What was configured after this version, from one snapshot: what it leads to has all of it. If that version was read in
/// another life of the database, it is worth nothing, and version 0 says so.
pub(super) async fn after(session: &Session, version: Version) -> Result<(Configured, Timeline), Failure> {
    let row = session.query_one(VERSION, &[]).await?;
    let (leads_to, timeline, forgotten) = (counted(&row, 0)?, get(&row, 1)?, counted(&row, 2)?);
    if version != 0 && session.read_in().get().is_some_and(|read_in| read_in != timeline) {
        return Ok((Configured::default(), timeline));
    }
    if version != 0 && leads_to <= version {
        return Ok((Configured { version: leads_to, ..Configured::default() }, timeline));
    }
    let everything = version == 0 || version < forgotten;
    let after = if everything { 0 } else { bigint(version) };
    let rows = session.query(PUT, &[&after]).await?;
    let put = rows.iter().map(catalog::record).collect::<Result<_, _>>()?;
    if everything {
        return Ok((Configured { version: leads_to, put, removed: Vec::new(), everything }, timeline));
    }
    let rows = session.query(GONE, &[&after]).await?;
    let removed = rows.iter().map(|row| Ok((catalog::kind(row, 0)?, get(row, 1)?)));
    let removed = removed.collect::<Result<_, Failure>>()?;
    Ok((Configured { version: leads_to, put, removed, everything }, timeline))
}

/// Forgets the oldest removals, as far as nobody needs them. Whoever reads at the same time sees all of them, or that they
/// are forgotten.
pub(super) async fn forget_changes(session: &Session, limit: u32) -> Result<u64, Failure> {
    let Some(row) = session.query_opt(FORGET_UNTIL, &[&i64::from(limit)]).await? else { return Ok(0) };
    let until: i64 = get(&row, 0)?;
    session.execute(FORGET, &[&until]).await
}

/// The health of the endpoints of these shards, by the end of their ids.
pub(super) async fn health(session: &Session, shards: Shards) -> Result<Vec<Record>, Failure> {
    let ends: Vec<String> = numbers(shards).iter().map(|number| format!("{number:02x}")).collect();
    let rows = session.query(HEALTH, &[&ends]).await?;
    rows.iter().map(catalog::record).collect()
}

/// The name of a file of the log begins with the timeline.
const VERSION: &str = "SELECT version,
        CASE WHEN pg_is_in_recovery() THEN '' ELSE left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
        forgotten FROM configuration";

const PUT: &str = "SELECT kind, id, consumer, sealed FROM records WHERE version > $1 AND kind <> 'endpoint_health' ORDER BY version";

const GONE: &str = "SELECT kind, id FROM records_gone WHERE version > $1 ORDER BY version";

/// Nodes are [remembered](super::tenure) for a while after their lease. Without any it is not known who will come.
const FORGET_UNTIL: &str = "UPDATE configuration SET forgotten = known.until
         FROM (SELECT max(version) AS until FROM (
             SELECT version FROM records_gone WHERE version <= (SELECT min(works_by) FROM nodes)
                 ORDER BY version LIMIT $1) AS oldest) AS known
         WHERE singleton AND forgotten < known.until RETURNING forgotten";

const FORGET: &str = "DELETE FROM records_gone WHERE version <= $1";

const HEALTH: &str = "SELECT kind, id, consumer, sealed FROM records WHERE kind = 'endpoint_health' AND right(id, 2) = ANY($1::text[])";
