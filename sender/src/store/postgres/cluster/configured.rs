//! What was configured since a version, each thing once; and the health of endpoints, which has none.

use super::super::catalog;
use super::super::connect::Session;
use super::super::due::numbers;
use super::super::failure::Failure;
use super::super::values::{bigint, get};
use crate::store::{Configured, Record, Shards, Version};

/// What was configured after this version, from one snapshot: what it leads to has all of it.
pub(super) async fn after(session: &Session, version: Version) -> Result<Configured, Failure> {
    let after = bigint(version);
    let leads_to = catalog::version(session).await?;
    if version != 0 && leads_to <= version {
        return Ok(Configured { version: leads_to, ..Configured::default() });
    }
    let rows = session.query(PUT, &[&after]).await?;
    let put = rows.iter().map(catalog::record).collect::<Result<_, _>>()?;
    let rows = session.query(GONE, &[&after]).await?;
    let removed = rows.iter().map(|row| Ok((catalog::kind(row, 0)?, get(row, 1)?)));
    let removed = removed.collect::<Result<_, Failure>>()?;
    Ok(Configured { version: leads_to, put, removed })
}

/// The health of the endpoints of these shards, by the end of their ids.
pub(super) async fn health(session: &Session, shards: Shards) -> Result<Vec<Record>, Failure> {
    let ends: Vec<String> = numbers(shards).iter().map(|number| format!("{number:02x}")).collect();
    let rows = session.query(HEALTH, &[&ends]).await?;
    rows.iter().map(catalog::record).collect()
}

const PUT: &str = "SELECT kind, id, consumer, sealed FROM records WHERE version > $1 AND kind <> 'endpoint_health' ORDER BY version";

const GONE: &str = "SELECT kind, id FROM records_gone WHERE version > $1 ORDER BY version";

const HEALTH: &str = "SELECT kind, id, consumer, sealed FROM records WHERE kind = 'endpoint_health' AND right(id, 2) = ANY($1::text[])";
