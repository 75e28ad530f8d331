//! The public face of the signing keys: the JWKS and, for partners whose tools want that, certificates.
//!
//! Guarantees that whatever the JWKS shows at a moment has a certificate in force at that moment, once
//! [`SigningKeys::certify`] was called; and that a key which is not published any more has none.

use url::Url;
use waxseal_envelope::Issuer;
use waxseal_jwks::JwkSet;
use waxseal_jwks::publish::PublishedKeys;
use waxseal_keys::{Certificate, CertificateName, Jwk, KeyRing, Timestamp};

use super::{SigningKeys, SigningKeysError};

/// Whether the JWKS has certificates.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum X5c {
    /// Every key has `x5c` and `x5t#S256` (RFC 7517 §4.7, §4.9).
    Published,
    /// The keys alone. Certificates can be downloaded all the same.
    #[default]
    Omitted,
}

/// How keys are certified.
#[derive(Clone, Debug)]
pub struct Certification {
    name: CertificateName,
    x5c: X5c,
}

impl Certification {
    /// Certificates in the name of this issuer.
    pub fn of(issuer: &Issuer, x5c: X5c) -> Self {
        let uri = issuer.as_str().to_owned();
        let host = Url::parse(&uri).ok().and_then(|url| url.host_str().map(str::to_owned));
        Self { name: CertificateName { common: host.unwrap_or_else(|| "issuer".to_owned()), uri }, x5c }
    }

    /// Makes the certificates that are missing. That none can be made must not stop the keys.
    pub(super) fn certify(&self, ring: &mut KeyRing, now: Timestamp) -> bool {
        ring.certify(&self.name, now).unwrap_or_else(|error| {
            tracing::warn!(code = error.code(), %error, "the signing keys have no certificates");
            false
        })
    }
}

impl SigningKeys {
    /// Has certificates made of all published keys, now and from now on. The first call counts.
    ///
    /// # Errors
    /// If the store fails. It is safe to call again.
    pub async fn certify(&self, certification: Certification) -> Result<(), SigningKeysError> {
        let _ = self.certification.set(certification);
        self.advance().await
    }

    /// The certificate of a published key.
    pub fn certificate(&self, kid: &str) -> Option<Certificate> {
        self.kept().ring.certificate_at(kid, self.clock.now()).cloned()
    }
}

impl PublishedKeys for SigningKeys {
    fn published(&self) -> JwkSet {
        JwkSet::new(self.kept().ring.published_at(self.clock.now()))
    }

    fn document(&self) -> String {
        let (kept, now) = (self.kept(), self.clock.now());
        let published = kept.ring.published_at(now);
        if self.certification.get().is_none_or(|all| all.x5c == X5c::Omitted) {
            return JwkSet::new(published).to_json();
        }
        let keys: Vec<_> = published.iter().map(|jwk| with_certificate(jwk, &kept.ring, now)).collect();
        serde_json::json!({ "keys": keys }).to_string()
    }
}

fn with_certificate(jwk: &Jwk, ring: &KeyRing, now: Timestamp) -> serde_json::Value {
    let mut json = jwk.to_json();
    if let Some(certificate) = jwk.kid().and_then(|kid| ring.certificate_at(kid, now)) {
        json["x5c"] = serde_json::json!([certificate.x5c()]);
        json["x5t#S256"] = certificate.thumbprint().into();
    }
    json
}
