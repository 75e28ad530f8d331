//! Tells the other nodes how the endpoints do that this one works on: whoever is asked about one of them may be another.
//!
//! What is otherwise is told; and all of it from time to time, and when the last word may not have been kept.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::told::told;
use crate::clock_watch::this_instant;
use crate::engine::condition::EndpointState;
use crate::engine::shared::{Phase, Shared};
use crate::engine::verification::Verifier;
use crate::id::EndpointId;
use crate::store::{Cluster, ToldCondition, ToldConditions};

/// Tells until the engine stops; leaving takes back what was told.
pub(in crate::engine) async fn tell(shared: Arc<Shared>, verifier: Arc<Verifier>, cluster: Arc<dyn Cluster>) {
    let mut ticks = interval(shared.ownership.policy.tell_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = Said::default();
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shared.wait_for(Phase::Stopping) => return,
        }
        if !shared.ownership.is_trusted() {
            // A node that is away for long is forgotten with what it has said.
            said = Said::default();
            continue;
        }
        let (now, at) = (conditions(&shared, &verifier), this_instant());
        let Some(news) = said.news(&now, at) else { continue };
        let is_all = matches!(news, ToldConditions::All(_));
        match cluster.tell_conditions(shared.ownership.node.id, news).await {
            Ok(()) if is_all => said = Said { conditions: now, all_at: Some(at) },
            Ok(()) => said.conditions = now,
            Err(error) => {
                said = Said::default();
                tracing::warn!(code = error.code(), "other nodes cannot be told how endpoints do");
            }
        }
    }
}

/// What was told, for all that is known here.
#[derive(Debug, Default)]
struct Said {
    conditions: BTreeMap<EndpointId, String>,
    /// When all was told last.
    all_at: Option<Instant>,
}

impl Said {
    /// What to tell now, if anything.
    fn news(&self, now: &BTreeMap<EndpointId, String>, at: Instant) -> Option<ToldConditions> {
        let condition = |(endpoint, told): (&EndpointId, &String)| ToldCondition {
            endpoint: *endpoint,
            told: told.clone(),
        };
        if self.all_at.is_none_or(|all_at| at.saturating_duration_since(all_at) >= ALL_EVERY) {
            return Some(ToldConditions::All(now.iter().map(condition).collect()));
        }
        let is_new =
            |(endpoint, told): &(&EndpointId, &String)| self.conditions.get(*endpoint) != Some(*told);
        let told: Vec<_> = now.iter().filter(is_new).map(condition).collect();
        let over: Vec<_> =
            self.conditions.keys().filter(|endpoint| !now.contains_key(*endpoint)).copied().collect();
        let is_news = !(told.is_empty() && over.is_empty());
        is_news.then_some(ToldConditions::Changed { told, over })
    }
}

/// What is worth telling.
fn conditions(shared: &Shared, verifier: &Verifier) -> BTreeMap<EndpointId, String> {
    let mut states: BTreeMap<EndpointId, EndpointState> =
        shared.with(|schedule, now| schedule.states(now)).into_iter().collect();
    for (endpoint, code) in verifier.waits() {
        states.entry(endpoint).or_default().verification_waits_for = Some(code);
    }
    states.retain(|endpoint, _| shared.ownership.have(*endpoint));
    let told = states.iter().filter_map(|(endpoint, state)| told(*endpoint, state));
    told.map(|told| (told.endpoint, told.told)).collect()
}

/// A database that has lost its last moments has lost some of what was told, and says nothing of it.
const ALL_EVERY: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(of: &[(u8, &str)]) -> BTreeMap<EndpointId, String> {
        of.iter().map(|(number, told)| (EndpointId::from_bytes([*number; 16]), (*told).to_owned())).collect()
    }

    fn told(of: &[(u8, &str)]) -> Vec<ToldCondition> {
        conditions(of).into_iter().map(|(endpoint, told)| ToldCondition { endpoint, told }).collect()
    }

    #[test]
    fn what_is_otherwise_is_told_and_all_of_it_at_first_and_from_time_to_time() {
        let begun = this_instant();
        let now = conditions(&[(1, "held"), (2, "open"), (3, "held")]);
        let all = ToldConditions::All(told(&[(1, "held"), (2, "open"), (3, "held")]));
        assert_eq!(Said::default().news(&now, begun), Some(all.clone()));
        let said = Said { conditions: now.clone(), all_at: Some(begun) };
        assert_eq!(said.news(&now, begun + Duration::from_secs(59)), None);
        assert_eq!(said.news(&now, begun + ALL_EVERY), Some(all));

        let later = conditions(&[(2, "half open"), (3, "held"), (4, "held")]);
        let (told, over) = (told(&[(2, "half open"), (4, "held")]), vec![EndpointId::from_bytes([1; 16])]);
        assert_eq!(said.news(&later, begun), Some(ToldConditions::Changed { told, over }));
    }
}
