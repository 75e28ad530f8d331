//! How endpoints do, as the owners of their shards say it. Of many that do badly few do otherwise from one moment to the next:
//! only those are written.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::connect::Session;
use super::super::failure::Failure;
use super::super::values::{endpoint_id, get, uuid};
use crate::id::{EndpointId, NodeId};
use crate::store::{ToldCondition, ToldConditions};

/// Keeps what a node says.
pub(super) async fn tell(session: &Session, node: NodeId, told: ToldConditions) -> Result<(), Failure> {
    // It is said again soon enough: no disk is waited for.
    session.batch("SET LOCAL synchronous_commit = off").await?;
    let node = uuid(node.as_bytes());
    let (told, over) = match told {
        ToldConditions::Changed { told, over } => {
            (told, over.iter().map(|endpoint| uuid(endpoint.as_bytes())).collect())
        }
        ToldConditions::All(told) => {
            let rows = session.query(OF_NODE, &[&node]).await?;
            let said = rows.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
            compare(said.collect::<Result<_, Failure>>()?, told)
        }
    };
    let told: BTreeMap<Uuid, &str> =
        told.iter().map(|told| (uuid(told.endpoint.as_bytes()), &*told.told)).collect();
    let (endpoints, texts): (Vec<Uuid>, Vec<&str>) = told.into_iter().unzip();
    if !over.is_empty() {
        session.execute(FORGET, &[&node, &over]).await?;
    }
    if !endpoints.is_empty() {
        session.execute(KEEP, &[&node, &endpoints, &texts]).await?;
    }
    Ok(())
}

/// What of this is otherwise than what was said before, and of whom nothing is said any more.
fn compare(mut said: BTreeMap<Uuid, String>, told: Vec<ToldCondition>) -> (Vec<ToldCondition>, Vec<Uuid>) {
    let is_new =
        |told: &ToldCondition| said.remove(&uuid(told.endpoint.as_bytes())).as_ref() != Some(&told.told);
    let new = told.into_iter().filter(is_new).collect();
    (new, said.into_keys().collect())
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

const OF_NODE: &str = "SELECT endpoint, told FROM conditions WHERE node = $1";

const FORGET: &str = "DELETE FROM conditions WHERE node = $1 AND endpoint = ANY($2::uuid[])";

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
