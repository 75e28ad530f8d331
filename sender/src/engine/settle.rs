//! What an attempt came to, written down: one fenced write with everything that follows from it.
//!
//! Guarantees that the write is repeated until the store has it or says that it is stale. While that takes, the
//! delivery stays in flight: it was posted, and only a crash may post it again.

use std::sync::Arc;
use std::time::Duration;

use waxseal_keys::Timestamp;

use super::claim::{Claim, End};
use super::hold::Hold;
use super::observe::{HealthWrite, observe};
use super::post::{Answer, PostError};
use super::schedule::Observed;
use super::shared::{Shared, insist};
use super::verdict::{Acceptance, Reason, Verdict, result_code};
use crate::directory::{ChangeError, PauseEdit};
use crate::id::EndpointId;
use crate::model::delivery::{Attempt, DeliveryState, LiveDelivery};
use crate::model::endpoint::{Endpoint, PauseReason};
use crate::store::{Outcome, Settled, Settlement, StoreError};

/// One POST, as it went.
#[derive(Debug)]
pub(super) struct Record {
    /// As it was when the token was made.
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) started_at: Timestamp,
    pub(super) ended_at: Timestamp,
    pub(super) signing_kid: String,
    pub(super) encryption_kid: Option<String>,
    pub(super) report: Result<Answer, PostError>,
    pub(super) acceptance: Acceptance,
}

impl Record {
    fn code(&self) -> &'static str {
        result_code(&self.report, self.acceptance)
    }

    /// How far the receiver's clock is from ours, if that is notable.
    fn skew(&self) -> Option<i32> {
        self.report.as_ref().ok()?.clock_skew_at(self.ended_at)
    }
}

/// Settles an attempt as the verdict says.
pub(super) async fn settle(shared: &Shared, claim: &Claim, record: Record, verdict: Verdict) -> End {
    let (outcome, result) = match verdict {
        Verdict::Delivered => (Outcome::Final(DeliveryState::Delivered), "delivered"),
        Verdict::Retry { at, .. } => (Outcome::Again { due_at: at }, "retry"),
        Verdict::Exhausted { .. } => (Outcome::Final(DeliveryState::Exhausted), "exhausted"),
        Verdict::Expired => (Outcome::Final(DeliveryState::Expired), "expired"),
        Verdict::Refused { .. } => (Outcome::Final(DeliveryState::Refused), "refused"),
        Verdict::Cancelled => (Outcome::Final(DeliveryState::Cancelled), "cancelled"),
        Verdict::PauseEndpoint { at, .. } => (Outcome::Again { due_at: at }, "paused"),
        Verdict::Released => return End::Left,
    };
    let took = record.ended_at.duration_since(record.started_at);
    let Observed { give_up, write: health } = observe(shared, claim, &record, took);
    let reason = reason_to_pause(verdict, give_up);
    let health = HealthWrite::begin(shared, claim.delivery.endpoint, health);
    let code = record.code();
    tell(shared, claim, &record, result, took);
    let mut settlement = Settlement {
        delivery: claim.delivery.clone(),
        outcome,
        at: record.ended_at,
        changes: Vec::new(),
        attempt: Some(attempt(shared, claim, &record, outcome, took)),
    };
    let attempts_made = claim.delivery.attempts_made.saturating_add(1);
    let (settled, pause) = loop {
        let pause = begin_pause(shared, &record, reason).await;
        settlement.changes = pause.iter().flat_map(PauseEdit::changes).chain(health.change()).collect();
        // Superseded, it is asked anew whether there is anything to pause.
        if let Some(settled) = write(shared, &settlement).await {
            break (settled, pause);
        }
    };
    health.end(shared, settled).await;
    match settled {
        Settled::Recorded => {}
        Settled::Stale => {
            forget_if_gone(shared, claim.delivery.endpoint);
            return End::Left;
        }
    }
    shared.meters.ended(result, 1);
    let hold = pause.map(|pause| {
        pause.adopt();
        let (endpoint, delivery) = (claim.delivery.endpoint, claim.delivery.id);
        metrics::counter!("waxseal_endpoint_paused_total", "because" => code).increment(1);
        tracing::warn!(%endpoint, %delivery, because = code, "the endpoint is paused because of what it answered");
        Hold::EndpointPaused
    });
    match outcome {
        Outcome::Final(_) => End::Final,
        Outcome::Again { due_at } => {
            let delivery = LiveDelivery { due_at, attempts_made, ..claim.delivery.clone() };
            End::Again { delivery, hold }
        }
    }
}

/// How an endpoint does that was deleted while it was posted to is of no use to anybody.
fn forget_if_gone(shared: &Shared, endpoint: EndpointId) {
    if shared.parts.directory.endpoint(endpoint).is_none() {
        shared.with(|schedule, now| schedule.clear(endpoint, now));
    }
}

