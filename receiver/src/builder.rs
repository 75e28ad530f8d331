//! [`ReceiverBuilder`]: a receiver's configuration, checked once.
//!
//! Relies on the parsers of `waxseal-envelope`. Guarantees that a [`Receiver`] that exists can work: names are
//! well-formed, an issuer that must seal finds a key, scopes and audiences are never left out by accident.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use waxseal_envelope::NameError;
#[cfg(feature = "fetch")]
use waxseal_jwks::ReqwestGet;
use waxseal_jwks::{FetchError, HttpGet, RemotePolicy};
use waxseal_keys::{Clock, DecryptionKey, JwkError, SystemClock};

use crate::{
    MemoryGuard, Protection, Receiver, ReplayGuard, TrustedIssuer,
    issuer::{Fetching, Trusted},
    receiver::{Inner, RequestLimits},
};

/// Collects what a [`Receiver`] needs: an audience, a scope, at least one issuer.
///
/// ```
/// use waxseal_receiver::{BuildError, Protection, Receiver};
///
/// let receiver = Receiver::builder()
///     .audience("acme")
///     .scope("orders")
///     .issuer("https://hooks.example.com", Protection::Signed)
///     .build()?;
/// # Ok::<_, BuildError>(())
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until build()"]
pub struct ReceiverBuilder {
    audience: Option<String>,
    scope: Option<String>,
    issuers: Vec<TrustedIssuer>,
    decryption_keys: Vec<DecryptionKey>,
    guard: Option<Arc<dyn ReplayGuard>>,
    lease: Option<Duration>,
    clock: Option<Arc<dyn Clock>>,
    http: Option<Arc<dyn HttpGet>>,
    jwks_policy: RemotePolicy,
    body_timeout: Option<Duration>,
    handler_timeout: Option<Duration>,
    max_concurrent: Option<usize>,
}

