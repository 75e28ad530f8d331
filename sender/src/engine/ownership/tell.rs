//! Tells the other nodes how the endpoints do that this one works on: whoever is asked about one of them may be another.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::{MissedTickBehavior, interval};

use super::told::told;
use crate::engine::condition::EndpointState;
use crate::engine::shared::{Phase, Shared};
use crate::engine::verification::Verifier;
use crate::id::EndpointId;
use crate::store::{Cluster, ToldCondition};

/// Tells until the engine stops; leaving takes back what was told.
pub(in crate::engine) async fn tell(shared: Arc<Shared>, verifier: Arc<Verifier>, cluster: Arc<dyn Cluster>) {
    let mut ticks = interval(shared.ownership.policy.tell_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Vec::new();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.wait_for(Phase::Stopping) => return,
        }
        if !shared.ownership.is_trusted() {
            continue;
        }
        let now = conditions(&shared, &verifier);
        if now == last {
            continue;
        }
        match cluster.tell_conditions(shared.ownership.node.id, now.clone()).await {
            Ok(()) => last = now,
            Err(error) => tracing::warn!(code = error.code(), "other nodes cannot be told how endpoints do"),
        }
    }
}

/// What is worth telling, in the order of ids.
fn conditions(shared: &Shared, verifier: &Verifier) -> Vec<ToldCondition> {
    let mut states: BTreeMap<EndpointId, EndpointState> =
        shared.with(|schedule, now| schedule.states(now)).into_iter().collect();
    for (endpoint, code) in verifier.waits() {
        states.entry(endpoint).or_default().verification_waits_for = Some(code);
    }
    states.retain(|endpoint, _| shared.ownership.have(*endpoint));
    states.iter().filter_map(|(endpoint, state)| told(*endpoint, state)).collect()
}