/// Ends a delivery of which nothing can be posted; with a code, that is on record as an attempt without a POST.
pub(super) async fn settle_without_post(
    shared: &Shared,
    claim: &Claim,
    state: DeliveryState,
    code: Option<&'static str>,
) -> End {
    let at = shared.parts.clock.now();
    let attempt = code.map(|code| Attempt {
        number: claim.delivery.attempts_made.saturating_add(1),
        started_at: at,
        duration_ms: 0,
        status: None,
        result: code.to_owned(),
        signing_kid: String::new(),
        encryption_kid: None,
        excerpt: Vec::new(),
        next_at: None,
        clock_skew_seconds: None,
    });
    let outcome = Outcome::Final(state);
    let settlement =
        Settlement { delivery: claim.delivery.clone(), attempt, outcome, at, changes: Vec::new() };
    match write(shared, &settlement).await {
        Some(Settled::Recorded) => {
            let result = match state {
                DeliveryState::Refused => "refused",
                DeliveryState::Expired => "expired",
                _ => "cancelled",
            };
            shared.meters.ended(result, 1);
            End::Final
        }
        Some(Settled::Stale) | None => End::Left,
    }
}

/// `None`: another node has changed the configuration since its changes were made, and nothing was written.
async fn write(shared: &Shared, settlement: &Settlement) -> Option<Settled> {
    let written = insist("settle", || async {
        match shared.parts.store.settle(settlement.clone()).await {
            Err(StoreError::Superseded) => Ok(None),
            settled => settled.map(Some),
        }
    });
    let settled = written.await;
    if settled == Some(Settled::Stale) {
        let delivery = &settlement.delivery;
        tracing::info!(delivery = %delivery.id, endpoint = %delivery.endpoint, "somebody else settled it meanwhile");
        shared.meters.ended("stale", 1);
    }
    settled
}

/// Why the endpoint is to be paused: the verdict asks for it, or it is due for it.
fn reason_to_pause(verdict: Verdict, give_up: bool) -> Option<PauseReason> {
    match verdict {
        Verdict::PauseEndpoint { reason, .. } => Some(reason),
        _ if give_up => Some(PauseReason::Failing),
        _ => None,
    }
}

/// The pause for this reason, unless the endpoint is paused or gone already, or it is another server by now.
async fn begin_pause<'a>(
    shared: &'a Shared,
    record: &Record,
    reason: Option<PauseReason>,
) -> Option<PauseEdit<'a>> {
    let reason = reason?;
    let begun = insist("pause", || async {
        match shared.parts.directory.begin_pause(&record.endpoint, reason, record.ended_at).await {
            // With several nodes, the turn is the store's to give.
            Err(ChangeError::Store(error)) if !matches!(error, StoreError::Corrupt { .. }) => Err(error),
            begun => Ok(begun),
        }
    });
    begun.await.unwrap_or_else(|error| {
        tracing::warn!(endpoint = %record.endpoint.id, code = error.code(), "the endpoint cannot be paused");
        None
    })
}

fn attempt(shared: &Shared, claim: &Claim, record: &Record, outcome: Outcome, took: Duration) -> Attempt {
    let number = claim.delivery.attempts_made.saturating_add(1);
    let (result, clock_skew_seconds) = (record.code().to_owned(), record.skew());
    let (status, excerpt) = match &record.report {
        Ok(answer) => (Some(answer.status), answer.excerpt.as_slice()),
        Err(_) => (None, [].as_slice()),
    };
    let key = shared.parts.data_keys.of(&claim.delivery.consumer).filter(|_| !excerpt.is_empty());
    let context = || format!("attempt|{}|{number}", claim.delivery.id);
    Attempt {
        number,
        started_at: record.started_at,
        duration_ms: u32::try_from(took.as_millis()).unwrap_or(u32::MAX),
        status,
        result,
        signing_kid: record.signing_kid.clone(),
        encryption_kid: record.encryption_kid.clone(),
        excerpt: key.map(|key| key.encrypt(context().as_bytes(), excerpt)).unwrap_or_default(),
        next_at: match outcome {
            Outcome::Final(_) => None,
            Outcome::Again { due_at } => Some(due_at),
        },
        clock_skew_seconds,
    }
}

/// Ids, codes, status and time; never a URL, a payload or a token.
fn tell(shared: &Shared, claim: &Claim, record: &Record, result: &'static str, took: Duration) {
    let LiveDelivery { id, event, endpoint, attempts_made, due_at, .. } = &claim.delivery;
    shared.meters.attempted(took);
    if result == "delivered" {
        if *attempts_made == 0 {
            shared.meters.delivered_at_once(record.ended_at.duration_since(*due_at));
        }
        tracing::debug!(delivery = %id, %event, %endpoint, ms = took.as_millis(), "delivered");
        return;
    }
    let (attempt, code) = (attempts_made.saturating_add(1), record.code());
    let status = record.report.as_ref().ok().map(|answer| answer.status);
    tracing::info!(delivery = %id, %event, %endpoint, attempt, code, status, result, ms = took.as_millis(), "not delivered");
    if Reason::of(&record.report, record.acceptance) == Some(Reason::InvalidRequest) {
        // Either we make what it cannot read, or one of two clocks is wrong. No other answer says that of ours.
        let skew_seconds = record.skew();
        metrics::counter!("waxseal_invalid_request_total").increment(1);
        tracing::warn!(%endpoint, skew_seconds, "the receiver takes what we send for malformed or out of its time");
    }
}
