//! [`EncryptionKey`] (a recipient's public key) and [`DecryptionKey`] (its private half): the key
//! management half of JWE. The framing and the key derivation are the envelope's.
//!
//! Relies on `aws-lc-rs`. Guarantees that a key serves one algorithm, that points are validated before use
//! (RFC 7518 §4.6, RFC 8037 §3.2), and that every failure to decrypt is the same [`DecryptionFailed`].

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, ParsedPublicKey, UnparsedPublicKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey, PublicKeyComponents,
};
use zeroize::{Zeroize, Zeroizing};

use crate::alg::{Algorithm, Curve, KeyManagementAlgorithm, KeyUse};
use crate::jwk::{Jwk, JwkError, PrivateJwk, PublicMaterial, SEC1_UNCOMPRESSED};

/// A recipient's public key. Parsed once; clones share it.
#[derive(Clone)]
pub struct EncryptionKey(Arc<Encryption>);

struct Encryption {
    kid: String,
    alg: KeyManagementAlgorithm,
    jwk: Jwk,
    native: Recipient,
}

enum Recipient {
    Agreement(ParsedPublicKey),
    Oaep(OaepPublicEncryptingKey),
}

impl EncryptionKey {
    /// An encryption key from a JWK. Its algorithm is the JWK's `alg`, or follows from the type of the
    /// key (ECDH-ES, RSA-OAEP-256); a key for signatures is refused.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwkError> {
        let alg = key_management_algorithm(jwk)?;
        let native = Recipient::new(jwk.material())?;
        Ok(Self(Arc::new(Encryption { kid: kid(jwk), alg, jwk: jwk.clone(), native })))
    }

    /// The JWK's `kid`, or the thumbprint where it has none.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// Its one algorithm.
    pub fn alg(&self) -> KeyManagementAlgorithm {
        self.0.alg
    }

    /// The curve of its agreement; `None` for RSA.
    pub fn curve(&self) -> Option<Curve> {
        self.0.jwk.material().curve()
    }

    /// The key as it was given.
    pub fn jwk(&self) -> &Jwk {
        &self.0.jwk
    }

    /// Makes an ephemeral key and agrees with the recipient: the ephemeral public key (`x || y`, or `x`
    /// alone for X25519) and the shared secret `Z` (RFC 7518 §4.6).
    pub fn agree_ephemeral(&self) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), EncryptionFailed> {
        let Recipient::Agreement(peer) = &self.0.native else { return Err(EncryptionFailed) };
        let ephemeral = agreement::PrivateKey::generate(peer.alg()).map_err(|_| EncryptionFailed)?;
        let public = ephemeral.compute_public_key().map_err(|_| EncryptionFailed)?;
        let secret =
            agreement::agree(&ephemeral, peer.clone(), EncryptionFailed, |z| Ok(Zeroizing::new(z.to_vec())))?;
        let coordinates = match self.curve() {
            Some(Curve::P256 | Curve::P384) => public.as_ref().get(1..).ok_or(EncryptionFailed)?,
            _ => public.as_ref(),
        };
        Ok((coordinates.to_vec(), secret))
    }

    /// Encrypts a Content Encryption Key with RSAES-OAEP, SHA-256 (RFC 7518 §4.3).
    pub fn rsa_oaep_encrypt(&self, cek: &[u8]) -> Result<Vec<u8>, EncryptionFailed> {
        let Recipient::Oaep(key) = &self.0.native else { return Err(EncryptionFailed) };
        let mut encrypted = vec![0; key.ciphertext_size()];
        let len = key
            .encrypt(&OAEP_SHA256_MGF1SHA256, cek, &mut encrypted, None)
            .map_err(|_| EncryptionFailed)?
            .len();
        encrypted.truncate(len);
        Ok(encrypted)
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").field("alg", &self.alg()).field("jwk", &self.0.jwk).finish()
    }
}

