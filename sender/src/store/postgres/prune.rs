//! `prune`: removing what is old, in slices that no write waits long for.
//!
//! A walk begins with whole days: a partition of which nothing is needed any more is dropped, whatever its size. What is
//! left of older days, because somebody still waits for some of it, goes row by row.
//!
//! A query finds what may go; the write asks again, after it has taken the contents for itself, whether they still may: a
//! redelivery holds the content of its event, so it has come in before or finds none.

use tokio_postgres::Row;
use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{event_id, get, time, uuid};
use crate::id::EventId;
use crate::store::{AgePosition, Kept, Removed, Slice};

/// The events of a slice that may be touched, as far as a query can say, and where the slice ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    pub(super) next: Option<AgePosition>,
}

/// An event that may be touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    id: EventId,
    accepted_at: Timestamp,
    tie: i64,
}

/// Finds what may go. A slice ends at its limit, or earlier if it has come to [`BYTES`] or [`ROWS`].
pub(super) async fn find(session: &Session, slice: &Slice) -> Result<Found, Failure> {
    let sql = match slice.kept {
        Kept::Contents => OLDEST_CONTENTS,
        Kept::Records => OLDEST_RECORDS,
    };
    let (after, tie) = slice.after.map_or((i64::MIN, i64::MIN), |at| (at.accepted_at.as_millis(), at.tie));
    let rows = session.query(sql, &[&after, &tie, &slice.until.as_millis(), &i64::from(slice.limit)]).await?;
    let mut found = Found::default();
    let (mut bytes, mut touched) = (0, 0);
    for row in &rows {
        let candidate = Candidate { accepted_at: time(row, 0)?, tie: get(row, 1)?, id: event_id(row, 2)? };
        found.next = Some(candidate.position());
        if get(row, 5)? {
            found.candidates.push(candidate);
            bytes += i64::from(get::<i32>(row, 3)?);
            touched += 1 + get::<i64>(row, 4)?;
        }
        if bytes >= BYTES || touched >= ROWS {
            return Ok(found);
        }
    }
    if u32::try_from(rows.len()).is_ok_and(|looked_at| looked_at < slice.limit) {
        found.next = None;
    }
    Ok(found)
}

/// Removes what was found, unless somebody delivers it again since.
pub(super) async fn remove(session: &Session, slice: &Slice, found: &Found) -> Result<Removed, Failure> {
    let mut removed = Removed { next: found.next, ..Removed::default() };
    if slice.kept == Kept::Contents {
        removed.events = remove_contents(session, &found.candidates).await?;
        return Ok(removed);
    }
    for candidate in &found.candidates {
        if !remove_record(session, *candidate, &mut removed).await? {
            removed.next = Some(candidate.before());
            break;
        }
    }
    Ok(removed)
}

async fn remove_contents(session: &Session, candidates: &[Candidate]) -> Result<u64, Failure> {
    let ids: Vec<Uuid> = candidates.iter().map(|candidate| uuid(candidate.id.as_bytes())).collect();
    session.query(TAKE, &[&ids]).await?;
    // A statement of its own: it sees what was committed until the contents were taken.
    let over = session.query(STILL_OVER, &[&ids]).await?;
    let over: Vec<Uuid> = over.iter().map(|row: &Row| get(row, 0)).collect::<Result<_, _>>()?;
    session.execute("DELETE FROM event_keys WHERE event = ANY($1::uuid[])", &[&over]).await?;
    session.execute("DELETE FROM contents WHERE event = ANY($1::uuid[])", &[&over]).await
}

/// Removes an event's deliveries, with their attempts, and then the event. Of an event that went to very many, a part
/// of them is enough for one slice; says whether nothing is left.
async fn remove_record(session: &Session, event: Candidate, removed: &mut Removed) -> Result<bool, Failure> {
    let id = uuid(event.id.as_bytes());
    let deliveries = session.query_one(REMOVE_DELIVERIES, &[&id, &ROWS]).await?;
    let deliveries: i64 = get(&deliveries, 0)?;
    removed.deliveries += u64::try_from(deliveries).unwrap_or(0);
    if deliveries >= ROWS {
        return Ok(false);
    }
    removed.events += session.execute("DELETE FROM events WHERE id = $1", &[&id]).await?;
    Ok(true)
}

impl Candidate {
    fn position(self) -> AgePosition {
        AgePosition { accepted_at: self.accepted_at, tie: self.tie }
    }

    fn before(self) -> AgePosition {
        AgePosition { accepted_at: self.accepted_at, tie: self.tie.saturating_sub(1) }
    }
}

/// The oldest contents from a place on: how large, how many deliveries, and whether all of those are over.
const OLDEST_CONTENTS: &str =
    "SELECT c.accepted_at, c.tie, c.event, octet_length(c.sealed), d.all_of_them, d.live = 0
         FROM (SELECT accepted_at, tie, event, sealed FROM contents
                   WHERE (accepted_at, tie) > ($1, $2) AND accepted_at <= $3 ORDER BY accepted_at, tie LIMIT $4) AS c
         CROSS JOIN LATERAL (
             SELECT count(*) AS all_of_them, count(l.id) AS live
                 FROM deliveries d LEFT JOIN delivery_live l
                     ON l.shard = get_byte(uuid_send(d.endpoint), 15)::smallint AND l.endpoint = d.endpoint AND l.id = d.id
                 WHERE d.event = c.event) AS d
         ORDER BY c.accepted_at, c.tie";

/// The oldest events from a place on, in the same columns: all is over if the content has gone and every delivery has ended
/// by then.
const OLDEST_RECORDS: &str =
    "SELECT e.accepted_at, e.tie, e.id, 0, d.all_of_them,
            d.not_over = 0 AND NOT EXISTS (SELECT FROM contents c WHERE c.event = e.id)
         FROM (SELECT accepted_at, tie, id FROM events
                   WHERE (accepted_at, tie) > ($1, $2) AND accepted_at <= $3 ORDER BY accepted_at, tie LIMIT $4) AS e
         CROSS JOIN LATERAL (
             SELECT count(*) AS all_of_them,
                    count(*) FILTER (WHERE NOT EXISTS (
                        SELECT FROM attempts a
                            WHERE a.delivery = d.id AND a.state IS NOT NULL AND a.recorded_at <= $3)) AS not_over
                 FROM deliveries d WHERE d.event = e.id) AS d
         ORDER BY e.accepted_at, e.tie";

const TAKE: &str = "SELECT FROM contents WHERE event = ANY($1::uuid[]) ORDER BY event FOR UPDATE";

const STILL_OVER: &str =
    "SELECT c.event FROM unnest($1::uuid[]) AS c (event)
         WHERE NOT EXISTS (
             SELECT FROM deliveries d JOIN delivery_live l
                 ON l.shard = get_byte(uuid_send(d.endpoint), 15)::smallint AND l.endpoint = d.endpoint AND l.id = d.id
                 WHERE d.event = c.event)";

const REMOVE_DELIVERIES: &str = "WITH gone AS (
         DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE event = $1 ORDER BY id LIMIT $2)
             RETURNING id),
     attempts AS (DELETE FROM attempts a USING gone WHERE a.delivery = gone.id)
     SELECT count(*) FROM gone";

/// Contents that one slice removes.
const BYTES: i64 = 4 << 20;

/// Deliveries that one slice removes, each with its attempts: some milliseconds.
const ROWS: i64 = 256;
