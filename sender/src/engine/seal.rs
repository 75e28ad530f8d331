//! From a claimed delivery to a token: the endpoint as it is now, today's keys, the payload.
//!
//! Guarantees that an endpoint that asks for sealing gets a token that is sealed to a key of its consumer, or
//! nothing: every way out of here without a token is an [`Unsealed`].

use std::collections::HashMap;
use std::sync::Arc;

use waxseal_envelope::{Audience, Event, EventId as TokenId, SealError};
use waxseal_keys::{EncryptionKey, SigningKey};

use super::claim::Claim;
use super::hold::Hold;
use super::shared::{Shared, insist};
use crate::credentials::Shown;
use crate::id::{ConsumerId, EndpointId, EventId};
use crate::model::endpoint::{Endpoint, Protection};
use crate::model::event::PublishedEvent;
use crate::model::verification::Standing;
use crate::publish::read_payload;
use crate::store::{StoreError, StoredPayload};

/// A token, ready to be posted.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) token: String,
    pub(super) signing_kid: String,
    pub(super) encryption_kid: Option<String>,
    pub(super) shown: Option<Box<Shown>>,
}

/// An endpoint that can be posted to, the keys for it, and what it is shown.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) audience: Audience,
    pub(super) signer: SigningKey,
    pub(super) recipient: Option<Arc<EncryptionKey>>,
    pub(super) shown: Option<Box<Shown>>,
}

