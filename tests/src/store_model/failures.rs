//! What went wrong within a window of time: everything that was ever recorded, looked at.
//!
//! What was cancelled is never a failure, so it is not in the log.

use std::collections::BTreeMap;

use waxseal_keys::Timestamp;
use waxseal_sender::id::{ConsumerId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, DeliveryState};
use waxseal_sender::store::{FailureCount, Failures, MOST_FAILURES};

use super::{Entry, State};

/// One row of what was recorded of a delivery.
#[derive(Debug)]
pub(super) struct Logged {
    at: Timestamp,
    event: EventId,
    endpoint: EndpointId,
    consumer: ConsumerId,
    ended: Option<DeliveryState>,
    attempt: Option<Attempt>,
}

impl Logged {
    pub(super) fn of(
        entry: &Entry,
        attempt: Option<&Attempt>,
        ended: Option<DeliveryState>,
        at: Timestamp,
    ) -> Self {
        let (event, endpoint, consumer) = (entry.event, entry.endpoint, entry.consumer.clone());
        Self { at, event, endpoint, consumer, ended, attempt: attempt.cloned() }
    }

    fn is_failure(&self) -> bool {
        match self.ended {
            Some(DeliveryState::Cancelled) => false,
            Some(DeliveryState::Exhausted | DeliveryState::Expired | DeliveryState::Refused) => true,
            _ => self
                .attempt
                .as_ref()
                .and_then(|attempt| attempt.status)
                .is_some_and(|s| (400..500).contains(&s)),
        }
    }
}

impl State {
    /// What is removed of an event is not counted any more.
    pub(super) fn forget_log(&mut self, event: EventId) {
        self.log.retain(|row| row.event != event);
    }

    pub(super) fn failures(&self, from: Timestamp, until: Timestamp) -> Failures {
        let mut counts: BTreeMap<String, FailureCount> = BTreeMap::new();
        let failed = self.log.iter().filter(|row| row.at >= from && row.at < until && row.is_failure());
        for row in failed {
            let event_type = &self.events[&row.event].event_type;
            let (state, attempt) = (row.ended, row.attempt.as_ref());
            let result = attempt.map(|attempt| attempt.result.clone());
            let key = format!("{} {event_type} {state:?} {result:?}", row.endpoint);
            let count = counts.entry(key).or_insert_with(|| FailureCount {
                endpoint: row.endpoint,
                consumer: row.consumer.clone(),
                event_type: event_type.clone(),
                state,
                result,
                count: 0,
                clock_skew_seconds: None,
            });
            count.count += 1;
            let skew = attempt.and_then(|attempt| attempt.clock_skew_seconds);
            let skews = count.clock_skew_seconds.into_iter().chain(skew);
            count.clock_skew_seconds = skews.max_by_key(|skew| skew.unsigned_abs());
        }
        assert!(self.log.len() < MOST_FAILURES, "the model does not cut");
        Failures { counts: counts.into_values().collect(), is_cut: false }
    }
}
