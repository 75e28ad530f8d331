//! `prune`: removing what is old, in slices that no write waits long for.
//!
//! A slice looks at the oldest events with an index of their own. Readers find what may go; the writer asks again, in
//! the transaction that removes a content, whether it still may: a redelivery may have come in between. None comes to
//! an event without content. What such an event leaves behind is a row of some sixty bytes, until its record goes too.
//!
//! Freed pages are overwritten, and used again for what comes next: a store whose traffic stays the same stays as large
//! as it is. The file is not made smaller. Moving pages about to give some back to the file system (`auto_vacuum`)
//! would cost every write a second map of pages, and hold the writer while it works; a backup is compact, and restoring
//! it is how a file is made small.

use rusqlite::{Connection, OptionalExtension, params};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::session::{Scrub, Session, overwriting};
use super::values::time;
use crate::store::{AgePosition, Kept, Removed, Slice};

/// The events of a slice that may be touched, as far as a reader can say, and where the slice ends.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) candidates: Vec<Candidate>,
    pub(super) next: Option<AgePosition>,
}

/// An event that may be touched.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    no: i64,
    id: [u8; 16],
    accepted_at: Timestamp,
}

/// Finds what may go. A slice ends at its limit, or earlier if it has come to [`BYTES`] or [`ROWS`].
pub(super) fn find(connection: &Connection, slice: &Slice) -> Result<Found, Failure> {
    let content = i64::from(slice.kept == Kept::Contents);
    let (after, tie) = slice.after.map_or((i64::MIN, 0), |at| (at.accepted_at.as_millis(), at.tie));
    let mut statement = connection.prepare_cached(OLDEST)?;
    let mut rows = statement.query(params![content, after, tie, slice.until.as_millis(), slice.limit])?;
    let mut found = Found { candidates: Vec::new(), next: None };
    let (mut looked_at, mut bytes, mut touched) = (0, 0, 0);
    while let Some(row) = rows.next()? {
        let candidate = Candidate { no: row.get(1)?, id: row.get(2)?, accepted_at: time(row, 0)? };
        found.next = Some(candidate.position());
        looked_at += 1;
        if let Some(deliveries) = over(connection, candidate, slice)? {
            found.candidates.push(candidate);
            bytes += row.get::<_, i64>(3)?;
            touched += 1 + deliveries;
        }
        if bytes >= BYTES || touched >= ROWS {
            return Ok(found);
        }
    }
    if looked_at < slice.limit {
        found.next = None;
    }
    Ok(found)
}

/// Removes what was found, unless somebody delivers it again since.
pub(super) fn remove(session: &mut Session, slice: &Slice, found: &Found) -> Result<Removed, Failure> {
    session.scrub = Scrub::Soon;
    overwriting(session, || remove_each(session, slice, found))
}

fn remove_each(session: &Session, slice: &Slice, found: &Found) -> Result<Removed, Failure> {
    let mut removed = Removed { next: found.next, ..Removed::default() };
    for candidate in &found.candidates {
        match slice.kept {
            Kept::Contents if over(session.connection(), *candidate, slice)?.is_none() => {}
            Kept::Contents => removed.events += remove_content(session, *candidate)?,
            Kept::Records => {
                if !remove_record(session, *candidate, &mut removed)? {
                    removed.next = Some(candidate.before());
                    return Ok(removed);
                }
            }
        }
    }
    Ok(removed)
}

/// How many deliveries an event has, if they are all over; for its record, if they were over by then.
fn over(connection: &Connection, event: Candidate, slice: &Slice) -> Result<Option<i64>, Failure> {
    let mut deliveries = connection.prepare_cached("SELECT id, route FROM deliveries WHERE event = ?1")?;
    let mut live = connection.prepare_cached("SELECT 1 FROM delivery_live WHERE route = ?1 AND id = ?2")?;
    let mut end = connection.prepare_cached(
        "SELECT recorded_at FROM attempts WHERE delivery = ?1 AND state IS NOT NULL ORDER BY number DESC LIMIT 1",
    )?;
    let mut count = 0;
    let mut rows = deliveries.query([event.id])?;
    while let Some(row) = rows.next()? {
        let (id, route): ([u8; 16], i64) = (row.get(0)?, row.get(1)?);
        if live.exists(params![route, id])? {
            return Ok(None);
        }
        if slice.kept == Kept::Records {
            let ended = end.query_row([id], time_of).optional()?;
            let ended = ended.ok_or_else(|| Failure::corrupt("delivery: neither live nor ended"))?;
            if ended > slice.until {
                return Ok(None);
            }
        }
        count += 1;
    }
    Ok(Some(count))
}

fn remove_content(session: &Session, event: Candidate) -> Result<u64, Failure> {
    let found = session
        .prepare("UPDATE events SET sealed = x'', content = 0 WHERE no = ?1 AND content = 1")?
        .execute([event.no])?;
    // For whom it was is still to be told; the key is not.
    session.prepare("UPDATE event_keys SET wrapped = x'' WHERE event = ?1")?.execute([event.id])?;
    Ok(count(found))
}

/// Removes an event's deliveries, with their attempts, and then the event. Of an event that went to very many, a part
/// of them is enough for one slice; says whether nothing is left.
fn remove_record(session: &Session, event: Candidate, removed: &mut Removed) -> Result<bool, Failure> {
    let some = params![event.id, ROWS];
    session
        .prepare(
            "DELETE FROM attempts WHERE delivery IN
                 (SELECT id FROM deliveries WHERE event = ?1 ORDER BY id LIMIT ?2)",
        )?
        .execute(some)?;
    let deliveries = session
        .prepare(
            "DELETE FROM deliveries WHERE id IN
                 (SELECT id FROM deliveries WHERE event = ?1 ORDER BY id LIMIT ?2)",
        )?
        .execute(some)?;
    removed.deliveries += count(deliveries);
    if i64::try_from(deliveries).is_ok_and(|deliveries| deliveries >= ROWS) {
        return Ok(false);
    }
    session.prepare("DELETE FROM event_keys WHERE event = ?1")?.execute([event.id])?;
    removed.events += count(session.prepare("DELETE FROM events WHERE no = ?1")?.execute([event.no])?);
    Ok(true)
}

impl Candidate {
    fn position(self) -> AgePosition {
        AgePosition { accepted_at: self.accepted_at, tie: self.no }
    }

    fn before(self) -> AgePosition {
        AgePosition { accepted_at: self.accepted_at, tie: self.no - 1 }
    }
}

fn time_of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(row.get(0)?))
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

/// The oldest events with or without content, from a place on.
pub(super) const OLDEST: &str = "SELECT accepted_at, no, id, length(sealed) FROM events
     WHERE content = ?1 AND (accepted_at, no) > (?2, ?3) AND accepted_at <= ?4
     ORDER BY accepted_at, no LIMIT ?5";

/// Contents that one slice overwrites: as many bytes as a large commit writes anyway.
const BYTES: i64 = 1 << 20;

/// Deliveries that one slice removes, each with its attempts: some milliseconds.
const ROWS: i64 = 128;
