//! Generating keys, with josekit and OpenSSL. Feature `josekit`.

use josekit::jwk::Jwk as JosekitJwk;
use josekit::jwk::KeyPair;
use josekit::jwk::alg::ec::{EcCurve, EcKeyPair};
use josekit::jwk::alg::ecx::{EcxCurve, EcxKeyPair};
use josekit::jwk::alg::ed::{EdCurve, EdKeyPair};
use josekit::jwk::alg::rsa::RsaKeyPair;

use crate::alg::SignatureAlgorithm;
use crate::encryption::DecryptionKey;
use crate::jwk::{JwkError, PrivateJwk, SecretMembers};
use crate::signing::SigningKey;

/// What kind of key to generate for a recipient.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum EncryptionKeyType {
    /// ECDH-ES on P-256.
    P256,
    /// ECDH-ES on P-384.
    P384,
    /// ECDH-ES on X25519.
    X25519,
    /// RSA-OAEP-256 with a modulus of 3072 bits.
    Rsa3072,
}

/// Generates a signing key: on the algorithm's curve, or RSA with 3072 bits.
///
/// ```
/// use waxseal_keys::{SignatureAlgorithm, generate_signing_key};
///
/// let key = generate_signing_key(SignatureAlgorithm::Es256)?;
/// assert_eq!(key.public_jwk().alg(), Some("ES256"));
/// # Ok::<(), waxseal_keys::GenerateError>(())
/// ```
pub fn generate_signing_key(alg: SignatureAlgorithm) -> Result<SigningKey, GenerateError> {
    let pair = match alg {
        SignatureAlgorithm::Es256 => EcKeyPair::generate(EcCurve::P256).map(|pair| pair.to_jwk_key_pair()),
        SignatureAlgorithm::Es384 => EcKeyPair::generate(EcCurve::P384).map(|pair| pair.to_jwk_key_pair()),
        SignatureAlgorithm::EdDsa | SignatureAlgorithm::Ed25519 => {
            EdKeyPair::generate(EdCurve::Ed25519).map(|pair| pair.to_jwk_key_pair())
        }
        SignatureAlgorithm::Ps256 => RsaKeyPair::generate(RSA_BITS).map(|pair| pair.to_jwk_key_pair()),
    };
    let jwk = private_jwk(pair.map_err(|_| GenerateError::Library)?)?;
    Ok(SigningKey::from_jwk(&jwk.with_alg(alg.name())?)?)
}

/// Generates a recipient's key.
pub fn generate_decryption_key(key_type: EncryptionKeyType) -> Result<DecryptionKey, GenerateError> {
    let pair = match key_type {
        EncryptionKeyType::P256 => EcKeyPair::generate(EcCurve::P256).map(|pair| pair.to_jwk_key_pair()),
        EncryptionKeyType::P384 => EcKeyPair::generate(EcCurve::P384).map(|pair| pair.to_jwk_key_pair()),
        EncryptionKeyType::X25519 => {
            EcxKeyPair::generate(EcxCurve::X25519).map(|pair| pair.to_jwk_key_pair())
        }
        EncryptionKeyType::Rsa3072 => RsaKeyPair::generate(RSA_BITS).map(|pair| pair.to_jwk_key_pair()),
    };
    let jwk = private_jwk(pair.map_err(|_| GenerateError::Library)?)?;
    Ok(DecryptionKey::from_jwk(&jwk)?)
}

/// Why no key was generated.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// The cryptographic library failed (out of memory, no randomness).
    #[error("the cryptographic library could not generate a key")]
    Library,
    /// The generated key did not pass our own checks.
    #[error("the generated key is not usable: {0}")]
    Unusable(#[from] JwkError),
}

impl GenerateError {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Library => "generate.library",
            Self::Unusable(_) => "generate.unusable",
        }
    }
}

/// A josekit key pair as ours. Its own `use` and `alg` are dropped: what the key is for is decided here.
pub(crate) fn private_jwk(pair: JosekitJwk) -> Result<PrivateJwk, JwkError> {
    let mut members = SecretMembers(pair.into());
    for name in ["use", "alg", "key_ops"] {
        members.0.remove(name);
    }
    PrivateJwk::from_members(&members)
}

/// What NIST SP 800-57 part 1 §5.6.1 puts beside P-256.
const RSA_BITS: u32 = 3072;
