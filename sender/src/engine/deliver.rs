//! One delivery: seal, post, judge, settle.
//!
//! Phase decides meaning. Before the POST nothing counts: what goes wrong there parks the endpoint and leaves the
//! delivery as it was. From the POST on there is an attempt, and it is recorded whatever it came to.

use std::mem;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use super::claim::{Claim, End};
use super::driver::cancel;
use super::gone::{Gone, is_gone};
use super::post::PostError;
use super::seal::{Sealed, Unsealed, seal};
use super::settle::{Record, settle, settle_without_post};
use super::shared::Shared;
use super::verdict::{Acceptance, History, Reason, Verdict, judge};
use crate::credentials::Shown;
use crate::model::delivery::{DeliveryState, LiveDelivery};
use crate::model::endpoint::Endpoint;

/// Makes deliveries, one after the other, as long as there is one whose turn it is.
pub(super) async fn work(shared: Arc<Shared>, claim: Claim) {
    let mut next = Some(claim);
    while let Some(mut claim) = next {
        let end = match AssertUnwindSafe(deliver(&shared, &mut claim)).catch_unwind().await {
            Ok(end) => end,
            Err(_) => after_panic(&claim).await,
        };
        next = shared.exchange(claim, end);
    }
}

/// The slot of a delivery that a fault of ours has ended is given back; the delivery is read again, a moment later, lest
/// one that always ends so takes all the time there is.
async fn after_panic(claim: &Claim) -> End {
    tracing::error!(delivery = %claim.delivery.id, endpoint = %claim.delivery.endpoint, "a delivery failed inside");
    metrics::counter!("waxseal_engine_panics_total", "what" => "delivery").increment(1);
    tokio::time::sleep(AFTER_FAULT).await;
    End::Left
}

/// Nothing was posted, and that says nothing of the endpoint: no attempt is counted. The slot is given back a moment later.
async fn not_posted(claim: &Claim) -> End {
    let LiveDelivery { id, endpoint, .. } = &claim.delivery;
    tracing::warn!(delivery = %id, %endpoint, "no more connections can be opened; raise the limit on open files");
    metrics::counter!("waxseal_out_of_descriptors_total").increment(1);
    tokio::time::sleep(AFTER_FAULT).await;
    End::Left
}

async fn deliver(shared: &Arc<Shared>, claim: &mut Claim) -> End {
    let mut chances = Chances { other_key: true, other_token: true };
    loop {
        // Before anything else: what has run out is not even held any more.
        if has_expired(shared, claim) {
            return settle_without_post(shared, claim, DeliveryState::Expired, None).await;
        }
        let sealed = match seal(shared, claim).await {
            // It may have waited, for a key set or a token.
            Ok(_) if has_expired(shared, claim) => {
                return settle_without_post(shared, claim, DeliveryState::Expired, None).await;
            }
            Ok(sealed) => sealed,
            Err(unsealed) => return give_up(shared, claim, unsealed).await,
        };
        // The last look before it cannot be taken back: others may have the delivery by now.
        if !shared.may_post(claim) {
            tracing::info!(delivery = %claim.delivery.id, "released, its shard may be in other hands");
            shared.meters.ended("released", 1);
            return End::Left;
        }
        let started_at = shared.parts.clock.now();
        let Sealed { endpoint, token, signing_kid, encryption_kid, shown } = sealed;
        let access = shown.as_deref().map(Shown::access);
        let mut report = shared.parts.egress.post_with(&endpoint.url, token, access).await;
        if let (Ok(answer), Some(shown)) = (&mut report, &shown) {
            shown.mask(endpoint.authentication.as_deref(), &mut answer.excerpt, answer.body);
        }
        if let Err(PostError::OutOfDescriptors) = report {
            return not_posted(claim).await;
        }
        let now = shared.parts.clock.now();

        let LiveDelivery { attempts_made, expires_at, .. } = claim.delivery;
        let acceptance = Acceptance::of(&endpoint);
        let history = History { attempts_made, expires_at, acceptance };
        let jitter = shared.jitter(claim.delivery.id, history.attempts_made);
        let policy = shared.parts.policy.retry.of(&endpoint);
        let mut verdict = judge(&report, &history, &policy, now, jitter);

        let mut at_once = false;
        if let Verdict::Retry { reason, .. } = verdict
            && chances.take(shared, reason, &endpoint, encryption_kid.as_deref(), shown.as_deref()).await
        {
            verdict = Verdict::Retry { at: now, reason };
            at_once = true;
        }
        let record =
            Record { endpoint, started_at, ended_at: now, signing_kid, encryption_kid, report, acceptance };
        match settle(shared, claim, record, verdict).await {
            End::Again { delivery, .. } if at_once => {
                shared.with(|schedule, now| schedule.charge(delivery.endpoint, now));
                claim.delivery = delivery;
            }
            end => return end,
        }
    }
}

fn has_expired(shared: &Shared, claim: &Claim) -> bool {
    claim.delivery.expires_at.is_some_and(|expires_at| expires_at <= shared.parts.clock.now())
}

/// What an attempt may change and then be made again at once, each once.
#[derive(Debug)]
struct Chances {
    other_key: bool,
    other_token: bool,
}

impl Chances {
    /// Whether there is now what the receiver asked for.
    async fn take(
        &mut self,
        shared: &Shared,
        reason: Reason,
        endpoint: &Endpoint,
        used_kid: Option<&str>,
        shown: Option<&Shown>,
    ) -> bool {
        match (used_kid, shown) {
            (Some(kid), _) if reason.asks_for_other_key() && mem::take(&mut self.other_key) => {
                shared.parts.consumer_keys.refresh_after_invalid_key(endpoint, kid).await
            }
            (_, Some(shown)) if reason.asks_for_other_credentials() && mem::take(&mut self.other_token) => {
                shared.parts.credentials.renew_after_refusal(endpoint, shown).await
            }
            _ => false,
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
            if is_gone(shared, claim.delivery.endpoint).await == Gone::Yes {
                cancel(Arc::clone(shared), claim.delivery.endpoint).await;
            }
            End::Left
        }
        // As long as its endpoint is there, so is its consumer.
        Unsealed::Cancelled if is_gone(shared, claim.delivery.endpoint).await == Gone::Unknown => End::Left,
        Unsealed::Cancelled => settle_without_post(shared, claim, DeliveryState::Cancelled, None).await,
        Unsealed::Refused(code) => {
            settle_without_post(shared, claim, DeliveryState::Refused, Some(code)).await
        }
    }
}

/// Before what failed by no fault of its endpoint is claimed again.
const AFTER_FAULT: Duration = Duration::from_secs(1);
