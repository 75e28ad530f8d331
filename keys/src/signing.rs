//! [`SigningKey`] and [`VerifyingKey`]: one key, one algorithm.
//!
//! Signing is `aws-lc-rs`, verifying is `jsonwebtoken`, which shares the primitives but none of the
//! signer's framing. Guarantees that a key never serves two algorithms and that nothing a token says can
//! choose one (RFC 8725 §3.1), and that a signing key's `kid` is its RFC 7638 thumbprint.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, RSA_PSS_SHA256, RsaKeyPair,
};
use jsonwebtoken::DecodingKey;
use jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;

use crate::alg::{Algorithm, Curve, KeyUse, SignatureAlgorithm};
use crate::jwk::{Jwk, JwkError, PrivateJwk, PublicMaterial};

/// A private key that signs. Parsed once; clones share it.
///
/// ```
/// use waxseal_keys::{PrivateJwk, SigningKey};
///
/// let jwk = PrivateJwk::parse(br#"{"kty":"OKP","crv":"Ed25519",
///     "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// let key = SigningKey::from_jwk(&jwk)?;
/// let signature = key.sign(b"message")?;
/// assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
/// assert!(key.verifying_key().verify(b"message", &signature).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SigningKey(Arc<Signing>);

struct Signing {
    jwk: PrivateJwk,
    verifying: VerifyingKey,
    native: Native,
}

enum Native {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// A signing key from a JWK. Its algorithm is the JWK's `alg`, or follows from the type of the key;
    /// its `kid` is the thumbprint, whatever the JWK says.
    pub fn from_jwk(jwk: &PrivateJwk) -> Result<Self, JwkError> {
        let alg = signature_algorithm(jwk.public())?;
        let thumbprint = jwk.public().thumbprint();
        let jwk = jwk.clone().with_use(KeyUse::Sig)?.with_alg(alg.name())?.with_kid(thumbprint.as_str())?;
        let verifying = VerifyingKey::from_jwk(jwk.public())?;
        let native = Native::new(&jwk, alg).ok_or(JwkError::PairMismatch)?;
        Ok(Self(Arc::new(Signing { jwk, verifying, native })))
    }

    /// Its RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        self.0.verifying.kid()
    }

    /// Its one algorithm.
    pub fn alg(&self) -> SignatureAlgorithm {
        self.0.verifying.alg()
    }

    #[cfg(feature = "josekit")]
    pub(crate) fn alg_ref(&self) -> &SignatureAlgorithm {
        &self.0.verifying.alg
    }

    /// Octets of its signatures.
    pub fn signature_len(&self) -> usize {
        let modulus_len = || match &self.0.native {
            Native::Rsa(key) => key.public_modulus_len(),
            Native::Ecdsa(_) | Native::Ed25519(_) => 0,
        };
        self.alg().signature_len().unwrap_or_else(modulus_len)
    }

    /// Signs a message: the signature as JWS has it (RFC 7518 §3.4: `r || s` for ECDSA).
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let random = SystemRandom::new();
        match &self.0.native {
            Native::Ecdsa(key) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Native::Ed25519(key) => key.try_sign(message).map(|signature| signature.as_ref().to_vec()),
            Native::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        }
        .map_err(|_| SigningFailed)
    }

    /// The public half, to be published: with `kid`, `use` and `alg`.
    pub fn public_jwk(&self) -> Jwk {
        self.0.jwk.public().clone()
    }

    /// The public half, to verify with.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.0.verifying.clone()
    }

    /// The whole key, to be stored (encrypted).
    pub fn to_jwk(&self) -> PrivateJwk {
        self.0.jwk.clone()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.kid())
            .field("alg", &self.alg())
            .finish_non_exhaustive()
    }
}

/// A public key that verifies signatures of exactly one algorithm.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    kid: String,
    alg: SignatureAlgorithm,
    jwk: Jwk,
    decoding: DecodingKey,
}

