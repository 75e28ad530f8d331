//! What an attempt says of its endpoint: into the schedule, and with the settlement onto disk.
//!
//! Guarantees that what the store has of an endpoint's health is what the schedule last said, as soon as no
//! settlement of the endpoint is under way; and that an endpoint which is well costs nothing here.

use std::time::Duration;

use super::breaker::Observation;
use super::claim::Claim;
use super::schedule::{HealthChange, Observed, Wrote};
use super::settle::Record;
use super::shared::{Shared, insist};
use crate::directory::HealthEdit;
use crate::id::EndpointId;
use crate::model::health::EndpointHealth;
use crate::store::{RecordChange, Settled};

/// A change to what is kept of an endpoint's health, on its way to the store; mostly there is none.
#[derive(Debug)]
pub(super) struct HealthWrite<'a> {
    endpoint: EndpointId,
    change: Option<HealthChange>,
    edit: Option<HealthEdit<'a>>,
}

/// Tells the schedule how an attempt went, and the log if that opened or closed the breaker.
pub(super) fn observe(shared: &Shared, claim: &Claim, record: &Record, took: Duration) -> Observed {
    let delivery = &claim.delivery;
    let jitter = shared.jitter(delivery.id, !delivery.attempts_made);
    let seen = Observation::of(&record.report, record.acceptance, took, claim.kind, jitter, record.ended_at);
    let policy = &shared.parts.policy.breaker;
    let observed = shared.with(|schedule, now| schedule.observe(delivery.endpoint, &seen, policy, now));
    match &observed.write {
        Some(HealthChange::Keep(EndpointHealth { endpoint, failing_since, open: Some(open), .. })) => {
            let seconds = open.probe_at.duration_since(record.ended_at).as_secs();
            tracing::info!(%endpoint, %failing_since, probes = open.failed_probes, seconds, "the breaker is open");
        }
        Some(HealthChange::Keep(EndpointHealth { endpoint, failing_since, open: None, .. })) => {
            tracing::info!(%endpoint, %failing_since, "the endpoint keeps failing");
        }
        Some(HealthChange::Forget) => {
            tracing::info!(endpoint = %delivery.endpoint, "the endpoint works again");
        }
        None => {}
    }
    observed
}

impl<'a> HealthWrite<'a> {
    /// Prepares the write; there is none to an endpoint that is gone.
    pub(super) fn begin(shared: &'a Shared, endpoint: EndpointId, change: Option<HealthChange>) -> Self {
        let health = change.clone().map(|change| match change {
            HealthChange::Keep(health) => Some(health),
            HealthChange::Forget => None,
        });
        let edit = health.and_then(|health| shared.parts.directory.begin_health(endpoint, health).ok());
        Self { endpoint, change, edit }
    }

    /// What to write.
    pub(super) fn change(&self) -> Option<RecordChange> {
        self.edit.as_ref().map(HealthEdit::change)
    }

    /// Reports what became of it, and writes what has changed meanwhile.
    pub(super) async fn end(self, shared: &Shared, settled: Settled) {
        let (mut write, mut wrote) = (self, settled == Settled::Recorded);
        while let Some(change) = write.change {
            if let Some(edit) = write.edit.filter(|_| wrote) {
                edit.adopt();
            }
            let outcome = if wrote { Wrote::Done } else { Wrote::Nothing };
            let next =
                shared.with(|schedule, now| schedule.health_written(write.endpoint, change, outcome, now));
            write = HealthWrite::begin(shared, write.endpoint, next);
            let Some(record) = write.change() else { return };
            insist("health", || shared.parts.store.change(vec![record.clone()])).await;
            wrote = true;
        }
    }
}
