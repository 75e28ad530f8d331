//! [`Receiver`]: from the bytes of a request to an event that is ours to process, in the order of the wire format.
//!
//! Relies on `waxseal-envelope` for everything about the token, on the issuer's cached keys and on the
//! replay guard. Guarantees that an [`Event`] leaves here only after its signature, issuer, audience and time
//! were checked, that sealing is never optional where it is required, and that no bytes make it panic.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use waxseal_envelope::{Event, Limits, Opened, Signed, Token};
use waxseal_jwks::JwkSet;
use waxseal_keys::{Clock, DecryptionKey};

use crate::{
    Begin, GuardError, KeyFault, Permit, ReceiverBuilder, Reject, ReplayGuard, ReplayKey, issuer::Trusted,
    metric,
};

/// Opens, checks and guards the events of one endpoint. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Receiver {
    inner: Arc<Inner>,
}

impl Receiver {
    /// A receiver needs an audience, a scope and at least one issuer.
    ///
    /// ```
    /// use waxseal_receiver::{Protection, Receiver};
    ///
    /// let builder = Receiver::builder().audience("acme").scope("orders");
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn builder() -> ReceiverBuilder {
        ReceiverBuilder::default()
    }

    /// Logs and counts a refusal, once for each.
    pub(crate) fn refused(&self, reject: &Reject) {
        let (code, scope) = (reject.code(), &self.inner.scope);
        match reject {
            Reject::Guard(GuardError::Store(store)) => {
                tracing::warn!(code, scope, "event not taken: {reject}: {store}");
            }
            _ => tracing::debug!(code, scope, "event not taken: {reject}"),
        }
        metric::refused(reject);
    }

    /// Opens and checks a token, and leaves the replay guard to the caller.
    #[cfg(feature = "inbox")]
    pub(crate) async fn open(&self, body: &[u8]) -> Result<Opened, Reject> {
        self.inner.open(body).await
    }

    #[cfg(feature = "inbox")]
    pub(crate) fn replay_key(&self, event: &Event) -> ReplayKey {
        self.inner.replay_key(event)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn limits(&self) -> &RequestLimits {
        &self.inner.limits
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }

    /// Takes the body of a request: a signed or sealed token.
    ///
    /// The media type must have been checked ([`check_media_type`](crate::check_media_type)). Whatever comes out
    /// must be answered: `202` once an [`Outcome::New`] is committed and for [`Outcome::Done`], `200` with the
    /// state for [`Outcome::Verification`], and [`Reject::answer`] for the rest. The feature `axum` does all of it.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # #[tokio::main]
    /// # async fn main() {
    /// use waxseal_receiver::{Outcome, Receiver};
    /// # let sender = Sender::new("https://hooks.example.com");
    /// # let (receiver, body) = (sender.receiver(), sender.signed("acme", "evt_1"));
    ///
    /// match receiver.receive(&body).await {
    ///     Ok(Outcome::New { event, permit }) => {
    ///         assert_eq!(event.event_type.as_str(), "order.created");
    ///         permit.commit().await.unwrap();
    ///     }
    ///     other => unreachable!("{other:?}"),
    /// }
    /// assert!(matches!(receiver.receive(&body).await, Ok(Outcome::Done)));
    /// let refused = receiver.receive(b"anything else").await.unwrap_err();
    /// assert_eq!(refused.answer().status(), 400);
    /// # }
    /// ```
    pub async fn receive(&self, body: &[u8]) -> Result<Outcome, Reject> {
        let outcome = self.inner.receive(body).await;
        match &outcome {
            Ok(Outcome::New { .. }) => {}
            Ok(Outcome::Done) => metric::event("repeated"),
            Ok(Outcome::Verification { .. }) => metric::event("verified"),
            Err(reject) => self.refused(reject),
        }
        outcome
    }

    /// The public half of the decryption keys, to publish for senders that seal.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # fn main() {
    /// # let sender = Sender::new("https://hooks.example.com");
    /// let receiver = sender.receiver();
    /// assert_eq!(receiver.encryption_keys().keys().len(), 1);
    /// # }
    /// ```
    pub fn encryption_keys(&self) -> JwkSet {
        JwkSet::new(self.inner.decryption_keys.iter().map(DecryptionKey::public_jwk).collect())
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("scope", &self.inner.scope)
            .field("issuers", &self.inner.issuers.keys())
            .field("guard", &self.inner.guard)
            .finish_non_exhaustive()
    }
}

/// What became of a token that was accepted.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a caller must answer each of the three in its own way")]
pub enum Outcome {
    /// An event to process now.
    New {
        /// What happened.
        event: Box<Event>,
        /// The right to process it, and the duty to commit or abort.
        permit: Permit,
    },
    /// An event that was processed before: answer `202` and do nothing.
    Done,
    /// The sender asks whether this endpoint wants its events: answer `200` with exactly `{"state":"…"}`.
    Verification {
        /// What to answer.
        state: String,
    },
}

pub(crate) struct Inner {
    pub(crate) issuers: HashMap<String, Trusted>,
    pub(crate) decryption_keys: Vec<DecryptionKey>,
    pub(crate) scope: String,
    pub(crate) guard: Arc<dyn ReplayGuard>,
    pub(crate) lease: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    #[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "they are for those who read requests"))]
    pub(crate) limits: RequestLimits,
}

/// What one request may cost.
#[derive(Debug)]
#[cfg_attr(not(feature = "tower"), expect(dead_code, reason = "they are for those who read requests"))]
pub(crate) struct RequestLimits {
    /// How long the body may take to arrive.
    pub(crate) body: Duration,
    /// How long the sender waits for the handler.
    pub(crate) handler: Duration,
    /// One for each request at the same time; none if any number will do.
    pub(crate) slots: Option<Arc<Semaphore>>,
}

impl Inner {
    async fn receive(&self, body: &[u8]) -> Result<Outcome, Reject> {
        let opened = self.open(body).await?;
        match opened.verification() {
            Some(state) => Ok(Outcome::Verification { state: state.to_owned() }),
            None => self.begin(opened.event).await,
        }
    }

