//! One attempt: what has to be there, the host's turn, the challenge on disk, the POST, the proof.
//!
//! Guarantees that nothing of an answer but the echo is kept, shown or logged; and that an attempt is on record before
//! it is made, so that however it ends it counts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::timeout;
use waxseal_envelope::{Data, Event, EventType, VERIFICATION};
use waxseal_keys::Timestamp;

use super::state::{State, echoed};
use super::{HOST_LIMIT, VerificationPolicy, Verifier, lock};
use crate::credentials::Shown;
use crate::engine::hold::Hold;
use crate::engine::post::{Answer, PostError};
use crate::engine::seal::{Prepared, Purpose, Unsealed, prepare, token_id};
use crate::id::{EndpointId, EventId};
use crate::model::endpoint::Endpoint;
use crate::model::verification::{Binding, Challenge};

/// What came of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asked {
    /// Its record says how it goes on.
    Noted,
    /// It could not be asked now, which is not its fault.
    Later {
        /// When to look again.
        at: Timestamp,
        /// What it waits for.
        because: &'static str,
    },
}

impl Verifier {
    /// Asks an endpoint, if it is to be asked now.
    pub(super) async fn ask(&self, id: EndpointId) -> Asked {
        self.try_to_ask(id).await.unwrap_or_else(|asked| asked)
    }

    async fn try_to_ask(&self, id: EndpointId) -> Result<Asked, Asked> {
        let parts = &self.shared.parts;
        let mut prepared = self.prepare(id).await?;
        self.take_turn(&prepared.endpoint)?;
        if self.was_asked_in_vain(&prepared.endpoint) {
            self.try_others(&prepared).await;
            let turn_of = Arc::clone(&prepared.endpoint);
            prepared = self.prepare(id).await?;
            if prepared.endpoint.url != turn_of.url {
                return Err(Asked::Noted); // it was another host's turn
            }
        }
        let (endpoint, now) = (Arc::clone(&prepared.endpoint), parts.clock.now());
        let state = State::generate();
        let Some(token) = self.seal(&prepared, &state, now) else {
            return Err(self.later(Hold::SealFailed.code()));
        };
        let challenge = self.challenge(&prepared, &state, now);
        let attempt = challenge.attempts_made;
        match parts.directory.note_challenge(&endpoint, challenge).await {
            Ok(true) => {}
            Ok(false) => return Err(Asked::Noted),
            Err(error) => {
                tracing::warn!(endpoint = %id, code = error.code(), "a challenge cannot be noted");
                return Err(self.later(error.code()));
            }
        }
        self.shared.with(|schedule, now| schedule.charge(id, now));
        let report = self.post(&prepared, token).await;
        let proven = match report.as_ref().ok().and_then(echoed) {
            Some(sha256) => self.prove(id, &sha256).await,
            None => false,
        };
        let result = if proven { "proven" } else { "not_confirmed" };
        metrics::counter!("waxseal_verifications_total", "result" => result).increment(1);
        tracing::info!(endpoint = %id, consumer = %endpoint.consumer, attempt, result, "an endpoint was asked whether it wants events");
        Ok(Asked::Noted)
    }

    /// What the question is made of and posted with, if the endpoint is to be asked now and nothing is missing.
    async fn prepare(&self, id: EndpointId) -> Result<Prepared, Asked> {
        let prepared = match prepare(&self.shared, id, Purpose::Verification).await {
            Ok(prepared) => prepared,
            Err(Unsealed::Held(hold)) => return Err(self.later(hold.code())),
            Err(Unsealed::EndpointGone | Unsealed::Cancelled | Unsealed::Refused(_)) => {
                return Err(Asked::Noted);
            }
        };
        match self.due_at(&prepared.endpoint) {
            Some(due_at) if due_at <= self.shared.parts.clock.now() => Ok(prepared),
            Some(_) | None => Err(Asked::Noted),
        }
    }

    fn take_turn(&self, endpoint: &Endpoint) -> Result<(), Asked> {
        let agreed = endpoint.verification.agreed_at(endpoint).is_some();
        lock(if agreed { &self.agreed } else { &self.hosts })
            .reserve(&endpoint.url, &endpoint.consumer, self.shared.parts.clock.as_ref())
            .map_err(|at| Asked::Later { at, because: HOST_LIMIT })
    }