/// What an endpoint is to be posted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Purpose {
    /// Somebody's event: it must have proved that its owner wants it.
    Delivery,
    /// The question whether it does.
    Verification,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unsealed {
    /// It waits for something that concerns the endpoint.
    Held(Hold),
    /// There is no such endpoint any more.
    EndpointGone,
    /// The consumer's data key was destroyed, and with it what was to be delivered.
    Cancelled,
    /// Of this event no token can be made; the code says why.
    Refused(&'static str),
}

/// Makes the token for one attempt.
pub(super) async fn seal(shared: &Shared, claim: &mut Claim) -> Result<Sealed, Unsealed> {
    // What is left of an endpoint that was deleted is not looked at: its consumer's key may be another one by now.
    exists(shared, claim.delivery.endpoint)?;
    // The payload first: what follows is looked up after the last wait.
    let payload = match &claim.payload {
        Some(payload) => Arc::clone(payload),
        None => Arc::clone(claim.payload.insert(payload(shared, &claim.delivery).await?)),
    };
    let Prepared { endpoint, audience, signer, recipient, shown } =
        prepare(shared, claim.delivery.endpoint, Purpose::Delivery).await?;
    let event = Event {
        issuer: shared.parts.issuer.clone(),
        audience,
        id: token_id(payload.id),
        event_type: payload.event_type.clone(),
        occurred_at: payload.occurred_at,
        txn: payload.txn.clone(),
        data: payload.data.clone(),
        redelivery_of: payload.redelivery_of.map(token_id),
    };
    let token = waxseal_envelope::seal(&event, &signer, recipient.as_deref(), shared.parts.clock.now())
        .map_err(|error| unsealed(&error))?;
    let encryption_kid = recipient.map(|key| key.kid().to_owned());
    Ok(Sealed { endpoint, token, signing_kid: signer.kid().to_owned(), encryption_kid, shown })
}

pub(super) fn token_id(id: EventId) -> TokenId {
    TokenId::parse(&id.to_string()).expect("an event id is a word of 36 characters")
}

/// Whether an endpoint can be posted to now, and with which keys.
///
/// Guarantees that nothing of it is older than the last wait: what changes while a key set or an OAuth token is fetched
/// is looked at again, and a signing key that was revoked meanwhile does not sign.
pub(super) async fn prepare(shared: &Shared, id: EndpointId, purpose: Purpose) -> Result<Prepared, Unsealed> {
    let directory = &shared.parts.directory;
    let mut endpoint = directory.endpoint(id).ok_or(Unsealed::EndpointGone)?;
    loop {
        if !endpoint.is_active() {
            return Err(Unsealed::Held(Hold::EndpointPaused));
        }
        let recipient = match endpoint.protection {
            Protection::Signed => None,
            Protection::Sealed => {
                Some(shared.parts.consumer_keys.key_for(&endpoint).await.map_err(Unsealed::Held)?)
            }
        };
        let keys = directory.key_set_for(&endpoint);
        // After the keys: whoever has given none sees that this comes first.
        if purpose == Purpose::Delivery && !is_verified(shared, &endpoint) {
            return Err(Unsealed::Held(Hold::EndpointUnverified));
        }
        let shown = shared.parts.credentials.shown_to(&endpoint).await.map_err(Unsealed::Held)?;
        let now = directory.endpoint(id).ok_or(Unsealed::EndpointGone)?;
        let keys_now = directory.key_set_for(&now);
        if Arc::ptr_eq(&now, &endpoint)
            && keys.as_ref().map(Arc::as_ptr) == keys_now.as_ref().map(Arc::as_ptr)
        {
            let signer = shared.parts.signing_keys.active().ok_or(Unsealed::Held(Hold::NoSigningKey))?;
            return Ok(Prepared { audience: endpoint.audience(), endpoint, signer, recipient, shown });
        }
        endpoint = now;
    }
}

fn exists(shared: &Shared, endpoint: EndpointId) -> Result<(), Unsealed> {
    shared.parts.directory.endpoint(endpoint).map(drop).ok_or(Unsealed::EndpointGone)
}

/// What was proved with other keys than those that are used now was not proved.
fn is_verified(shared: &Shared, endpoint: &Endpoint) -> bool {
    let standing = shared.parts.directory.standing(endpoint, shared.parts.clock.now());
    matches!(standing, Standing::Trusted | Standing::Proven)
}

/// The payloads of several events that can be read without trouble; the others are asked for one by one, later.
pub(super) async fn payloads(
    shared: &Shared,
    wanted: Vec<(EventId, ConsumerId)>,
) -> HashMap<EventId, Arc<PublishedEvent>> {
    if wanted.is_empty() {
        return HashMap::new();
    }
    let stored = shared.parts.store.payloads(wanted).await.unwrap_or_default();
    let read = |stored: &StoredPayload| {
        let key = shared.parts.data_keys.of(&stored.consumer)?;
        read_payload(stored, &key).ok().map(|event| (stored.event, Arc::new(event)))
    };
    stored.iter().filter_map(read).collect()
}

/// The payload of one delivery, which must be there.
async fn payload(
    shared: &Shared,
    delivery: &crate::model::delivery::LiveDelivery,
) -> Result<Arc<PublishedEvent>, Unsealed> {
    let key = shared.parts.data_keys.of(&delivery.consumer).ok_or(Unsealed::Cancelled)?;
    let stored = insist("payload", || async {
        match shared.parts.store.payloads(vec![(delivery.event, delivery.consumer.clone())]).await {
            Err(StoreError::Corrupt { what }) => Ok(Err(what)),
            Ok(stored) => Ok(Ok(stored)),
            Err(error) => Err(error),
        }
    })
    .await;
    let (code, unsealed) = match stored.as_deref().map(<[StoredPayload]>::first) {
        Ok(Some(stored)) => match read_payload(stored, &key) {
            Ok(event) => return Ok(Arc::new(event)),
            Err(error) => (error.code(), Unsealed::Held(Hold::ContentDamaged)),
        },
        Ok(None) => ("payload.missing", Unsealed::Refused("payload.missing")),
        Err(_) => ("payload.corrupt", Unsealed::Held(Hold::ContentDamaged)),
    };
    // The consumer may have been erased while that was read, and made anew with another key.
    exists(shared, delivery.endpoint)?;
    tracing::error!(delivery = %delivery.id, event = %delivery.event, code, "a payload cannot be read");
    if matches!(unsealed, Unsealed::Held(_)) {
        // Not the delivery's end: a backup may have it whole.
        shared.parts.store.distrust("the content of an event");
    }
    Err(unsealed)
}

/// What is wrong with the event ends its delivery; what is wrong with a key holds the endpoint.
fn unsealed(error: &SealError) -> Unsealed {
    match error {
        SealError::Txn | SealError::Time { .. } | SealError::EventType | SealError::TooLong { .. } => {
            Unsealed::Refused(error.code())
        }
        _ => Unsealed::Held(Hold::SealFailed),
    }
}
