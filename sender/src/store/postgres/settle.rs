//! `settle` and `cancel`: how deliveries leave the live table, or wait in it for another attempt.

use std::collections::{BTreeSet, HashSet};

use futures_util::future::try_join;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{delivery_id, integer, millis, shard_of, state_number, uuid};
use super::withdrawn;
use crate::id::EndpointId;
use crate::model::delivery::{Attempt, DeliveryState};
use crate::store::{Outcome, Settlement};

/// Refuses a settlement that contradicts itself, before it comes into company.
pub(super) fn check(settlement: &Settlement) -> Result<(), Failure> {
    if let Outcome::Final(state) = settlement.outcome
        && state_number(state).is_none()
    {
        return Err(Failure::corrupt("settlement: the state in which it ends is not final"));
    }
    let next = settlement.delivery.attempts_made + 1;
    if settlement.attempt.as_ref().is_some_and(|attempt| attempt.number != next) {
        return Err(Failure::corrupt("settlement: its attempt is out of order"));
    }
    Ok(())
}

/// The rows of some settlements of different deliveries, column by column.
#[derive(Debug, Default)]
pub(super) struct Ends<'s> {
    shard: Vec<i16>,
    endpoint: Vec<Uuid>,
    id: Vec<Uuid>,
    attempts_made: Vec<i32>,
    state: Vec<Option<i16>>,
    due_at: Vec<Option<i64>>,
    recorded_at: Vec<i64>,
    number: Vec<Option<i32>>,
    started_at: Vec<Option<i64>>,
    duration_ms: Vec<Option<i64>>,
    status: Vec<Option<i32>>,
    result: Vec<Option<&'s str>>,
    signing_kid: Vec<Option<&'s str>>,
    encryption_kid: Vec<Option<&'s str>>,
    excerpt: Vec<Option<&'s [u8]>>,
    next_at: Vec<Option<i64>>,
    clock_skew: Vec<Option<i32>>,
    /// Whose deliveries are cancelled.
    withdrawn: BTreeSet<Uuid>,
}

impl<'s> Ends<'s> {
    /// Of these settlements.
    pub(super) fn of(settlements: &[&'s Settlement]) -> Result<Self, Failure> {
        let mut all = Self::default();
        for settlement in settlements {
            check(settlement)?;
            all.add(settlement);
        }
        Ok(all)
    }

    fn add(&mut self, settlement: &'s Settlement) {
        let delivery = &settlement.delivery;
        let (state, due_at) = match settlement.outcome {
            Outcome::Final(state) => (state_number(state), None),
            Outcome::Again { due_at } => (None, Some(due_at)),
        };
        if settlement.outcome == Outcome::Final(DeliveryState::Cancelled) {
            self.withdrawn.insert(uuid(delivery.endpoint.as_bytes()));
        }
        self.shard.push(shard_of(delivery.endpoint));
        self.endpoint.push(uuid(delivery.endpoint.as_bytes()));
        self.id.push(uuid(delivery.id.as_bytes()));
        self.attempts_made.push(integer(delivery.attempts_made));
        self.state.push(state);
        self.due_at.push(millis(due_at));
        self.recorded_at.push(settlement.at.as_millis());
        let attempt = settlement.attempt.as_ref();
        self.number.push(attempt.map(|attempt| integer(attempt.number)));
        self.started_at.push(attempt.map(|attempt| attempt.started_at.as_millis()));
        self.duration_ms.push(attempt.map(|attempt| i64::from(attempt.duration_ms)));
        self.status.push(attempt.and_then(|attempt| attempt.status.map(i32::from)));
        self.result.push(attempt.map(|attempt| &*attempt.result));
        self.signing_kid.push(attempt.map(|attempt| &*attempt.signing_kid));
        self.encryption_kid.push(attempt.and_then(|attempt| attempt.encryption_kid.as_deref()));
        self.excerpt.push(attempt.map(|attempt| &*attempt.excerpt));
        self.next_at.push(millis(attempt.and_then(|attempt| attempt.next_at)));
        self.clock_skew.push(attempt.and_then(|attempt: &Attempt| attempt.clock_skew_seconds));
    }

    /// Records each if its delivery is live and has had exactly the attempts that the engine knew of; says of each
    /// whether it was so. The fence is part of the write that takes the row, and nothing is written of one that fails it.
    pub(super) async fn write(&self, session: &Session) -> Result<Vec<bool>, Failure> {
        let columns: [&(dyn ToSql + Sync); 17] = [
            &self.shard,
            &self.endpoint,
            &self.id,
            &self.attempts_made,
            &self.state,
            &self.due_at,
            &self.recorded_at,
            &self.number,
            &self.started_at,
            &self.duration_ms,
            &self.status,
            &self.result,
            &self.signing_kid,
            &self.encryption_kid,
            &self.excerpt,
            &self.next_at,
            &self.clock_skew,
        ];
        let withdrawn: Vec<Uuid> = self.withdrawn.iter().copied().collect();
        // Both leave together: a commit may leave with them. That one was over by then does no harm.
        let (rows, ()) =
            try_join(session.query(SETTLE, &columns), withdrawn::note(session, &withdrawn)).await?;
        let mut recorded = HashSet::new();
        for row in rows {
            recorded.insert(uuid(delivery_id(&row, 0)?.as_bytes()));
        }
        Ok(self.id.iter().map(|id| recorded.contains(id)).collect())
    }
}

/// What is done with deliveries that are being settled just now. Settlements lock theirs in no particular order: who holds
/// some of them must not wait for others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Locked {
    /// They are left out.
    Left,
    /// They are waited for.
    Awaited,
}