impl ReceiverBuilder {
    /// Our own name: the `aud` of every token that is for us.
    ///
    /// ```
    /// # use waxseal_receiver::{Protection, Receiver};
    /// let builder = Receiver::builder().audience("not a name").scope("orders");
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_err());
    /// ```
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// The name of this endpoint or handler among those that share a replay guard. Each processes an event
    /// once, whatever the others did.
    ///
    /// ```
    /// # use waxseal_receiver::{BuildError, Protection, Receiver};
    /// let builder = Receiver::builder().audience("acme");
    /// let unscoped = builder.issuer("https://hooks.example.com", Protection::Signed).build();
    /// assert!(matches!(unscoped, Err(BuildError::MissingScope)));
    /// ```
    pub fn scope(self, scope: impl Into<String>) -> Self {
        Self { scope: Some(scope.into()), ..self }
    }

    /// A sender whose events are taken. Short for [`trust`](Self::trust).
    ///
    /// ```
    /// # use waxseal_receiver::{BuildError, Protection, Receiver};
    /// let builder = Receiver::builder().audience("acme").scope("orders");
    /// let keyless = builder.issuer("https://hooks.example.com", Protection::Sealed).build();
    /// assert!(matches!(keyless, Err(BuildError::MissingDecryptionKey { .. })));
    /// ```
    pub fn issuer(self, issuer: impl Into<String>, protection: Protection) -> Self {
        self.trust(TrustedIssuer::new(issuer, protection))
    }

    /// A sender whose events are taken, with all that can be said about it. Call it once per sender.
    ///
    /// ```
    /// # use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
    /// let shop = TrustedIssuer::new("https://shop.example", Protection::Signed).audience("con_1");
    /// let bank = TrustedIssuer::new("https://bank.example", Protection::Signed).audience("acme");
    /// assert!(Receiver::builder().scope("orders").trust(shop).trust(bank).build().is_ok());
    /// ```
    pub fn trust(mut self, issuer: TrustedIssuer) -> Self {
        self.issuers.push(issuer);
        self
    }

    /// A key that opens what is sealed to us. Call it once per key; while keys change there are several.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # fn main() {
    /// # use waxseal_receiver::{Protection, Receiver};
    /// # let (new, old) = (decryption_key(), decryption_key());
    /// let builder = Receiver::builder().audience("acme").scope("orders").decryption_key(new).decryption_key(old);
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Sealed).build().is_ok());
    /// # }
    /// ```
    pub fn decryption_key(mut self, key: DecryptionKey) -> Self {
        self.decryption_keys.push(key);
        self
    }

    /// The replay guard; [`MemoryGuard::default`] if none is given.
    ///
    /// ```
    /// # use std::{sync::Arc, time::Duration};
    /// # use waxseal_receiver::{MemoryGuard, Protection, Receiver};
    /// let guard = Arc::new(MemoryGuard::new(1_000_000, Duration::from_secs(7 * 86_400)));
    /// let builder = Receiver::builder().audience("acme").scope("orders").replay_guard(guard);
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn replay_guard(self, guard: Arc<dyn ReplayGuard>) -> Self {
        Self { guard: Some(guard), ..self }
    }

    /// How long an attempt has an event for itself before another may take it over; 60 s by default.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use waxseal_receiver::{Protection, Receiver};
    /// let builder = Receiver::builder().audience("acme").scope("orders").lease(Duration::from_secs(10));
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: Some(lease), ..self }
    }

    /// How long the body of a request may take to arrive, 10 s by default: `408` after it. A quarter of a megabyte
    /// takes far less over any line that can serve webhooks.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use waxseal_receiver::{Protection, Receiver};
    /// let builder = Receiver::builder().audience("acme").scope("orders").body_timeout(Duration::from_secs(3));
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn body_timeout(self, limit: Duration) -> Self {
        Self { body_timeout: Some(limit), ..self }
    }

    /// How long a sender waits for a handler, 30 s by default: `503` after it. The handler goes on and keeps the
    /// event for two thirds of a [lease](Self::lease) more: if it succeeds by then, the next attempt is answered
    /// `202`. Then it is cancelled, as if it had failed: it ends at its next `.await`, and the next attempt runs
    /// it anew. Not before: two runs of one event are never at work at the same time, unless one of them blocks
    /// its thread. For [`webhook`](crate::axum::webhook) and the tower layer.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use waxseal_receiver::{Protection, Receiver};
    /// let builder = Receiver::builder().audience("acme").scope("orders").handler_timeout(Duration::from_secs(5));
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn handler_timeout(self, limit: Duration) -> Self {
        Self { handler_timeout: Some(limit), ..self }
    }

    /// How many requests are read and handled at the same time; any number by default. Further ones are answered
    /// `503`, before their bodies are read. For [`webhook`](crate::axum::webhook) and the tower layer.
    ///
    /// ```
    /// # use waxseal_receiver::{Protection, Receiver};
    /// let builder = Receiver::builder().audience("acme").scope("orders").max_concurrent(100);
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn max_concurrent(self, requests: usize) -> Self {
        Self { max_concurrent: Some(requests), ..self }
    }

    /// The clock; the system's if none is given.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use waxseal_receiver::{ManualClock, Protection, Receiver, Timestamp};
    /// let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_795_293_600)));
    /// let builder = Receiver::builder().audience("acme").scope("orders").clock(clock);
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock: Some(clock), ..self }
    }

    /// The client that fetches the issuers' keys; without the feature `fetch` there is no other.
    ///
    /// ```
    /// # #[cfg(feature = "fetch")] {
    /// # use std::sync::Arc;
    /// # use waxseal_receiver::{Protection, Receiver, jwks::ReqwestGet};
    /// let http = Arc::new(ReqwestGet::new().unwrap());
    /// let builder = Receiver::builder().audience("acme").scope("orders").http(http);
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// # }
    /// ```
    pub fn http(self, http: Arc<dyn HttpGet>) -> Self {
        Self { http: Some(http), ..self }
    }

    /// How the issuers' keys are cached.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use waxseal_receiver::{Protection, Receiver, jwks::RemotePolicy};
    /// let policy = RemotePolicy { timeout: Duration::from_secs(2), ..RemotePolicy::default() };
    /// let builder = Receiver::builder().audience("acme").scope("orders").jwks_policy(policy);
    /// assert!(builder.issuer("https://hooks.example.com", Protection::Signed).build().is_ok());
    /// ```
    pub fn jwks_policy(self, policy: RemotePolicy) -> Self {
        Self { jwks_policy: policy, ..self }
    }

    /// Checks everything and builds the receiver. Nothing is fetched yet.
    ///
    /// ```
    /// # use waxseal_receiver::{BuildError, Receiver};
    /// let nobody = Receiver::builder().audience("acme").scope("orders").build();
    /// assert!(matches!(nobody, Err(BuildError::MissingIssuer)));
    /// ```
    pub fn build(self) -> Result<Receiver, BuildError> {
        let scope = self.scope.filter(|scope| !scope.is_empty()).ok_or(BuildError::MissingScope)?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let decryption_keys = distinct(self.decryption_keys)?;
        let needs_http = self.issuers.iter().any(TrustedIssuer::needs_http);
        let fetching = match self.http {
            None if needs_http => default_client()?,
            given => given,
        }
        .map(|http| Fetching { http, clock: clock.clone(), policy: self.jwks_policy });
        let mut issuers: HashMap<String, Trusted> = HashMap::new();
        for issuer in self.issuers {
            let name = issuer.issuer.clone();
            if issuer.requires_decryption() && decryption_keys.is_empty() {
                return Err(BuildError::MissingDecryptionKey { issuer: name });
            }
            let trusted = issuer.build(self.audience.as_deref(), fetching.as_ref())?;
            if issuers.insert(name.clone(), trusted).is_some() {
                return Err(BuildError::DuplicateIssuer { issuer: name });
            }
        }
        if issuers.is_empty() {
            return Err(BuildError::MissingIssuer);
        }
        let guard = self.guard.unwrap_or_else(|| Arc::new(MemoryGuard::default()));
        let lease = self.lease.unwrap_or(DEFAULT_LEASE).max(MIN_LEASE);
        let limits = RequestLimits {
            body: self.body_timeout.unwrap_or(BODY_TIMEOUT),
            handler: self.handler_timeout.unwrap_or(HANDLER_TIMEOUT),
            slots: self.max_concurrent.map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))),
        };
        Ok(Receiver::from_inner(Inner { issuers, decryption_keys, scope, guard, lease, clock, limits }))
    }
}

