//! Who owns which shard, by leases that go by the clock of the database.
//!
//! One node at a time renews and takes: a lease that is being renewed cannot be taken for one that is over, and two nodes
//! that come at once do not take more than there is. That costs each a few milliseconds of all others every few seconds.

use waxseal_keys::Timestamp;

use super::super::connect::Session;
use super::super::due::numbers;
use super::super::failure::Failure;
use super::super::schema;
use super::super::values::{counted, get, shard, uuid};
use crate::id::NodeId;
use crate::store::{LEASE, Node, Shard, Shards, Tenure};

/// Renews the lease of a node, or begins it, and takes what nobody owns, up to a fair share.
pub(super) async fn tend(session: &Session, node: &Node) -> Result<Tenure, Failure> {
    let id = uuid(node.id.as_bytes());
    session.query("SELECT pg_advisory_xact_lock($1)", &[&TENDING]).await?;
    let renewed = session
        .execute(
            RENEW,
            &[
                &id,
                &node.name,
                &node.role.name(),
                &node.role.takes_shards(),
                &node.program,
                &Timestamp::as_millis(node.started_at),
                &LEASE.as_secs_f64(),
                &schema::known(),
            ],
        )
        .await?;
    if renewed == 0 {
        schema::refuse_unfinished(session).await?;
        schema::usable(session).await?;
        return Err(Failure::unavailable("the lease was not renewed"));
    }
    session.execute(FORGET, &[]).await?;
    session.execute(SHORTEN, &[&LEASE.as_secs_f64()]).await?;
    let share = if node.role.takes_shards() {
        let live: i64 = get(&session.query_one(LIVE, &[]).await?, 0)?;
        let all = i64::try_from(Shard::COUNT).unwrap_or(i64::MAX);
        let share = (all + live - 1) / live.max(1);
        session.execute(TAKE, &[&id, &share]).await?;
        usize::try_from(share).unwrap_or(0)
    } else {
        0
    };
    let rows = session.query(OWNED, &[&id]).await?;
    let owned = rows.iter().map(|row| Ok((shard(row, 0)?, counted(row, 1)?)));
    let shards = owned.collect::<Result<Vec<_>, Failure>>()?;
    Ok(Tenure { excess: shards.len().saturating_sub(share), shards })
}

/// Gives these shards back, as far as the node owns them.
pub(super) async fn give_back(session: &Session, node: NodeId, shards: Shards) -> Result<(), Failure> {
    session.execute(GIVE_BACK, &[&uuid(node.as_bytes()), &numbers(shards)]).await?;
    Ok(())
}

/// Gives everything back and forgets the node and what it has said.
pub(super) async fn leave(session: &Session, node: NodeId) -> Result<(), Failure> {
    let id = uuid(node.as_bytes());
    session.execute("UPDATE shards SET owner = NULL WHERE owner = $1", &[&id]).await?;
    session.execute("DELETE FROM conditions WHERE node = $1", &[&id]).await?;
    session.execute("DELETE FROM nodes WHERE id = $1", &[&id]).await?;
    Ok(())
}

/// The lock of whoever renews and takes: any number that is no other's.
pub(in crate::store::postgres) const TENDING: i64 = 0x7761_7873_6561_6c03;

const RENEW: &str =
    "INSERT INTO nodes (id, name, role, takes_shards, program, started_at, lease_until)
         SELECT $1::uuid, $2::text, $3::text, $4::boolean, $5::text, $6::bigint,
                clock_timestamp() + make_interval(secs => $7)
             WHERE NOT EXISTS (SELECT FROM moving WHERE finished_at IS NULL)
                 AND NOT EXISTS (SELECT FROM schema_version WHERE usable_from > $8)
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, role = excluded.role, takes_shards = excluded.takes_shards,
         program = excluded.program, started_at = excluded.started_at, lease_until = excluded.lease_until";

/// Nodes that are long gone; what they have said goes with them.
const FORGET: &str =
    "WITH gone AS (DELETE FROM nodes WHERE lease_until < clock_timestamp() - interval '1 hour' RETURNING id)
     DELETE FROM conditions WHERE node IN (SELECT id FROM gone)";

/// A lease that lasts longer was given by a clock that was put back since, or by that of a primary that is lost: of a node
/// that is gone nobody would take the shards for as long.
const SHORTEN: &str = "UPDATE nodes SET lease_until = clock_timestamp() + make_interval(secs => $1)
    WHERE lease_until > clock_timestamp() + make_interval(secs => $1)";

const LIVE: &str = "SELECT count(*) FROM nodes WHERE takes_shards AND lease_until > clock_timestamp()";

/// The owner itself is alive: it has just renewed. What it owns beyond the share it keeps.
const TAKE: &str = "UPDATE shards SET owner = $1, epoch = epoch + 1 WHERE shard IN (
         SELECT s.shard FROM shards s LEFT JOIN nodes n ON n.id = s.owner
             WHERE n.id IS NULL OR n.lease_until <= clock_timestamp()
             ORDER BY s.shard
             LIMIT greatest($2 - (SELECT count(*) FROM shards WHERE owner = $1), 0))";

const OWNED: &str = "SELECT shard, epoch FROM shards WHERE owner = $1 ORDER BY shard";

const GIVE_BACK: &str = "UPDATE shards SET owner = NULL WHERE owner = $1 AND shard = ANY($2::smallint[])";
