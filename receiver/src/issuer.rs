//! [`TrustedIssuer`]: whose events are taken, with which protection, and where its keys are.
//!
//! Relies on `waxseal-jwks` for fetching. Guarantees that a key is only ever found by issuer *and* `kid`: a
//! key of one issuer never verifies a token that names another.

use std::{collections::HashMap, fmt, sync::Arc};

use waxseal_envelope::{Audience, Expected, Issuer};
use waxseal_jwks::{HttpGet, JwkSet, RemoteJwks, RemotePolicy, Url, WELL_KNOWN, is_secure_url};
use waxseal_keys::{Clock, SignatureAlgorithm, VerifyingKey};

use crate::{BuildError, KeyFault, Reject};

/// Which forms of an issuer's tokens are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "there are two forms of a token")]
pub enum Protection {
    /// Signed only: something on the way must be able to read the events.
    Signed,
    /// Sealed only: a readable event is refused.
    Sealed,
    /// Both. For the time of a change from one to the other.
    Either,
}

impl Protection {
    pub(crate) fn admit(self, was_sealed: bool) -> Result<(), KeyFault> {
        match (self, was_sealed) {
            (Self::Sealed, false) => Err(KeyFault::NotSealed),
            (Self::Signed, true) => Err(KeyFault::Sealed),
            (Self::Signed, false) | (Self::Sealed, true) | (Self::Either, _) => Ok(()),
        }
    }
}

/// A sender whose events are taken.
///
/// ```
/// use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
///
/// let partner = TrustedIssuer::new("https://hooks.example.com", Protection::Signed)
///     .audience("con_991")
///     .jwks_url("https://keys.example.com/hooks.json");
/// let receiver = Receiver::builder().scope("orders").trust(partner).build()?;
/// # Ok::<_, waxseal_receiver::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    pub(crate) issuer: String,
    protection: Protection,
    audience: Option<String>,
    es384: bool,
    source: Source,
}

impl TrustedIssuer {
    /// The sender whose tokens say `iss`: an https URL. Its keys are at `/.well-known/jwks.json` below it.
    ///
    /// ```
    /// use waxseal_receiver::{Protection, TrustedIssuer};
    ///
    /// let issuer = TrustedIssuer::new("https://hooks.example.com", Protection::Sealed);
    /// assert!(format!("{issuer:?}").contains("hooks.example.com"));
    /// ```
    pub fn new(issuer: impl Into<String>, protection: Protection) -> Self {
        Self { issuer: issuer.into(), protection, audience: None, es384: false, source: Source::WellKnown }
    }

    /// What this sender calls us, if it differs from the receiver's own audience.
    ///
    /// ```
    /// use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
    ///
    /// let issuer = TrustedIssuer::new("https://hooks.example.com", Protection::Signed).audience("con_991");
    /// assert!(Receiver::builder().scope("orders").trust(issuer).build().is_ok());
    /// ```
    #[must_use]
    pub fn audience(self, audience: impl Into<String>) -> Self {
        Self { audience: Some(audience.into()), ..self }
    }

    /// Where this sender's keys are, if not at the well-known place.
    ///
    /// ```
    /// use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
    ///
    /// let issuer = TrustedIssuer::new("https://hooks.example.com", Protection::Signed)
    ///     .jwks_url("http://keys.example.com/plain-http-is-refused.json");
    /// assert!(Receiver::builder().audience("acme").scope("orders").trust(issuer).build().is_err());
    /// ```
    #[must_use]
    pub fn jwks_url(self, url: impl Into<String>) -> Self {
        Self { source: Source::Url(url.into()), ..self }
    }

    /// This sender's keys, given once and for all: for networks without a way out. Neither rotation nor
    /// revocation reaches such a receiver; whoever pins keys must change them by hand.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # fn main() {
    /// use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
    /// # let sender = Sender::new("https://hooks.example.com");
    /// # let keys = sender.jwk_set();
    ///
    /// let issuer = TrustedIssuer::new("https://hooks.example.com", Protection::Signed).pinned(keys);
    /// assert!(Receiver::builder().audience("acme").scope("orders").trust(issuer).build().is_ok());
    /// # }
    /// ```
    #[must_use]
    pub fn pinned(self, keys: JwkSet) -> Self {
        Self { source: Source::Pinned(keys), ..self }
    }