impl VerifyingKey {
    /// A verifying key from a JWK. Its algorithm is the JWK's `alg`, or follows from the type of the key
    /// (ES256, ES384, EdDSA, PS256); a key for encryption is refused.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwkError> {
        let alg = signature_algorithm(jwk)?;
        let decoding = match jwk.material() {
            PublicMaterial::Ec { .. } => DecodingKey::from_ec_der(&jwk.material().point()),
            PublicMaterial::Okp { x, .. } => DecodingKey::from_ed_der(x),
            PublicMaterial::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
        };
        let kid = jwk.kid().map_or_else(|| jwk.thumbprint().to_string(), str::to_owned);
        Ok(Self { kid, alg, jwk: jwk.clone(), decoding })
    }

    /// The JWK's `kid`, or the thumbprint where it has none.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Its one algorithm.
    pub fn alg(&self) -> SignatureAlgorithm {
        self.alg
    }

    /// The key as it was given.
    pub fn jwk(&self) -> &Jwk {
        &self.jwk
    }

    /// Verifies a signature in the form of JWS (RFC 7518 §3.4: `r || s` for ECDSA).
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureInvalid> {
        let algorithm = match self.alg {
            SignatureAlgorithm::Es256 => jsonwebtoken::Algorithm::ES256,
            SignatureAlgorithm::Es384 => jsonwebtoken::Algorithm::ES384,
            SignatureAlgorithm::EdDsa | SignatureAlgorithm::Ed25519 => jsonwebtoken::Algorithm::EdDSA,
            SignatureAlgorithm::Ps256 => jsonwebtoken::Algorithm::PS256,
        };
        // A concrete provider: the process-wide one may be missing, ambiguous or somebody else's.
        let verifier =
            (DEFAULT_PROVIDER.verifier_factory)(&algorithm, &self.decoding).map_err(|_| SignatureInvalid)?;
        verifier.verify(message, &signature.to_vec()).map_err(|_| SignatureInvalid)
    }
}

/// The signature is not this key's signature of this message. Says no more, on purpose.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the signature does not verify")]
#[non_exhaustive]
pub struct SignatureInvalid;

impl SignatureInvalid {
    /// A stable code for logs and metrics.
    pub const fn code(&self) -> &'static str {
        "signature.invalid"
    }
}

/// The cryptographic library could not sign (out of memory, no randomness).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("signing failed")]
#[non_exhaustive]
pub struct SigningFailed;

impl SigningFailed {
    /// A stable code for logs and metrics.
    pub const fn code(&self) -> &'static str {
        "sign.failed"
    }
}

impl Native {
    fn new(jwk: &PrivateJwk, alg: SignatureAlgorithm) -> Option<Self> {
        let (public, secret) = (jwk.public().material(), jwk.secret());
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, secret.scalar(), &public.point())
                .map(Self::Ecdsa)
                .ok()
        };
        match alg {
            SignatureAlgorithm::Es256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            SignatureAlgorithm::Es384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            SignatureAlgorithm::EdDsa | SignatureAlgorithm::Ed25519 => {
                Ed25519KeyPair::from_seed_and_public_key(secret.scalar(), &public.point())
                    .map(Self::Ed25519)
                    .ok()
            }
            SignatureAlgorithm::Ps256 => secret.rsa_key_pair(public).map(Self::Rsa),
        }
    }
}

/// The one algorithm of a key that signs or verifies.
fn signature_algorithm(jwk: &Jwk) -> Result<SignatureAlgorithm, JwkError> {
    let wrong_use = JwkError::WrongUse { wanted: KeyUse::Sig, found: KeyUse::Enc };
    jwk.require_use(KeyUse::Sig)?;
    match (jwk.algorithm(), jwk.material().curve()) {
        (Some(Algorithm::Signature(alg)), _) => Ok(alg),
        (Some(Algorithm::KeyManagement(_)), _) | (None, Some(Curve::X25519)) => Err(wrong_use),
        (None, Some(Curve::P256)) => Ok(SignatureAlgorithm::Es256),
        (None, Some(Curve::P384)) => Ok(SignatureAlgorithm::Es384),
        (None, Some(Curve::Ed25519)) => Ok(SignatureAlgorithm::EdDsa),
        (None, None) => Ok(SignatureAlgorithm::Ps256),
    }
}