/// A private key that decrypts. Parsed once; clones share it.
#[derive(Clone)]
pub struct DecryptionKey(Arc<Decryption>);

struct Decryption {
    kid: String,
    alg: KeyManagementAlgorithm,
    jwk: PrivateJwk,
    native: Holder,
}

enum Holder {
    Agreement(agreement::PrivateKey),
    Oaep(OaepPrivateDecryptingKey),
}

impl DecryptionKey {
    /// A decryption key from a JWK, under the same rules as [`EncryptionKey::from_jwk`].
    pub fn from_jwk(jwk: &PrivateJwk) -> Result<Self, JwkError> {
        let alg = key_management_algorithm(jwk.public())?;
        let kid = kid(jwk.public());
        let jwk = jwk.clone().with_use(KeyUse::Enc)?.with_alg(alg.name())?.with_kid(&kid)?;
        let native = Holder::new(&jwk).ok_or(JwkError::PairMismatch)?;
        Ok(Self(Arc::new(Decryption { kid, alg, jwk, native })))
    }

    /// The JWK's `kid`, or the thumbprint where it has none.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// Its one algorithm.
    pub fn alg(&self) -> KeyManagementAlgorithm {
        self.0.alg
    }

    /// The curve of its agreement; `None` for RSA.
    pub fn curve(&self) -> Option<Curve> {
        self.0.jwk.public().material().curve()
    }

    /// Octets of the modulus, and so of every JWE Encrypted Key; `None` unless RSA.
    pub fn rsa_modulus_len(&self) -> Option<usize> {
        match &self.0.native {
            Holder::Agreement(_) => None,
            Holder::Oaep(key) => Some(key.key_size_bytes()),
        }
    }

    /// The public half, to be given to senders: with `kid`, `use` and `alg`.
    pub fn public_jwk(&self) -> Jwk {
        self.0.jwk.public().clone()
    }

    /// The whole key, to be stored.
    pub fn to_jwk(&self) -> PrivateJwk {
        self.0.jwk.clone()
    }

    /// Agrees with an ephemeral public key (`x || y`, or `x` alone for X25519): the shared secret `Z`.
    /// Points off the curve and secrets of zero are refused (RFC 7518 §4.6, RFC 7748 §6.1).
    pub fn agree(&self, peer_public: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
        let Holder::Agreement(key) = &self.0.native else { return Err(DecryptionFailed) };
        let (expected_len, point) = match self.curve().ok_or(DecryptionFailed)? {
            curve @ (Curve::P256 | Curve::P384) => {
                (2 * curve.coordinate_len(), [&[SEC1_UNCOMPRESSED], peer_public].concat())
            }
            curve @ (Curve::X25519 | Curve::Ed25519) => (curve.coordinate_len(), peer_public.to_vec()),
        };
        // Before parsing: aws-lc-rs would also take a compressed point or a whole SubjectPublicKeyInfo.
        if peer_public.len() != expected_len {
            return Err(DecryptionFailed);
        }
        let peer = UnparsedPublicKey::new(key.algorithm(), point);
        agreement::agree(key, peer, DecryptionFailed, |z| Ok(Zeroizing::new(z.to_vec())))
    }

    /// Decrypts a JWE Encrypted Key with RSAES-OAEP, SHA-256 (RFC 7518 §4.3).
    pub fn rsa_oaep_decrypt(&self, encrypted: &[u8]) -> Result<Zeroizing<Vec<u8>>, DecryptionFailed> {
        let Holder::Oaep(key) = &self.0.native else { return Err(DecryptionFailed) };
        if encrypted.len() != key.key_size_bytes() {
            return Err(DecryptionFailed);
        }
        let mut plaintext = Zeroizing::new(vec![0; key.min_output_size()]);
        let len = key
            .decrypt(&OAEP_SHA256_MGF1SHA256, encrypted, &mut plaintext, None)
            .map_err(|_| DecryptionFailed)?
            .len();
        // `truncate` would leave what is behind `len` to the allocator.
        plaintext[len..].zeroize();
        plaintext.truncate(len);
        Ok(plaintext)
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey")
            .field("kid", &self.0.kid)
            .field("alg", &self.0.alg)
            .finish_non_exhaustive()
    }
}