    /// Takes ES384 signatures too, if this sender's keys ask for them; otherwise such keys count as unknown.
    ///
    /// ```
    /// use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
    ///
    /// let issuer = TrustedIssuer::new("https://hooks.example.com", Protection::Signed).allow_es384();
    /// assert!(Receiver::builder().audience("acme").scope("orders").trust(issuer).build().is_ok());
    /// ```
    #[must_use]
    pub fn allow_es384(self) -> Self {
        Self { es384: true, ..self }
    }

    pub(crate) fn requires_decryption(&self) -> bool {
        self.protection == Protection::Sealed
    }

    pub(crate) fn needs_http(&self) -> bool {
        !matches!(self.source, Source::Pinned(_))
    }

    /// The checked form of it. `audience` is the receiver's own.
    pub(crate) fn build(
        self,
        audience: Option<&str>,
        fetching: Option<&Fetching>,
    ) -> Result<Trusted, BuildError> {
        let issuer = Issuer::parse(&self.issuer)?;
        let audience = self.audience.as_deref().or(audience).ok_or(BuildError::MissingAudience)?;
        let expected = Expected::new(issuer, Audience::parse(audience)?);
        let keys = match self.source {
            Source::Pinned(keys) => pin(&keys)?,
            Source::WellKnown => remote(&format!("{}{WELL_KNOWN}", self.issuer), fetching)?,
            Source::Url(url) => remote(&url, fetching)?,
        };
        Ok(Trusted { protection: self.protection, es384: self.es384, expected, keys })
    }
}

/// What it takes to fetch a set.
pub(crate) struct Fetching {
    pub(crate) http: Arc<dyn HttpGet>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) policy: RemotePolicy,
}

/// A trusted issuer at work.
#[derive(Debug)]
pub(crate) struct Trusted {
    pub(crate) protection: Protection,
    es384: bool,
    pub(crate) expected: Expected,
    keys: Keys,
}

impl Trusted {
    pub(crate) async fn key(&self, kid: &str) -> Result<Arc<VerifyingKey>, Reject> {
        let key = match &self.keys {
            Keys::Remote(remote) => Some(remote.verifying_key(kid).await?),
            Keys::Pinned(keys) => keys.get(kid).cloned(),
        };
        let allowed = |key: &Arc<VerifyingKey>| self.es384 || key.alg() != SignatureAlgorithm::Es384;
        Ok(key.filter(allowed).ok_or(KeyFault::UnknownSigner)?)
    }
}

#[derive(Clone)]
enum Source {
    WellKnown,
    Url(String),
    Pinned(JwkSet),
}

impl fmt::Debug for Source {
    /// Not the URL: its path and query may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WellKnown => f.write_str("WellKnown"),
            Self::Url(_) => f.write_str("Url(..)"),
            Self::Pinned(keys) => f.debug_tuple("Pinned").field(keys).finish(),
        }
    }
}

#[derive(Debug)]
enum Keys {
    Remote(RemoteJwks),
    Pinned(HashMap<String, Arc<VerifyingKey>>),
}

fn remote(url: &str, fetching: Option<&Fetching>) -> Result<Keys, BuildError> {
    let url = Url::parse(url).ok().filter(is_secure_url).ok_or(BuildError::JwksUrl)?;
    let Fetching { http, clock, policy } = fetching.ok_or(BuildError::NoHttpClient)?;
    Ok(Keys::Remote(RemoteJwks::new(url, http.clone(), clock.clone(), *policy)))
}

/// Unlike a fetched set, a pinned one is our own configuration: a key that cannot be used is an error.
fn pin(keys: &JwkSet) -> Result<Keys, BuildError> {
    let verifying = keys.keys().iter().map(VerifyingKey::from_jwk);
    let verifying = verifying.map(|key| key.map(|key| (key.kid().to_owned(), Arc::new(key))));
    Ok(Keys::Pinned(verifying.collect::<Result<_, _>>()?))
}
