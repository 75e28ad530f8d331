//! The one algorithm table: every `alg`, `enc` and `crv` that Waxseal knows, and everything it knows
//! about them (RFC 7518, RFC 8037, RFC 9864).
//!
//! Guarantees that a name which is not here is accepted nowhere. Ed25519 has two names: a ring's key says
//! `EdDSA` (RFC 8037), which every library knows, unless its operator asked for `Ed25519` (RFC 9864, which
//! deprecates the former). A key carries one of them, and a token must say the same.

use std::fmt;

/// `alg` of a JWS (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SignatureAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 under its older, polymorphic name.
    EdDsa,
    /// Ed25519 under its fully specified name.
    Ed25519,
    /// RSASSA-PSS with SHA-256 and MGF1 with SHA-256.
    Ps256,
}

/// `alg` of a JWE (RFC 7518 §4.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyManagementAlgorithm {
    /// Direct key agreement with an ephemeral key.
    EcdhEs,
    /// RSAES OAEP with SHA-256 and MGF1 with SHA-256.
    RsaOaep256,
}

/// `enc` of a JWE (RFC 7518 §5.1).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ContentEncryption {
    /// AES-GCM with a 256-bit key.
    A256Gcm,
}

/// `crv` of an EC or OKP key (RFC 7518 §6.2.1.1, RFC 8037 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Curve {
    /// NIST P-256, `kty` EC.
    P256,
    /// NIST P-384, `kty` EC.
    P384,
    /// Edwards curve for signatures, `kty` OKP.
    Ed25519,
    /// Montgomery curve for key agreement, `kty` OKP.
    X25519,
}

/// What a key is for (`use`, RFC 7517 §4.2).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyUse {
    /// Signing and verifying.
    Sig,
    /// Encrypting and decrypting.
    Enc,
}

impl SignatureAlgorithm {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm of that name; the comparison is exact (RFC 7515 §4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Es256, Self::Es384, Self::EdDsa, Self::Ed25519, Self::Ps256]
            .into_iter()
            .find(|alg| alg.name() == name)
    }

    /// Octets of a signature; `None` for RSA, where it is the length of the modulus.
    pub const fn signature_len(self) -> Option<usize> {
        match self {
            Self::Es256 | Self::EdDsa | Self::Ed25519 => Some(64),
            Self::Es384 => Some(96),
            Self::Ps256 => None,
        }
    }

    /// The curve of its keys; `None` for RSA.
    pub const fn curve(self) -> Option<Curve> {
        match self {
            Self::Es256 => Some(Curve::P256),
            Self::Es384 => Some(Curve::P384),
            Self::EdDsa | Self::Ed25519 => Some(Curve::Ed25519),
            Self::Ps256 => None,
        }
    }
}

impl KeyManagementAlgorithm {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EcdhEs => "ECDH-ES",
            Self::RsaOaep256 => "RSA-OAEP-256",
        }
    }

    /// The algorithm of that name; the comparison is exact.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::EcdhEs, Self::RsaOaep256].into_iter().find(|alg| alg.name() == name)
    }
}

impl ContentEncryption {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::A256Gcm => "A256GCM",
        }
    }

    /// The algorithm of that name; the comparison is exact.
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::A256Gcm.name()).then_some(Self::A256Gcm)
    }

    /// Octets of the Content Encryption Key.
    pub const fn key_len(self) -> usize {
        32
    }

    /// Octets of the Initialization Vector (RFC 7518 §5.3: 96 bits, nothing else).
    pub const fn iv_len(self) -> usize {
        12
    }

    /// Octets of the Authentication Tag (RFC 7518 §5.3: 128 bits, nothing else).
    pub const fn tag_len(self) -> usize {
        16
    }
}

impl Curve {
    /// The registered name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::Ed25519 => "Ed25519",
            Self::X25519 => "X25519",
        }
    }

    /// The curve of that name; the comparison is exact.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::Ed25519, Self::X25519].into_iter().find(|curve| curve.name() == name)
    }

    /// Octets of one coordinate, and of the private scalar or seed.
    pub const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 | Self::Ed25519 | Self::X25519 => 32,
            Self::P384 => 48,
        }
    }

    /// The `kty` of its keys.
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::P256 | Self::P384 => "EC",
            Self::Ed25519 | Self::X25519 => "OKP",
        }
    }
}

impl KeyUse {
    /// The value of `use`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sig => "sig",
            Self::Enc => "enc",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for KeyManagementAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ContentEncryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for KeyUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The `alg` of a JWK: one row of either table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Algorithm {
    Signature(SignatureAlgorithm),
    KeyManagement(KeyManagementAlgorithm),
}

impl Algorithm {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        SignatureAlgorithm::from_name(name)
            .map(Self::Signature)
            .or_else(|| KeyManagementAlgorithm::from_name(name).map(Self::KeyManagement))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Signature(alg) => alg.name(),
            Self::KeyManagement(alg) => alg.name(),
        }
    }

    pub(crate) const fn key_use(self) -> KeyUse {
        match self {
            Self::Signature(_) => KeyUse::Sig,
            Self::KeyManagement(_) => KeyUse::Enc,
        }
    }

    /// Whether keys of this algorithm are on `curve` (`None`: RSA).
    pub(crate) fn fits(self, curve: Option<Curve>) -> bool {
        match self {
            Self::Signature(alg) => alg.curve() == curve,
            Self::KeyManagement(KeyManagementAlgorithm::EcdhEs) => {
                matches!(curve, Some(Curve::P256 | Curve::P384 | Curve::X25519))
            }
            Self::KeyManagement(KeyManagementAlgorithm::RsaOaep256) => curve.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_nothing_else_is_known() {
        for name in ["ES256", "ES384", "EdDSA", "Ed25519", "PS256", "ECDH-ES", "RSA-OAEP-256"] {
            assert_eq!(Algorithm::from_name(name).unwrap().name(), name);
        }
        for name in [
            "none",
            "HS256",
            "RS256",
            "es256",
            "ES256K",
            "ES512",
            "RSA1_5",
            "RSA-OAEP",
            "ECDH-ES+A256KW",
            "dir",
            "",
        ] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
        assert_eq!(ContentEncryption::from_name("A128CBC-HS256"), None);
        assert_eq!(Curve::from_name("secp256k1"), None);
    }

    #[test]
    fn every_algorithm_has_its_keys() {
        assert!(Algorithm::Signature(SignatureAlgorithm::Ps256).fits(None));
        assert!(!Algorithm::Signature(SignatureAlgorithm::Es256).fits(Some(Curve::P384)));
        assert!(!Algorithm::KeyManagement(KeyManagementAlgorithm::EcdhEs).fits(Some(Curve::Ed25519)));
        assert!(!Algorithm::KeyManagement(KeyManagementAlgorithm::RsaOaep256).fits(Some(Curve::P256)));
    }
}
