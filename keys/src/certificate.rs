//! [`Certificate`]: a signing key in the form of X.509 (RFC 5280), for partners whose tools want that.
//!
//! Relies on nothing for holding and showing one; making one and reading those of others is OpenSSL's (feature
//! `josekit`). A certificate of ours is signed by the very key that it holds, and says nothing that the published JWK
//! does not say: no authority vouches for it, so none has to be guarded, and none goes on vouching for a key that was
//! revoked. Whoever trusts it has fetched it from the issuer.

#[cfg(feature = "josekit")]
mod issue;
#[cfg(feature = "josekit")]
mod read;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

#[cfg(feature = "josekit")]
pub use issue::{CertificateError, CertificateName};
#[cfg(feature = "josekit")]
pub use read::{CertificateRefused, CertifiedKey};

use crate::encoding::base64url;
use crate::time::Timestamp;

/// A certificate of one signing key, signed by itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    der: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// A certificate that was made before and kept, with the dates that stand in it.
    pub(crate) fn kept(der: Vec<u8>, not_before: Timestamp, not_after: Timestamp) -> Self {
        Self { der, not_before, not_after }
    }

    /// The certificate in DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// From when on it is in force.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Until when it is in force, that second included.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The member of `x5c` (RFC 7517 §4.7): base64 of the DER, with padding, unlike everything else in JOSE.
    pub fn x5c(&self) -> String {
        STANDARD.encode(&self.der)
    }

    /// The member `x5t#S256` (RFC 7517 §4.9).
    pub fn thumbprint(&self) -> String {
        base64url(digest(&SHA256, &self.der).as_ref())
    }

    /// The certificate in PEM (RFC 7468 §5).
    pub fn to_pem(&self) -> String {
        let text = self.x5c();
        let mut pem = String::with_capacity(text.len() + text.len() / LINE + 64);
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, left) = rest.split_at(rest.len().min(LINE));
            pem.push_str(line);
            pem.push('\n');
            rest = left;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

/// RFC 7468 §2: lines of 64 characters.
const LINE: usize = 64;
