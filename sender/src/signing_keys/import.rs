//! Signing keys that were made elsewhere: what we take, and how it joins the ring.
//!
//! Relies on `waxseal-keys` for reading files and for the rules of a key. Guarantees that what is taken can sign what
//! receivers read, and that an imported key waits like one of our own before it signs.

use waxseal_keys::{JwkError, PemError, PrivateJwk, RingEntry, SignatureAlgorithm, SigningKey, pem};

use super::{SigningKeys, SigningKeysError};

/// Why a key file cannot become a signing key. Says nothing of its content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableKey {
    /// It could not be read.
    #[error(transparent)]
    File(#[from] PemError),
    /// It cannot sign.
    #[error("{0}")]
    Key(#[from] JwkError),
    /// It could sign, but not every receiver could verify.
    #[error("keys on P-384 sign ES384, which not every receiver reads; use P-256, Ed25519 or RSA")]
    Es384,
}

impl UnusableKey {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::File(error) => error.code(),
            Self::Key(error) => error.code(),
            Self::Es384 => "import.es384",
        }
    }

    /// Whether another passphrase, or one at all, might help.
    pub const fn concerns_passphrase(&self) -> bool {
        matches!(self, Self::File(PemError::Encrypted | PemError::Passphrase))
    }
}

/// Reads a private key file: PKCS#8 or traditional, PEM or DER, encrypted or not. `alg` is its algorithm where the
/// key leaves a choice (`Ed25519` in place of `EdDSA`).
///
/// # Errors
/// [`UnusableKey`].
pub fn signing_key_from_file(
    file: &[u8],
    passphrase: Option<&[u8]>,
    alg: Option<SignatureAlgorithm>,
) -> Result<SigningKey, UnusableKey> {
    let jwk: PrivateJwk = pem::private_from_file(file, passphrase)?;
    let jwk = match alg {
        Some(alg) => jwk.with_alg(alg.name())?,
        None => jwk,
    };
    let key = SigningKey::from_jwk(&jwk)?;
    if key.alg() == SignatureAlgorithm::Es384 { Err(UnusableKey::Es384) } else { Ok(key) }
}

impl SigningKeys {
    /// Takes a key in as a further standby, published from now on.
    ///
    /// # Errors
    /// [`SigningKeysError::Import`] if the ring has or had it, or has too many.
    pub async fn import(&self, key: SigningKey) -> Result<RingEntry, SigningKeysError> {
        let certification = self.certification.get();
        self.change(|ring, now| {
            ring.import(key.clone(), now)?;
            if let Some(certification) = certification {
                certification.certify(ring, now);
            }
            Ok(true)
        })
        .await?;
        self.follow_up().await;
        let imported = self.entries().into_iter().find(|entry| entry.kid() == key.kid());
        imported.ok_or(SigningKeysError::Contended)
    }
}
