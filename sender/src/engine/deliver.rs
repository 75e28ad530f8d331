//! One delivery: seal, post, judge, settle.
//!
//! Phase decides meaning. Before the POST nothing counts: what goes wrong there parks the endpoint and leaves the
//! delivery as it was. From the POST on there is an attempt, and it is recorded whatever it came to.

use std::sync::Arc;

use super::claim::{Claim, End};
use super::driver::cancel;
use super::seal::{Sealed, Unsealed, seal};
use super::settle::{Record, settle, settle_without_post};
use super::shared::Shared;
use super::verdict::{Acceptance, History, Reason, Verdict, judge};
use crate::model::delivery::{DeliveryState, LiveDelivery};

/// Makes deliveries, one after the other, as long as there is one whose turn it is.
pub(super) async fn work(shared: Arc<Shared>, claim: Claim) {
    let mut next = Some(claim);
    while let Some(mut claim) = next {
        let end = deliver(&shared, &mut claim).await;
        next = shared.exchange(claim, end);
    }
}

async fn deliver(shared: &Arc<Shared>, claim: &mut Claim) -> End {
    let mut may_change_key = true;
    loop {
        // Before anything else: what has run out is not even held any more.
        if claim.delivery.expires_at.is_some_and(|expires_at| expires_at <= shared.parts.clock.now()) {
            return settle_without_post(shared, claim, DeliveryState::Expired, None).await;
        }
        let sealed = match seal(shared, claim).await {
            Ok(sealed) => sealed,
            Err(unsealed) => return give_up(shared, claim, unsealed).await,
        };
        let started_at = shared.parts.clock.now();
        let Sealed { endpoint, token, signing_kid, encryption_kid } = sealed;
        let report = shared.parts.egress.post(&endpoint.url, token).await;
        let now = shared.parts.clock.now();

        let LiveDelivery { attempts_made, expires_at, .. } = claim.delivery;
        let acceptance = Acceptance::of(&endpoint);
        let history = History { attempts_made, expires_at, acceptance };
        let jitter = shared.jitter(claim.delivery.id, history.attempts_made);
        let policy = shared.parts.policy.retry.of(&endpoint);
        let mut verdict = judge(&report, &history, &policy, now, jitter);

        let other_key = match (&encryption_kid, verdict) {
            (Some(kid), Verdict::Retry { reason, .. }) if may_change_key && reason.asks_for_other_key() => {
                shared.parts.consumer_keys.refresh_after_invalid_key(&endpoint, kid).await
            }
            _ => false,
        };
        if other_key {
            verdict = Verdict::Retry { at: now, reason: Reason::InvalidKey };
        }
        let record = Record { started_at, ended_at: now, signing_kid, encryption_kid, report, acceptance };
        match settle(shared, claim, record, verdict).await {
            End::Again { delivery, .. } if other_key => {
                claim.delivery = delivery;
                may_change_key = false;
            }
            end => return end,
        }
    }
}

/// Nothing was posted.
async fn give_up(shared: &Arc<Shared>, claim: &Claim, unsealed: Unsealed) -> End {
    match unsealed {
        Unsealed::Held(hold) => {
            tracing::debug!(delivery = %claim.delivery.id, hold = hold.code(), "held");
            End::Held(hold)
        }
        Unsealed::EndpointGone => {
            cancel(Arc::clone(shared), claim.delivery.endpoint).await;
            End::Left
        }
        Unsealed::Cancelled => settle_without_post(shared, claim, DeliveryState::Cancelled, None).await,
        Unsealed::Refused(code) => {
            settle_without_post(shared, claim, DeliveryState::Refused, Some(code)).await
        }
    }
}
