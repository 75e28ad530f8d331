//! `forget_endpoints`: the rows of `routes` that nothing refers to any more.
//!
//! Other nodes remember rows, and write none for what they remember. So a row stays until no node can still be accepting
//! something for its endpoint: until it is forgotten that the endpoint went, which all nodes know of by then.

use tokio_postgres::Row;
use uuid::Uuid;

use super::connect::Session;
use super::failure::Failure;
use super::values::{endpoint_id, get, uuid};
use crate::id::EndpointId;

/// The endpoints of a slice that may be forgotten, and where the slice ends.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) idle: Vec<EndpointId>,
    pub(super) next: Option<EndpointId>,
}

/// Finds the endpoints that nothing is kept of.
pub(super) async fn find(session: &Session, after: Option<EndpointId>, limit: u32) -> Result<Found, Failure> {
    let after = after.map_or(Uuid::nil(), |after| uuid(after.as_bytes()));
    let rows = session.query(LOOK_AT, &[&after, &i64::from(limit)]).await?;
    let mut found = Found { idle: Vec::new(), next: None };
    for row in &rows {
        let endpoint = endpoint_id(row, 0)?;
        found.next = Some(endpoint);
        if get(row, 1)? {
            found.idle.push(endpoint);
        }
    }
    if u32::try_from(rows.len()).is_ok_and(|looked_at| looked_at < limit) {
        found.next = None;
    }
    Ok(found)
}

/// Forgets them, unless something has come for them since. Returns those that are gone.
pub(super) async fn remove(session: &Session, idle: &[EndpointId]) -> Result<Vec<EndpointId>, Failure> {
    let idle: Vec<Uuid> = idle.iter().map(|endpoint| uuid(endpoint.as_bytes())).collect();
    let gone = session.query(REMOVE, &[&idle]).await?;
    gone.iter().map(|row: &Row| endpoint_id(row, 0)).collect()
}

/// Whether a row `r` is of an endpoint that went long ago, with no delivery: each is either live or has ended. What is
/// configured is found first: the other questions go to every day that there is.
macro_rules! idle {
    () => {
        "CASE WHEN EXISTS (SELECT FROM records WHERE kind = 'endpoint' AND id = 'ep_' || replace(r.endpoint::text, '-', ''))
                OR EXISTS (SELECT FROM records_gone
                    WHERE kind = 'endpoint' AND id = 'ep_' || replace(r.endpoint::text, '-', ''))
             THEN false
             ELSE NOT EXISTS (SELECT FROM delivery_live l
                      WHERE l.shard = get_byte(uuid_send(r.endpoint), 15)::smallint AND l.endpoint = r.endpoint)
                  AND NOT EXISTS (SELECT FROM attempts a WHERE a.endpoint = r.endpoint AND a.state IS NOT NULL)
         END"
    };
}

const LOOK_AT: &str = concat!(
    "SELECT endpoint, ",
    idle!(),
    " FROM (SELECT endpoint FROM routes WHERE endpoint > $1 ORDER BY endpoint LIMIT $2) AS r ORDER BY endpoint"
);

const REMOVE: &str =
    concat!("DELETE FROM routes AS r WHERE endpoint = ANY($1::uuid[]) AND ", idle!(), " RETURNING endpoint");
