//! What went wrong within a window of time, from an index that holds nothing else.

use rusqlite::{Connection, params};
use waxseal_keys::Timestamp;

use super::failure::Failure;
use super::values::{consumer_id, endpoint_id, final_state};
use crate::model::delivery::DeliveryState;
use crate::store::{FailureCount, Failures, MOST_FAILURES};

/// Counts what was recorded from `from` on and before `until`, the earliest first if there is too much of it.
pub(super) fn failures(
    connection: &Connection,
    from: Timestamp,
    until: Timestamp,
) -> Result<Failures, Failure> {
    let mut statement = connection.prepare_cached(
        "WITH found AS (
             SELECT delivery, route, state, result, clock_skew FROM attempts
                 WHERE recorded_at >= ?1 AND recorded_at < ?2 AND (state > 1 OR status BETWEEN 400 AND 499)
                 ORDER BY recorded_at LIMIT ?3)
         SELECT r.endpoint, r.consumer, e.event_type, f.state, f.result, count(*), min(f.clock_skew), max(f.clock_skew)
             FROM found f CROSS JOIN routes r ON r.no = f.route CROSS JOIN deliveries d ON d.id = f.delivery
                 CROSS JOIN events e ON e.id = d.event
             GROUP BY f.route, e.event_type, f.state, f.result",
    )?;
    let most = i64::try_from(MOST_FAILURES).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![from.as_millis(), until.as_millis(), most])?;
    let (mut found, mut looked_at) = (Failures::default(), 0);
    while let Some(row) = rows.next()? {
        let state = row.get::<_, Option<i64>>(3)?.map(final_state).transpose()?;
        let count = u64::try_from(row.get::<_, i64>(5)?).unwrap_or_default();
        looked_at += count;
        // Somebody wanted it so.
        if state == Some(DeliveryState::Cancelled) {
            continue;
        }
        let (least, most): (Option<i32>, Option<i32>) = (row.get(6)?, row.get(7)?);
        found.counts.push(FailureCount {
            endpoint: endpoint_id(row, 0)?,
            consumer: consumer_id(row, 1)?,
            event_type: row.get(2)?,
            state,
            result: row.get(4)?,
            count,
            clock_skew_seconds: least.into_iter().chain(most).max_by_key(|skew| skew.unsigned_abs()),
        });
    }
    found.is_cut = usize::try_from(looked_at).is_ok_and(|looked_at| looked_at >= MOST_FAILURES);
    Ok(found)
}
