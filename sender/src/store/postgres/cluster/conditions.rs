//! How endpoints do, as the owners of their shards say it.

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::connect::Session;
use super::super::failure::Failure;
use super::super::values::{endpoint_id, get, uuid};
use crate::id::{EndpointId, NodeId};
use crate::store::ToldCondition;

/// Keeps what a node says, in place of what it said before.
pub(super) async fn tell(session: &Session, node: NodeId, told: &[ToldCondition]) -> Result<(), Failure> {
    // It is said again soon enough: no disk is waited for.
    session.batch("SET LOCAL synchronous_commit = off").await?;
    let node = uuid(node.as_bytes());
    let mut told: Vec<&ToldCondition> = told.iter().collect();
    told.sort_by_key(|told| told.endpoint);
    told.dedup_by_key(|told| told.endpoint);
    let endpoints: Vec<Uuid> = told.iter().map(|told| uuid(told.endpoint.as_bytes())).collect();
    let texts: Vec<&str> = told.iter().map(|told| &*told.told).collect();
    session.execute(FORGET, &[&node, &endpoints]).await?;
    session.execute(KEEP, &[&node, &endpoints, &texts]).await?;
    Ok(())
}

/// What is said of an endpoint, or of all, by nodes that own its shard and are alive.
pub(super) async fn told(
    session: &Session,
    endpoint: Option<EndpointId>,
) -> Result<Vec<ToldCondition>, Failure> {
    let rows = match endpoint {
        Some(endpoint) => session.query(OF_ONE, &[&uuid(endpoint.as_bytes())]).await?,
        None => session.query(OF_ALL, &[]).await?,
    };
    let told = |row: &Row| Ok(ToldCondition { endpoint: endpoint_id(row, 0)?, told: get(row, 1)? });
    rows.iter().map(told).collect()
}

const FORGET: &str = "DELETE FROM conditions WHERE node = $1 AND NOT endpoint = ANY($2::uuid[])";

const KEEP: &str = "INSERT INTO conditions AS c (node, endpoint, told)
         SELECT $1, endpoint, told FROM unnest($2::uuid[], $3::text[]) AS t (endpoint, told)
     ON CONFLICT (endpoint, node) DO UPDATE SET told = excluded.told WHERE c.told <> excluded.told";

const OF_ALL: &str = "SELECT c.endpoint, c.told FROM conditions c
         JOIN nodes n ON n.id = c.node AND n.lease_until > clock_timestamp()
         JOIN shards s ON s.shard = get_byte(uuid_send(c.endpoint), 15)::smallint AND s.owner = c.node";

const OF_ONE: &str = "SELECT c.endpoint, c.told FROM conditions c
         JOIN nodes n ON n.id = c.node AND n.lease_until > clock_timestamp()
         JOIN shards s ON s.shard = get_byte(uuid_send(c.endpoint), 15)::smallint AND s.owner = c.node
         WHERE c.endpoint = $1";
