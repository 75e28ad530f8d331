//! What the relay tells of itself: numbers, codes, and never content.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::rows::Backlog;
use super::{Carried, RelayError};

/// A batch has been settled.
pub(super) fn count(carried: &Carried, took: Duration) {
    counter!("waxseal_relay_events_total", "outcome" => "published").increment(carried.published);
    counter!("waxseal_relay_events_total", "outcome" => "refused").increment(carried.refused);
    counter!("waxseal_relay_events_total", "outcome" => "put_off").increment(carried.put_off);
    histogram!("waxseal_relay_batch_seconds").record(took.as_secs_f64());
    let Carried { published, refused, put_off } = *carried;
    tracing::debug!(published, refused, put_off, "settled a batch");
}

/// Nothing could be carried.
pub(super) fn failed(error: &RelayError, wait: Duration) {
    let code = error.code();
    counter!("waxseal_relay_failures_total", "code" => code).increment(1);
    tracing::warn!(code, %error, wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), "nothing was carried");
}

/// The way to the first row was long.
pub(super) fn slow_look(took: Duration) {
    tracing::warn!(
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "reading the outbox from its beginning takes long: what was carried cannot be removed while a long transaction, a \
         prepared one or a replication slot is there that may still see it"
    );
}

/// What waits in the outbox.
pub(super) fn backlog(backlog: &Backlog) {
    gauge!("waxseal_relay_oldest_seconds").set(backlog.oldest_seconds);
    // Counted up to ten thousand.
    let refused = i32::try_from(backlog.refused).unwrap_or(i32::MAX);
    gauge!("waxseal_relay_refused").set(f64::from(refused));
}
