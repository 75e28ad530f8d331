//! What the inbox asks of its database: one function for each verb, each one transaction.
//!
//! Relies on [`Database`](crate::sqlite::Database). Guarantees that an event is stored if and only if it becomes done
//! for the replay guard; that an attempt is one worker's until its lease ends; and that only the last
//! attempt's fence can end or prolong it.

use std::time::Duration;

use rusqlite::{OptionalExtension, Row, Transaction, params};
use waxseal_keys::Timestamp;

use super::at_rest::AtRest;
use crate::{
    Begin, ReplayKey, Settled,
    replay::{entry, finish},
};

/// Stores a new event and marks it as done for the guard, or says that it is known.
pub(super) fn keep(
    step: &Transaction<'_>,
    at_rest: &AtRest,
    key: &ReplayKey,
    plain: &[u8],
    now: Timestamp,
    retention: Duration,
) -> rusqlite::Result<Option<Begin>> {
    if let Some(known) = entry(step, key, now, retention)? {
        return Ok(Some(known));
    }
    finish(step, key, now, retention)?;
    // The number is part of what the row is encrypted for, so it comes first.
    step.prepare_cached("INSERT INTO inbox (scope, received_at, due_at, event) VALUES (?1, ?2, ?2, x'')")?
        .execute(params![key.scope, now.as_millis()])?;
    let number = step.last_insert_rowid();
    step.prepare_cached("UPDATE inbox SET event = ?2 WHERE number = ?1")?
        .execute(params![number, at_rest.write(&key.scope, number, plain)])?;
    Ok(None)
}

/// A row that a worker may work on, until its lease ends.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) number: i64,
    pub(super) fence: i64,
    /// This one included.
    pub(super) attempts: u32,
    pub(super) event: Vec<u8>,
}

/// What there is to do.
#[derive(Debug)]
pub(super) enum Claim {
    Event(Claimed),
    /// Nothing now; perhaps when this time has come.
    Later(Option<Timestamp>),
}

/// The event that is due first. One whose attempts all began, and none of which came to an end, is dead.
pub(super) fn claim(
    step: &Transaction<'_>,
    scope: &str,
    most: u32,
    now: Timestamp,
    lease: Duration,
) -> rusqlite::Result<Claim> {
    loop {
        let mut first = step.prepare_cached(
            "SELECT number, fence, attempts, due_at, event FROM inbox
             WHERE scope = ?1 AND died_at IS NULL ORDER BY due_at, number LIMIT 1",
        )?;
        let due = first
            .query_row([scope], |row| {
                let (number, fence, attempts): (_, i64, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let claimed = Claimed {
                    number,
                    fence: fence.saturating_add(1),
                    attempts: attempts.saturating_add(1),
                    event: row.get(4)?,
                };
                Ok((claimed, Timestamp::from_millis(row.get(3)?)))
            })
            .optional()?;
        let Some((claimed, due_at)) = due else { return Ok(Claim::Later(None)) };
        if due_at > now {
            return Ok(Claim::Later(Some(due_at)));
        }
        if claimed.attempts > most {
            step.prepare_cached("UPDATE inbox SET died_at = ?2, reason = ?3, fence = ?4 WHERE number = ?1")?
                .execute(params![claimed.number, now.as_millis(), ABANDONED, claimed.fence])?;
            continue;
        }
        step.prepare_cached("UPDATE inbox SET fence = ?2, attempts = ?3, due_at = ?4 WHERE number = ?1")?
            .execute(params![
                claimed.number,
                claimed.fence,
                claimed.attempts,
                now.saturating_add(lease).as_millis()
            ])?;
        return Ok(Claim::Event(claimed));
    }
}

/// Prolongs the lease of an attempt.
pub(super) fn renew(
    step: &Transaction<'_>,
    number: i64,
    fence: i64,
    until: Timestamp,
) -> rusqlite::Result<Settled> {
    step.prepare_cached("UPDATE inbox SET due_at = ?3 WHERE number = ?1 AND fence = ?2 AND died_at IS NULL")?
        .execute(params![number, fence, until.as_millis()])
        .map(settled)
}

/// The event is processed: nothing of it stays but the entry of the replay guard.
pub(super) fn remove(step: &Transaction<'_>, number: i64, fence: i64) -> rusqlite::Result<Settled> {
    step.prepare_cached("DELETE FROM inbox WHERE number = ?1 AND fence = ?2 AND died_at IS NULL")?
        .execute(params![number, fence])
        .map(settled)
}

/// An attempt failed: the next one begins at `again`, or there is none.
pub(super) fn fail(
    step: &Transaction<'_>,
    number: i64,
    fence: i64,
    reason: &str,
    again: Option<Timestamp>,
    now: Timestamp,
) -> rusqlite::Result<Settled> {
    let died_at = if again.is_none() { Some(now.as_millis()) } else { None };
    step.prepare_cached(
        "UPDATE inbox SET reason = ?3, due_at = ?4, died_at = ?5
         WHERE number = ?1 AND fence = ?2 AND died_at IS NULL",
    )?
    .execute(params![number, fence, reason, again.unwrap_or(now).as_millis(), died_at])
    .map(settled)
}

/// A dead row, still encrypted.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) number: i64,
    pub(super) received_at: Timestamp,
    pub(super) died_at: Timestamp,
    pub(super) attempts: u32,
    pub(super) reason: String,
    pub(super) event: Vec<u8>,
}