    /// Everything but the replay guard.
    async fn open(&self, body: &[u8]) -> Result<Opened, Reject> {
        if body.len() > MAX_BODY {
            return Err(Reject::TooLarge { limit: MAX_BODY });
        }
        let signed = self.unseal(Token::parse(body, &Limits::default())?)?;
        // Nothing is verified yet: the claimed issuer only selects whose keys and rules are applied.
        let trusted = self.issuers.get(signed.claimed_issuer()).ok_or(KeyFault::UnknownIssuer)?;
        trusted.protection.admit(signed.was_sealed())?;
        let key = trusted.key(signed.signer_kid()).await?;
        Ok(signed.verify(&key, &trusted.expected, self.clock.now())?)
    }

    fn unseal(&self, token: Token) -> Result<Signed, Reject> {
        match token {
            Token::Signed(signed) => Ok(signed),
            Token::Sealed(sealed) => {
                let mut keys = self.decryption_keys.iter();
                let key = keys.find(|key| key.kid() == sealed.recipient_kid());
                Ok(sealed.decrypt(key.ok_or(KeyFault::UnknownRecipient)?)?)
            }
        }
    }

    fn replay_key(&self, event: &Event) -> ReplayKey {
        ReplayKey {
            issuer: event.issuer.clone(),
            audience: event.audience.clone(),
            scope: self.scope.clone(),
            id: event.id.clone(),
        }
    }

    async fn begin(&self, event: Event) -> Result<Outcome, Reject> {
        let key = self.replay_key(&event);
        match self.guard.begin(&key, self.clock.now(), self.lease).await? {
            Begin::New(fence) => {
                let permit = Permit::new(self.guard.clone(), self.clock.clone(), key, fence, self.lease);
                Ok(Outcome::New { event: Box::new(event), permit })
            }
            Begin::InProgress { retry_after } => Err(Reject::InProgress { retry_after }),
            Begin::Done => Ok(Outcome::Done),
        }
    }
}

/// A body of the size that the wire format allows, 256 KiB.
pub(crate) const MAX_BODY: usize = 256 * 1024;
