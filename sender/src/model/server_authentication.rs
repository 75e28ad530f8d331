//! How an endpoint's server proves that it is the right one, where the usual way is not enough.
//!
//! The usual way: a certificate for the host's name under a root that the operating system trusts. TLS 1.2 is the floor
//! always, and `https:` is unless the operator allows otherwise; neither is an endpoint's to choose.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::certificate::TrustedCertificates;

/// What is asked of a server beside, or instead of, the usual.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerAuthentication {
    /// Its own roots, in place of the system's.
    pub ca_certificates: Option<TrustedCertificates>,
    /// One of these keys must be in the chain that was validated; none: any may. Never a single one, so that a server
    /// can change its key without being locked out.
    pub pins: Vec<Pin>,
}

/// SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4).
#[derive(Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin([u8; 32]);

/// A text that is no pin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "expected `sha256/` and the base64 of 32 bytes, as `sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=`"
)]
pub struct PinMalformed;

impl ServerAuthentication {
    /// Whether nothing is asked beside the usual.
    pub fn is_usual(&self) -> bool {
        self.ca_certificates.is_none() && self.pins.is_empty()
    }
}

impl Pin {
    /// Reads a pin.
    ///
    /// # Errors
    /// [`PinMalformed`].
    pub fn parse(text: &str) -> Result<Self, PinMalformed> {
        let encoded = text.strip_prefix("sha256/").ok_or(PinMalformed)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| PinMalformed)?;
        bytes.try_into().map(Self).map_err(|_| PinMalformed)
    }

    /// The pin of a key with this digest.
    pub fn of_digest(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Pin {
    type Error = PinMalformed;

    fn try_from(text: String) -> Result<Self, PinMalformed> {
        Self::parse(&text)
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> Self {
        pin.to_string()
    }
}

/// As few pins as there may be: the one in use, and one to change to.
pub const LEAST_PINS: usize = 2;
/// As many as there may be.
pub const MOST_PINS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_one_form() {
        let text = "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(Pin::parse(text).unwrap().to_string(), text);
        for bad in [
            "",
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha1/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU",
            "sha256/AAAA",
            "pin-sha256=\"x\"",
        ] {
            assert_eq!(Pin::parse(bad), Err(PinMalformed), "{bad}");
        }
    }
}