/// Dead letters with a number above `after`, in the order in which they came.
pub(super) fn dead(
    step: &Transaction<'_>,
    scope: &str,
    after: i64,
    most: u32,
) -> rusqlite::Result<Vec<Dead>> {
    let read = |row: &Row<'_>| {
        Ok(Dead {
            number: row.get(0)?,
            received_at: Timestamp::from_millis(row.get(1)?),
            died_at: Timestamp::from_millis(row.get(2)?),
            attempts: row.get(3)?,
            reason: row.get::<_, Option<String>>(4)?.unwrap_or_default(),
            event: row.get(5)?,
        })
    };
    step.prepare_cached(
        "SELECT number, received_at, died_at, attempts, reason, event FROM inbox
         WHERE scope = ?1 AND died_at IS NOT NULL AND number > ?2 ORDER BY number LIMIT ?3",
    )?
    .query_map(params![scope, after, most], read)?
    .collect()
}

/// Gives one dead letter, or all of them, a full set of attempts from `now` on.
pub(super) fn revive(
    step: &Transaction<'_>,
    scope: &str,
    number: Option<i64>,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    step.prepare_cached(
        "UPDATE inbox SET died_at = NULL, attempts = 0, due_at = ?3
         WHERE scope = ?1 AND died_at IS NOT NULL AND (?2 IS NULL OR number = ?2)",
    )?
    .execute(params![scope, number, now.as_millis()])
}

/// Deletes a dead letter.
pub(super) fn discard(step: &Transaction<'_>, scope: &str, number: i64) -> rusqlite::Result<Settled> {
    step.prepare_cached("DELETE FROM inbox WHERE scope = ?1 AND number = ?2 AND died_at IS NOT NULL")?
        .execute(params![scope, number])
        .map(settled)
}

/// How many events wait or are at work, and how many are dead.
pub(super) fn count(step: &Transaction<'_>, scope: &str) -> rusqlite::Result<(u64, u64)> {
    let counts = "SELECT count(*) FILTER (WHERE died_at IS NULL), count(*) FILTER (WHERE died_at IS NOT NULL)
         FROM inbox WHERE scope = ?1";
    let (waiting, dead): (i64, i64) =
        step.prepare_cached(counts)?.query_row([scope], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((waiting.unsigned_abs(), dead.unsigned_abs()))
}

pub(super) fn settled(rows: usize) -> Settled {
    if rows > 0 { Settled::Applied } else { Settled::Stale }
}

/// Every attempt began and none ended: the event takes its process down with it, perhaps.
const ABANDONED: &str = "inbox.abandoned";