/// Cancels live deliveries of an endpoint, those first that are due first, at most so many; returns how many.
pub(super) async fn cancel(
    session: &Session,
    endpoint: EndpointId,
    most: u32,
    locked: Locked,
    now: Timestamp,
) -> Result<u32, Failure> {
    let (shard, endpoint) = (shard_of(endpoint), uuid(endpoint.as_bytes()));
    let state = state_number(DeliveryState::Cancelled);
    let sql = match locked {
        Locked::Left => CANCEL_FREE,
        Locked::Awaited => CANCEL,
    };
    let cancelled =
        session.execute(sql, &[&shard, &endpoint, &i64::from(most), &state, &now.as_millis()]).await?;
    if cancelled > 0 {
        withdrawn::note(session, &[endpoint]).await?;
    }
    Ok(u32::try_from(cancelled).unwrap_or(u32::MAX))
}

/// The shard is looked for as one of a list, of itself: nothing but a look into the key for each is possible then, whatever the
/// planner thinks of the table; by a plain equation it would walk over all of a table that it takes for empty. And rows are
/// not compared as wholes: that finds the entry at once, and then goes on to the end of the shard.
pub(super) const SETTLE: &str =
    "WITH given AS MATERIALIZED (
         SELECT * FROM unnest($1::smallint[], $2::uuid[], $3::uuid[], $4::integer[], $5::smallint[], $6::bigint[],
                              $7::bigint[], $8::integer[], $9::bigint[], $10::bigint[], $11::integer[], $12::text[],
                              $13::text[], $14::text[], $15::bytea[], $16::bigint[], $17::integer[])
             AS g (shard, endpoint, id, known, state, due_at, recorded_at, number, started_at, duration_ms, status,
                   result, signing_kid, encryption_kid, excerpt, next_at, clock_skew)),
     gone AS (
         DELETE FROM delivery_live l USING given g
             WHERE g.state IS NOT NULL AND l.shard = ANY (ARRAY[g.shard])
                 AND l.endpoint = g.endpoint AND l.id = g.id AND l.attempts_made = g.known
             RETURNING g.*),
     again AS (
         UPDATE delivery_live l
             SET due_at = g.due_at, attempts_made = l.attempts_made + CASE WHEN g.number IS NULL THEN 0 ELSE 1 END
             FROM given g
             WHERE g.state IS NULL AND l.shard = ANY (ARRAY[g.shard])
                 AND l.endpoint = g.endpoint AND l.id = g.id AND l.attempts_made = g.known
             RETURNING g.*),
     logged AS (
         INSERT INTO attempts (delivery, number, endpoint, state, recorded_at, started_at, duration_ms, status, result,
                               signing_kid, encryption_kid, excerpt, next_at, clock_skew)
             SELECT id, coalesce(number, 0), endpoint, state, recorded_at, started_at, duration_ms, status, result,
                    signing_kid, encryption_kid, excerpt, next_at, clock_skew FROM gone
             UNION ALL
             SELECT id, number, endpoint, state, recorded_at, started_at, duration_ms, status, result,
                    signing_kid, encryption_kid, excerpt, next_at, clock_skew FROM again WHERE number IS NOT NULL)
     SELECT id FROM gone UNION ALL SELECT id FROM again";

/// Cancels the first deliveries of an endpoint, those that are locked as it is said.
macro_rules! cancel {
    ($locked:literal) => {
        concat!(
            "WITH next AS MATERIALIZED (
         SELECT shard, endpoint, id FROM delivery_live
             WHERE shard::bigint >= 0 AND shard::bigint = $1::smallint AND endpoint = $2
             ORDER BY due_at, id LIMIT $3 FOR UPDATE ",
            $locked,
            "),
     gone AS (
         DELETE FROM delivery_live l USING next s
             WHERE l.shard = ANY (ARRAY[s.shard]) AND l.endpoint = s.endpoint AND l.id = s.id
             RETURNING l.id, l.endpoint)
     INSERT INTO attempts (delivery, number, endpoint, state, recorded_at)
         SELECT id, 0, endpoint, $4::smallint, $5::bigint FROM gone"
        )
    };
}

const CANCEL: &str = cancel!("");

const CANCEL_FREE: &str = cancel!("SKIP LOCKED");