/// Why a receiver cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No audience, neither the receiver's own nor the issuer's.
    #[error("the receiver needs an audience: the name by which the sender knows it")]
    MissingAudience,
    /// No scope.
    #[error("the receiver needs a scope: the name of this endpoint among those that share a replay guard")]
    MissingScope,
    /// No issuer.
    #[error("the receiver needs at least one issuer")]
    MissingIssuer,
    /// An issuer or audience that is not well-formed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// One issuer twice.
    #[error("issuer {issuer} is given twice")]
    DuplicateIssuer {
        /// Which.
        issuer: String,
    },
    /// An issuer must seal, but nothing could be opened.
    #[error("issuer {issuer} must seal its events, but there is no decryption key")]
    MissingDecryptionKey {
        /// Which.
        issuer: String,
    },
    /// Two decryption keys with one `kid`.
    #[error("two decryption keys have the kid {kid:?}")]
    DuplicateKey {
        /// Which.
        kid: String,
    },
    /// The URL of a JWK Set is not an https URL.
    #[error("a JWK Set's URL is an https URL without credentials (http only on loopback)")]
    JwksUrl,
    /// A pinned key that cannot verify.
    #[error("a pinned key cannot be used: {0}")]
    PinnedKey(#[from] JwkError),
    /// Keys must be fetched, and there is nothing to fetch them with.
    #[error("fetching keys needs an HTTP client: give one, or enable the feature `fetch`")]
    NoHttpClient,
    /// The HTTP client could not be made.
    #[error("the HTTP client could not be made: {0}")]
    HttpClient(#[source] FetchError),
}

impl BuildError {
    /// A stable name of the reason.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::BuildError::MissingScope.code(), "build.missing_scope");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingAudience => "build.missing_audience",
            Self::MissingScope => "build.missing_scope",
            Self::MissingIssuer => "build.missing_issuer",
            Self::Name(_) => "build.name",
            Self::DuplicateIssuer { .. } => "build.duplicate_issuer",
            Self::MissingDecryptionKey { .. } => "build.missing_decryption_key",
            Self::DuplicateKey { .. } => "build.duplicate_key",
            Self::JwksUrl => "build.jwks_url",
            Self::PinnedKey(_) => "build.pinned_key",
            Self::NoHttpClient => "build.no_http_client",
            Self::HttpClient(_) => "build.http_client",
        }
    }
}

fn distinct(keys: Vec<DecryptionKey>) -> Result<Vec<DecryptionKey>, BuildError> {
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].iter().any(|earlier| earlier.kid() == key.kid()) {
            return Err(BuildError::DuplicateKey { kid: key.kid().to_owned() });
        }
    }
    Ok(keys)
}

#[cfg(feature = "fetch")]
fn default_client() -> Result<Option<Arc<dyn HttpGet>>, BuildError> {
    Ok(Some(Arc::new(ReqwestGet::new().map_err(BuildError::HttpClient)?)))
}

#[cfg(not(feature = "fetch"))]
fn default_client() -> Result<Option<Arc<dyn HttpGet>>, BuildError> {
    Err(BuildError::NoHttpClient)
}

const DEFAULT_LEASE: Duration = Duration::from_secs(60);

/// A lease is renewed after a third of it; shorter ones would be lost to a slow store.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// A quarter of a megabyte takes far less over any line that can serve webhooks.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// About as long as senders wait for an answer.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(30);
