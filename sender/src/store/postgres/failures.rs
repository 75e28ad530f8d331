//! What went wrong within a window of time, from an index that holds nothing else.

use waxseal_keys::Timestamp;

use super::connect::Session;
use super::failure::Failure;
use super::values::{consumer_id, counted, endpoint_id, final_state, get};
use crate::model::delivery::DeliveryState;
use crate::store::{FailureCount, Failures, MOST_FAILURES};

/// Counts what was recorded from `from` on and before `until`, the earliest first if there is too much of it.
pub(super) async fn failures(
    session: &Session,
    from: Timestamp,
    until: Timestamp,
) -> Result<Failures, Failure> {
    let most = i64::try_from(MOST_FAILURES).unwrap_or(i64::MAX);
    let rows = session.query(FAILURES, &[&from.as_millis(), &until.as_millis(), &most]).await?;
    let (mut found, mut looked_at) = (Failures::default(), 0);
    for row in &rows {
        let state = get::<Option<i16>>(row, 3)?.map(final_state).transpose()?;
        let count = counted(row, 5)?;
        looked_at += count;
        // Somebody wanted it so.
        if state == Some(DeliveryState::Cancelled) {
            continue;
        }
        let (least, most): (Option<i32>, Option<i32>) = (get(row, 6)?, get(row, 7)?);
        found.counts.push(FailureCount {
            endpoint: endpoint_id(row, 0)?,
            consumer: consumer_id(row, 1)?,
            event_type: get(row, 2)?,
            state,
            result: get(row, 4)?,
            count,
            clock_skew_seconds: least.into_iter().chain(most).max_by_key(|skew| skew.unsigned_abs()),
        });
    }
    found.is_cut = usize::try_from(looked_at).is_ok_and(|looked_at| looked_at >= MOST_FAILURES);
    Ok(found)
}

const FAILURES: &str =
    "WITH found AS MATERIALIZED (
         SELECT delivery, endpoint, state, result, clock_skew FROM attempts
             WHERE recorded_at >= $1 AND recorded_at < $2 AND (state > 1 OR status BETWEEN 400 AND 499)
             ORDER BY recorded_at LIMIT $3)
     SELECT f.endpoint, r.consumer, e.event_type, f.state, f.result, count(*), min(f.clock_skew), max(f.clock_skew)
         FROM found f
         JOIN routes r ON r.endpoint = f.endpoint
         JOIN deliveries d ON d.id = f.delivery
         JOIN events e ON e.id = d.event
         GROUP BY f.endpoint, r.consumer, e.event_type, f.state, f.result";
