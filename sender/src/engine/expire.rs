//! Ends what has run out while it waited: behind a pause, for a key, in a long backlog, for its next attempt.
//!
//! Relies on the store to find it. Guarantees that a delivery that is in flight is left to its attempt: one that is
//! claimed after its time is not posted, so whatever is in flight here began before.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::shared::Shared;
use crate::id::EndpointId;
use crate::model::delivery::{DeliveryState, LiveDelivery};
use crate::store::{Outcome, Settled, Settlement};

/// Looks for what has run out and ends it, a page at a time, until there is no more.
pub(super) async fn sweep(shared: Arc<Shared>) {
    let Some(_only) = shared.begin_sweep() else { return };
    loop {
        let in_flight = shared.with(|schedule, _| schedule.in_flight());
        // What is in flight may stand first in every page until its attempt has ended.
        let limit = u32::try_from(in_flight).unwrap_or(u32::MAX).saturating_add(PAGE);
        let now = shared.parts.clock.now();
        let owned = shared.with(|schedule, _| schedule.owned());
        if owned.is_empty() || !shared.ownership.is_trusted() {
            return;
        }
        let mut found = match shared.parts.store.expired(owned, now, limit).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(code = error.code(), "expired deliveries cannot be found");
                return;
            }
        };
        let more = u32::try_from(found.len()).is_ok_and(|found| found >= limit);
        shared.with(|schedule, _| found.retain(|one| !schedule.is_in_flight(one.endpoint, one.id)));
        let ended = join_all(found.into_iter().map(|one| end(&shared, one))).await;
        let mut of_endpoint: BTreeMap<EndpointId, Vec<_>> = BTreeMap::new();
        for one in ended.into_iter().flatten() {
            of_endpoint.entry(one.endpoint).or_default().push(one.id);
        }
        if of_endpoint.is_empty() {
            return;
        }
        shared.with(|schedule, now| {
            for (endpoint, ids) in &of_endpoint {
                schedule.withdraw(*endpoint, ids, now);
            }
        });
        shared.pump();
        if !more {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}

/// Ends one, unless an attempt was recorded meanwhile or the store cannot: then the next sweep finds it again.
async fn end(shared: &Shared, delivery: LiveDelivery) -> Option<LiveDelivery> {
    let settlement = Settlement {
        delivery: delivery.clone(),
        attempt: None,
        outcome: Outcome::Final(DeliveryState::Expired),
        at: shared.parts.clock.now(),
        changes: Vec::new(),
    };
    match shared.parts.store.settle(settlement).await {
        Ok(Settled::Recorded) => {
            tracing::info!(delivery = %delivery.id, endpoint = %delivery.endpoint, "expired");
            shared.meters.ended("expired", 1);
            Some(delivery)
        }
        Ok(Settled::Stale) => None,
        Err(error) => {
            tracing::warn!(delivery = %delivery.id, code = error.code(), "an expired delivery cannot be ended");
            None
        }
    }
}

/// How many are ended at once: one commit.
const PAGE: u32 = 256;

/// Between two pages, so that a large backlog that runs out at once takes its turns with everything else.
const REST: Duration = Duration::from_millis(50);
