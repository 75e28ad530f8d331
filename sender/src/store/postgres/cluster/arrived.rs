//! Arrivals that are found by asking: one shard after the other, each from its own place on.

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::connect::Session;
use super::super::failure::Failure;
use super::super::values::{consumer_id, delivery_id, endpoint_id, time, uuid};
use crate::id::DeliveryId;
use crate::store::{EndpointWork, FoundArrival, Shard};

/// Live deliveries with ids after these.
pub(super) async fn arrivals(
    session: &Session,
    after: &[(Shard, DeliveryId)],
    limit: u32,
) -> Result<Vec<FoundArrival>, Failure> {
    let shards: Vec<i16> = after.iter().map(|(shard, _)| i16::from(shard.number())).collect();
    let ids: Vec<Uuid> = after.iter().map(|(_, id)| uuid(id.as_bytes())).collect();
    let rows = session.query(ARRIVED, &[&shards, &ids, &i64::from(limit)]).await?;
    let found = |row: &Row| {
        let (endpoint, consumer) = (endpoint_id(row, 1)?, consumer_id(row, 2)?);
        let work = EndpointWork { endpoint, consumer, next_due: time(row, 3)? };
        Ok(FoundArrival { id: delivery_id(row, 0)?, work })
    };
    rows.iter().map(found).collect()
}

/// That the shard is not negative is the condition of the index.
const ARRIVED: &str = "SELECT l.id, l.endpoint, r.consumer, l.due_at
         FROM unnest($1::smallint[], $2::uuid[]) AS a (shard, after)
         CROSS JOIN LATERAL (
             SELECT id, endpoint, due_at FROM delivery_live
                 WHERE shard::integer >= 0 AND shard::integer = a.shard::integer AND id > a.after
                 ORDER BY id LIMIT $3) AS l
         JOIN routes r ON r.endpoint = l.endpoint
         ORDER BY a.shard, l.id";
