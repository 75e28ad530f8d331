//! The nodes, the shards that each owns, and how the database does.

use std::time::Duration;

use tokio_postgres::Row;
use waxseal_keys::Timestamp;

use super::super::connect::Session;
use super::super::failure::Failure;
use super::super::values::{counted, get, shard};
use crate::id::NodeId;
use crate::store::{Node, NodeRole, NodeState, Overview, Shards};

/// Everything that can be said of the cluster, at one moment.
pub(super) async fn overview(session: &Session) -> Result<Overview, Failure> {
    let nodes = session.query(NODES, &[]).await?;
    let mut nodes = nodes.iter().map(node).collect::<Result<Vec<_>, _>>()?;
    let mut unowned = Shards::NONE;
    for row in session.query("SELECT shard, owner FROM shards", &[]).await? {
        let owner: Option<uuid::Uuid> = get(&row, 1)?;
        let owner = owner.map(|owner| NodeId::from_bytes(owner.into_bytes()));
        let owner =
            nodes.iter_mut().find(|state| Some(state.node.id) == owner && !state.lease_left.is_zero());
        match owner {
            Some(owner) => owner.shards.insert(shard(&row, 0)?),
            None => unowned.insert(shard(&row, 0)?),
        }
    }
    let health = session.query_one(HEALTH, &[]).await?;
    Ok(Overview {
        nodes,
        unowned,
        synchronous_standby: get(&health, 0)?,
        oldest_snapshot: seconds(get(&health, 1)?),
        standby_lag_bytes: get::<Option<i64>>(&health, 2)?.map(|bytes| u64::try_from(bytes).unwrap_or(0)),
    })
}

fn node(row: &Row) -> Result<NodeState, Failure> {
    let role = NodeRole::from_name(get(row, 2)?).ok_or_else(|| Failure::corrupt("node: its role"))?;
    let id: uuid::Uuid = get(row, 0)?;
    Ok(NodeState {
        node: Node {
            id: NodeId::from_bytes(id.into_bytes()),
            name: get(row, 1)?,
            role,
            program: get(row, 3)?,
            started_at: Timestamp::from_millis(get(row, 4)?),
        },
        lease_left: seconds(get(row, 5)?),
        shards: Shards::NONE,
        works_by: counted(row, 6)?,
    })
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}

const NODES: &str = "SELECT id, name, role, program, started_at,
            greatest(extract(epoch FROM lease_until - clock_timestamp()), 0)::float8, works_by
         FROM nodes ORDER BY started_at, id";

/// Of transactions of others no more is seen than the role may see; of standbys neither.
const HEALTH: &str =
    "SELECT current_setting('synchronous_standby_names') <> ''
                AND (SELECT setting IN ('on', 'remote_apply') FROM pg_settings WHERE name = 'synchronous_commit'),
            coalesce((SELECT extract(epoch FROM clock_timestamp() - min(xact_start))::float8 FROM pg_stat_activity
                          WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid()), 0),
            CASE WHEN pg_is_in_recovery() THEN NULL ELSE
                (SELECT max(pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn))::bigint FROM pg_stat_replication) END";