/// The key does not do what was asked of it, or the cryptographic library failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("encryption to this key failed")]
#[non_exhaustive]
pub struct EncryptionFailed;

impl EncryptionFailed {
    /// A stable code for logs and metrics.
    pub const fn code(&self) -> &'static str {
        "encrypt.failed"
    }
}

/// Decryption failed. Says no more, on purpose: the reason would be an oracle (RFC 7516 §11.5).
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("decryption failed")]
#[non_exhaustive]
pub struct DecryptionFailed;

impl DecryptionFailed {
    /// A stable code for logs and metrics.
    pub const fn code(&self) -> &'static str {
        "decrypt.failed"
    }
}

impl Recipient {
    fn new(material: &PublicMaterial) -> Result<Self, JwkError> {
        match material {
            PublicMaterial::Ec { curve, .. } | PublicMaterial::Okp { curve, .. } => {
                let off_curve = JwkError::OffCurve { crv: curve.name() };
                agreement_algorithm(*curve)
                    .and_then(|alg| {
                        ParsedPublicKey::try_from(UnparsedPublicKey::new(alg, material.point())).ok()
                    })
                    .map(Self::Agreement)
                    .ok_or(off_curve)
            }
            PublicMaterial::Rsa { n, e } => {
                let key: Result<PublicEncryptingKey, _> = PublicKeyComponents { n, e }.try_into();
                key.and_then(OaepPublicEncryptingKey::new).map(Self::Oaep).map_err(|_| JwkError::RsaModulus)
            }
        }
    }
}

impl Holder {
    fn new(jwk: &PrivateJwk) -> Option<Self> {
        let (public, secret) = (jwk.public().material(), jwk.secret());
        match public.curve() {
            Some(curve) => {
                agreement::PrivateKey::from_private_key(agreement_algorithm(curve)?, secret.scalar())
                    .map(Self::Agreement)
                    .ok()
            }
            None => {
                let der: Pkcs8V1Der<'_> = secret.rsa_key_pair(public)?.as_der().ok()?;
                let key = PrivateDecryptingKey::from_pkcs8(der.as_ref()).ok()?;
                OaepPrivateDecryptingKey::new(key).map(Self::Oaep).ok()
            }
        }
    }
}

/// The agreement of a curve; `None` for Ed25519, which only signs.
pub(crate) fn agreement_algorithm(curve: Curve) -> Option<&'static agreement::Algorithm> {
    match curve {
        Curve::P256 => Some(&agreement::ECDH_P256),
        Curve::P384 => Some(&agreement::ECDH_P384),
        Curve::X25519 => Some(&agreement::X25519),
        Curve::Ed25519 => None,
    }
}

fn kid(jwk: &Jwk) -> String {
    jwk.kid().map_or_else(|| jwk.thumbprint().to_string(), str::to_owned)
}

/// The one algorithm of a key that encrypts or decrypts.
fn key_management_algorithm(jwk: &Jwk) -> Result<KeyManagementAlgorithm, JwkError> {
    jwk.require_use(KeyUse::Enc)?;
    match (jwk.algorithm(), jwk.material().curve()) {
        (Some(Algorithm::KeyManagement(alg)), _) => Ok(alg),
        (Some(Algorithm::Signature(_)), _) | (None, Some(Curve::Ed25519)) => {
            Err(JwkError::WrongUse { wanted: KeyUse::Enc, found: KeyUse::Sig })
        }
        (None, Some(Curve::P256 | Curve::P384 | Curve::X25519)) => Ok(KeyManagementAlgorithm::EcdhEs),
        (None, None) => Ok(KeyManagementAlgorithm::RsaOaep256),
    }
}
