//! `settle` and `cancel`: how deliveries leave the live table, or wait in it for another attempt.

use rusqlite::{OptionalExtension, params};
use waxseal_keys::Timestamp;

use super::catalog;
use super::failure::Failure;
use super::session::Session;
use super::values::state_number;
use crate::id::EndpointId;
use crate::model::delivery::{Attempt, DeliveryState};
use crate::store::{Outcome, Settled, Settlement};

/// Records a settlement if the delivery is live and has had exactly the attempts that the engine knew of. The fence
/// is part of the first write, which finds no row if it does not hold; nothing else has been written by then.
pub(super) fn settle(session: &mut Session, settlement: &Settlement) -> Result<Settled, Failure> {
    let delivery = &settlement.delivery;
    let state = match settlement.outcome {
        Outcome::Final(state) => Some(state_number(state).ok_or_else(not_final)?),
        Outcome::Again { .. } => None,
    };
    if settlement.attempt.as_ref().is_some_and(|attempt| attempt.number != delivery.attempts_made + 1) {
        return Err(Failure::corrupt("settlement: its attempt is out of order"));
    }
    let Some(route) = session.known_route(delivery.endpoint)? else { return Ok(Settled::Stale) };
    if !leave_or_wait(session, route, settlement)? {
        return Ok(Settled::Stale);
    }
    match (&settlement.attempt, state) {
        (Some(attempt), state) => insert_attempt(session, route, settlement, attempt, state)?,
        (None, Some(state)) => insert_end(session, route, settlement, state)?,
        (None, None) => {}
    }
    catalog::change(session, &settlement.changes)?;
    Ok(Settled::Recorded)
}

/// Cancels live deliveries of an endpoint, those first that are due first, at most so many; returns how many.
pub(super) fn cancel(
    session: &mut Session,
    endpoint: EndpointId,
    most: u32,
    now: Timestamp,
) -> Result<u32, Failure> {
    let Some(route) = session.known_route(endpoint)?.filter(|_| most > 0) else { return Ok(0) };
    let last = session
        .prepare(
            "SELECT due_at, id FROM delivery_live WHERE route = ?1 ORDER BY due_at, id LIMIT 1 OFFSET ?2 - 1",
        )?
        .query_row(params![route, most], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (last_due, last_id): (i64, [u8; 16]) = last.unwrap_or((i64::MAX, [u8::MAX; 16]));
    session
        .prepare(
            "INSERT INTO attempts (delivery, number, route, state, recorded_at)
                 SELECT id, 0, route, ?2, ?3 FROM delivery_live WHERE route = ?1 AND (due_at, id) <= (?4, ?5)",
        )?
        .execute(params![
            route,
            state_number(DeliveryState::Cancelled),
            now.as_millis(),
            last_due,
            last_id
        ])?;
    let cancelled = session
        .prepare("DELETE FROM delivery_live WHERE route = ?1 AND (due_at, id) <= (?2, ?3)")?
        .execute(params![route, last_due, last_id])?;
    session.live_change -= i64::try_from(cancelled).unwrap_or(i64::MAX);
    Ok(u32::try_from(cancelled).unwrap_or(u32::MAX))
}

/// Takes the delivery out of the live table or gives it a new due time; says whether the fence held.
fn leave_or_wait(session: &mut Session, route: i64, settlement: &Settlement) -> Result<bool, Failure> {
    let delivery = &settlement.delivery;
    let id = delivery.id.as_bytes();
    let found = match settlement.outcome {
        Outcome::Final(_) => {
            let found = session
                .prepare("DELETE FROM delivery_live WHERE route = ?1 AND id = ?2 AND attempts_made = ?3")?
                .execute(params![route, id, delivery.attempts_made])?;
            session.live_change -= i64::from(found > 0);
            found
        }
        Outcome::Again { due_at } => session
            .prepare(
                "UPDATE delivery_live SET due_at = ?4, attempts_made = attempts_made + ?5
                     WHERE route = ?1 AND id = ?2 AND attempts_made = ?3",
            )?
            .execute(params![
                route,
                id,
                delivery.attempts_made,
                due_at.as_millis(),
                i64::from(settlement.attempt.is_some())
            ])?,
    };
    Ok(found > 0)
}

fn insert_attempt(
    session: &Session,
    route: i64,
    settlement: &Settlement,
    attempt: &Attempt,
    state: Option<i64>,
) -> Result<(), Failure> {
    session
        .prepare(
            "INSERT INTO attempts (delivery, number, route, state, recorded_at, started_at, duration_ms, status,
                                   result, signing_kid, encryption_kid, excerpt, next_at, clock_skew)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            settlement.delivery.id.as_bytes(),
            attempt.number,
            route,
            state,
            settlement.at.as_millis(),
            attempt.started_at.as_millis(),
            attempt.duration_ms,
            attempt.status,
            attempt.result,
            attempt.signing_kid,
            attempt.encryption_kid,
            attempt.excerpt,
            attempt.next_at.map(Timestamp::as_millis),
            attempt.clock_skew_seconds,
        ])?;
    Ok(())
}

/// Row 0: the delivery ended without an attempt.
fn insert_end(session: &Session, route: i64, settlement: &Settlement, state: i64) -> Result<(), Failure> {
    session
        .prepare(
            "INSERT INTO attempts (delivery, number, route, state, recorded_at) VALUES (?1, 0, ?2, ?3, ?4)",
        )?
        .execute(params![settlement.delivery.id.as_bytes(), route, state, settlement.at.as_millis()])?;
    Ok(())
}

fn not_final() -> Failure {
    Failure::corrupt("settlement: the state in which it ends is not final")
}
