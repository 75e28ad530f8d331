//! `forget_endpoints`: the rows of `routes` that nothing refers to any more.
//!
//! A reader finds them; the writer asks again, in the transaction that removes them, and forgets their numbers. A delivery
//! that comes after that begins with a new number.

use rusqlite::{Connection, params};

use super::failure::Failure;
use super::session::{Scrub, Session, overwriting};
use super::values::endpoint_id;
use crate::id::EndpointId;
use crate::store::Forgotten;

/// The endpoints of a slice that may be forgotten, and where the slice ends.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) idle: Vec<EndpointId>,
    pub(super) next: Option<EndpointId>,
}

/// Finds the endpoints that nothing is kept of.
pub(super) fn find(connection: &Connection, after: Option<EndpointId>, limit: u32) -> Result<Found, Failure> {
    let after = after.map_or([0; 16], |after| *after.as_bytes());
    let mut statement = connection.prepare_cached(LOOK_AT)?;
    let mut rows = statement.query(params![after, limit])?;
    let (mut found, mut looked_at) = (Found { idle: Vec::new(), next: None }, 0);
    while let Some(row) = rows.next()? {
        let endpoint = endpoint_id(row, 0)?;
        looked_at += 1;
        found.next = Some(endpoint);
        if row.get(1)? {
            found.idle.push(endpoint);
        }
    }
    if looked_at < limit {
        found.next = None;
    }
    Ok(found)
}

/// Forgets them, unless something has come for them since.
pub(super) fn remove(session: &mut Session, found: &Found) -> Result<Forgotten, Failure> {
    session.scrub = Scrub::Soon;
    let forgotten = overwriting(session, || {
        let mut statement = session.prepare(REMOVE)?;
        let mut forgotten = 0;
        for endpoint in &found.idle {
            forgotten += statement.execute([endpoint.as_bytes()])?;
        }
        Ok(forgotten)
    })?;
    for endpoint in &found.idle {
        session.forget_route(*endpoint);
    }
    Ok(Forgotten { endpoints: u64::try_from(forgotten).unwrap_or(u64::MAX), next: found.next })
}

/// Whether a row `r` is of an endpoint that is configured no more, with no delivery: each is either live or has ended.
macro_rules! idle {
    () => {
        "NOT EXISTS (SELECT 1 FROM records WHERE kind = 'endpoint' AND id = 'ep_' || lower(hex(r.endpoint)))
         AND NOT EXISTS (SELECT 1 FROM delivery_live l WHERE l.route = r.no)
         AND NOT EXISTS (SELECT 1 FROM attempts a WHERE a.route = r.no AND a.state IS NOT NULL)"
    };
}

pub(super) const LOOK_AT: &str =
    concat!("SELECT endpoint, ", idle!(), " FROM routes AS r WHERE endpoint > ?1 ORDER BY endpoint LIMIT ?2");

const REMOVE: &str = concat!("DELETE FROM routes AS r WHERE endpoint = ?1 AND ", idle!());