    fn later(&self, because: &'static str) -> Asked {
        Asked::Later { at: self.after(self.policy().look_again), because }
    }

    fn policy(&self) -> &VerificationPolicy {
        &self.shared.parts.policy.verification
    }

    fn seal(&self, prepared: &Prepared, state: &State, now: Timestamp) -> Option<String> {
        let data = json!({ "state": state.reveal() }).to_string();
        let event = Event {
            issuer: self.shared.parts.issuer.clone(),
            audience: prepared.audience.clone(),
            id: token_id(EventId::generate(now)),
            event_type: EventType::parse(VERIFICATION).expect("a dotted name"),
            occurred_at: None,
            txn: None,
            data: Data::json(data.as_bytes()).expect("a small object"),
            redelivery_of: None,
        };
        let sealed = waxseal_envelope::seal(&event, &prepared.signer, prepared.recipient.as_deref(), now);
        sealed
            .inspect_err(|error| {
                tracing::warn!(endpoint = %prepared.endpoint.id, code = error.code(), "no verification event can be made");
            })
            .ok()
    }

    /// The next challenge: one more of those that were made for the endpoint as it is, or the first.
    fn challenge(&self, prepared: &Prepared, state: &State, now: Timestamp) -> Challenge {
        let (endpoint, policy) = (&prepared.endpoint, self.policy());
        let keys = self.shared.parts.directory.key_set_for(endpoint);
        let before = endpoint.verification.challenge(endpoint, keys.as_deref());
        let attempts_made = before.map_or(0, |before| before.attempts_made).saturating_add(1);
        let ends_at = before.map_or_else(|| now.saturating_add(policy.lasts), |before| before.ends_at);
        let index = usize::try_from(attempts_made - 1).unwrap_or(usize::MAX);
        let pause = policy.pauses.get(index).map(|pause| (*pause).max(own_pause(endpoint)));
        Challenge {
            state_sha256: state.sha256(),
            binding: Binding::of(endpoint, keys.as_deref()),
            sealed_to: prepared.recipient.as_ref().map(|key| key.jwk().thumbprint().as_str().to_owned()),
            attempts_made,
            answer_by: now.saturating_add(policy.answer_within),
            next_at: pause.map(|pause| now.saturating_add(pause)).filter(|at| *at < ends_at),
            ends_at,
        }
    }

    async fn post(&self, prepared: &Prepared, token: String) -> Result<Answer, PostError> {
        let access = prepared.shown.as_deref().map(Shown::access);
        let posting = self.shared.parts.egress.post_with(&prepared.endpoint.url, token, access);
        timeout(self.policy().answer_within, posting).await.unwrap_or(Err(PostError::Timeout))
    }

    async fn prove(&self, id: EndpointId, sha256: &str) -> bool {
        let parts = &self.shared.parts;
        parts.directory.prove(id, sha256, parts.clock.now()).await.unwrap_or_else(|error| {
            tracing::warn!(endpoint = %id, code = error.code(), "a proof cannot be kept");
            false
        })
    }

    fn was_asked_in_vain(&self, endpoint: &Endpoint) -> bool {
        let keys = self.shared.parts.directory.key_set_for(endpoint);
        endpoint.verification.challenge(endpoint, keys.as_deref()).is_some()
    }

    /// Sees to it that a further attempt is made with the consumer's other key, or another token of its authorization
    /// server, where there is one. Whatever was answered, and not when: the consumer can see its own servers asked.
    async fn try_others(&self, prepared: &Prepared) {
        let Prepared { endpoint, recipient, shown, .. } = prepared;
        let parts = &self.shared.parts;
        if let Some(key) = recipient {
            parts.consumer_keys.refresh_after_invalid_key(endpoint, key.kid()).await;
        }
        if let Some(shown) = shown {
            parts.credentials.renew_after_refusal(endpoint, shown).await;
        }
    }
}

/// How far apart the endpoint wants requests at least.
fn own_pause(endpoint: &Endpoint) -> Duration {
    let nanos = endpoint.pace.rate_limit.map_or(0, |limit| limit.nanos_apart());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}
