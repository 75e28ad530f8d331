//! Encryption at rest: AES-256-GCM under keys that wrap each other.
//!
//! ```text
//! KeyEncryptionKey (file or environment, never in the database)
//!   └─ wraps DataKey (one per consumer, one for rings)
//!        ├─ wraps DataKey (one per payload)
//!        ├─ encrypts fields          └─ encrypts one payload
//!        └─ mac: keyed fingerprints
//! ```
//!
//! Relies on `aws-lc-rs`. Guarantees that a ciphertext opens only under the key, the purpose (wrapped key or
//! field) and the context it was made for, so that it cannot be moved to another table, row or column, and that
//! every failure is the same [`VaultError::Decrypt`]. A ciphertext is
//! `version (1) || nonce (12) || ciphertext || tag (16)`; nonces are random, so one key should make fewer than
//! 2^32 ciphertexts (NIST SP 800-38D §8.3).

mod key_file;

use std::fmt;
use std::path::PathBuf;
use std::sync::OnceLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac, rand};
use zeroize::{Zeroize, Zeroizing};

use crate::encoding::base64url;

/// The key at the top: it is kept outside of the database and wraps what is inside.
pub struct KeyEncryptionKey(Secret);

/// A key inside the database, stored wrapped.
///
/// ```
/// use waxseal_keys::{DataKey, KeyEncryptionKey, vault_context};
///
/// let top = KeyEncryptionKey::generate();
/// let consumer = DataKey::generate();
/// let wrapped = top.wrap(&consumer, &vault_context("data_keys", "acme", "key"));
/// let consumer = top.unwrap(&wrapped, &vault_context("data_keys", "acme", "key"))?;
///
/// let url = vault_context("endpoints", "ep_1", "url");
/// let stored = consumer.encrypt(&url, b"https://acme.example/hook?token=1");
/// assert_eq!(consumer.decrypt(&url, &stored)?.as_slice(), b"https://acme.example/hook?token=1");
/// assert!(consumer.decrypt(&vault_context("endpoints", "ep_2", "url"), &stored).is_err());
/// # Ok::<(), waxseal_keys::VaultError>(())
/// ```
pub struct DataKey(Secret);

/// Why the vault refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// Wrong key, wrong context, damaged or foreign ciphertext: which of them is not told.
    #[error("stored data cannot be decrypted")]
    Decrypt,
    /// The text is not a key.
    #[error("a key-encryption key is 32 random octets in base64url without padding (43 characters)")]
    KeyText,
    /// Others may read the key file.
    #[error("{} can be read by others (mode {mode:04o}); run: chmod 600 {}", path.display(), path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file cannot be read or written.
    #[error("key file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
}

impl VaultError {
    /// A stable code for logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Decrypt => "vault.decrypt",
            Self::KeyText => "vault.key_text",
            Self::Permissions { .. } => "vault.permissions",
            Self::Io { .. } => "vault.io",
        }
    }
}

/// Binds a ciphertext to its place: unambiguous for any table, row and column.
pub fn vault_context(table: &str, row: &str, column: &str) -> Vec<u8> {
    [table, row, column].into_iter().flat_map(framed).collect()
}

impl KeyEncryptionKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Secret::generate())
    }

    /// Wraps a data key for one place.
    pub fn wrap(&self, key: &DataKey, context: &[u8]) -> Vec<u8> {
        self.0.encrypt(Purpose::WrappedKey, context, key.0.octets.as_slice())
    }

    /// Unwraps what [`KeyEncryptionKey::wrap`] made for the same place.
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<DataKey, VaultError> {
        self.0.unwrap(wrapped, context).map(DataKey)
    }

    /// Encrypts a field, a key ring's record say.
    pub fn encrypt(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.0.encrypt(Purpose::Field, context, plaintext)
    }

    /// Decrypts what [`KeyEncryptionKey::encrypt`] made for the same place.
    pub fn decrypt(&self, context: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.0.decrypt(Purpose::Field, context, ciphertext)
    }

    /// A short name of the key that is no secret: tells which key a database was made with.
    pub fn id(&self) -> String {
        let tag = hmac::sign(&self.0.derived_mac_key(b"waxseal vault key id"), b"");
        base64url(&tag.as_ref()[..ID_LEN])
    }
}

impl DataKey {
    /// A new random key.
    pub fn generate() -> Self {
        Self(Secret::generate())
    }

    /// Encrypts a field for one place.
    pub fn encrypt(&self, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        self.0.encrypt(Purpose::Field, context, plaintext)
    }

    /// Decrypts what [`DataKey::encrypt`] made for the same place.
    pub fn decrypt(&self, context: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        self.0.decrypt(Purpose::Field, context, ciphertext)
    }

    /// Wraps another data key for one place.
    pub fn wrap(&self, key: &Self, context: &[u8]) -> Vec<u8> {
        self.0.encrypt(Purpose::WrappedKey, context, key.0.octets.as_slice())
    }

    /// Unwraps what [`DataKey::wrap`] made for the same place.
    pub fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Self, VaultError> {
        self.0.unwrap(wrapped, context).map(Self)
    }

    /// A keyed fingerprint of `bytes` in a context (HMAC-SHA256 under a subkey): equal for equal bytes,
    /// and it tells nothing about them to whoever has only the database.
    pub fn mac(&self, context: &[u8], bytes: &[u8]) -> [u8; 32] {
        let key = self.0.mac_key.get_or_init(|| self.0.derived_mac_key(b"waxseal vault mac"));
        let mut tag = hmac::Context::with_key(key);
        tag.update(&framed(context).collect::<Vec<u8>>());
        tag.update(bytes);
        let mut octets = [0; 32];
        octets.copy_from_slice(tag.sign().as_ref());
        octets
    }
}

impl fmt::Debug for KeyEncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEncryptionKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").finish_non_exhaustive()
    }
}

/// 256 random bits and what is made of them.
struct Secret {
    octets: Zeroizing<[u8; KEY_LEN]>,
    cipher: LessSafeKey,
    mac_key: OnceLock<hmac::Key>,
}

/// What a ciphertext is: part of what is authenticated, so that one cannot pass for the other.
#[derive(Clone, Copy)]
enum Purpose {
    Field,
    WrappedKey,
}

impl Secret {
    fn new(octets: Zeroizing<[u8; KEY_LEN]>) -> Self {
        let key =
            UnboundKey::new(&AES_256_GCM, octets.as_slice()).expect("the array has the length of the key");
        Self { octets, cipher: LessSafeKey::new(key), mac_key: OnceLock::new() }
    }

    fn generate() -> Self {
        let mut octets = Zeroizing::new([0; KEY_LEN]);
        rand::fill(octets.as_mut_slice()).expect("AWS-LC ends the process rather than go without randomness");
        Self::new(octets)
    }

    fn encrypt(&self, purpose: Purpose, context: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("AWS-LC ends the process rather than go without randomness");
        let mut sealed = Vec::with_capacity(OVERHEAD + plaintext.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plaintext);
        let tag = self
            .cipher
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(authenticated(purpose, context)),
                &mut sealed[HEAD_LEN..],
            )
            .expect("no plaintext in memory reaches the 64 GiB that AES-GCM can encrypt");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    fn decrypt(
        &self,
        purpose: Purpose,
        context: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let Some(([VERSION], rest)) = sealed.split_first_chunk::<1>() else {
            return Err(VaultError::Decrypt);
        };
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(VaultError::Decrypt)?;
        let mut plaintext = Zeroizing::new(body.to_vec());
        let len = self
            .cipher
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(authenticated(purpose, context)),
                &mut plaintext,
            )
            .map_err(|_| VaultError::Decrypt)?
            .len();
        plaintext[len..].zeroize();
        plaintext.truncate(len);
        Ok(plaintext)
    }

    fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Result<Self, VaultError> {
        let plaintext = self.decrypt(Purpose::WrappedKey, context, wrapped)?;
        let octets: &[u8; KEY_LEN] = plaintext.as_slice().try_into().map_err(|_| VaultError::Decrypt)?;
        Ok(Self::new(Zeroizing::new(*octets)))
    }

    /// HKDF-Expand (RFC 5869 §2.3) with a label: the encryption key is used for nothing else.
    fn derived_mac_key(&self, label: &[u8]) -> hmac::Key {
        let root = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, self.octets.as_slice());
        let mut subkey = Zeroizing::new([0; KEY_LEN]);
        root.expand(&[label], hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(subkey.as_mut_slice()))
            .expect("HKDF gives one block of output under any key");
        hmac::Key::new(hmac::HMAC_SHA256, subkey.as_slice())
    }
}

/// Version, purpose and context: what the tag binds beside the plaintext.
fn authenticated(purpose: Purpose, context: &[u8]) -> Vec<u8> {
    let purpose = match purpose {
        Purpose::Field => b'f',
        Purpose::WrappedKey => b'k',
    };
    [&[VERSION, purpose], context].concat()
}

/// A part with its length before it, so that two sequences of parts never look alike.
fn framed<T: AsRef<[u8]> + ?Sized>(part: &T) -> impl Iterator<Item = u8> {
    let part = part.as_ref();
    let len = u64::try_from(part.len()).unwrap_or(u64::MAX);
    len.to_be_bytes().into_iter().chain(part.iter().copied())
}

const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const HEAD_LEN: usize = 1 + NONCE_LEN;
const OVERHEAD: usize = HEAD_LEN + TAG_LEN;
const ID_LEN: usize = 8;

/// First octet of every ciphertext.
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    fn zeroized_on_drop<T: ZeroizeOnDrop>(_: &T) {}

    #[test]
    fn what_keys_are_made_of_is_zeroized() {
        let Secret { octets, cipher: _, mac_key: _ } = Secret::generate();
        zeroized_on_drop(&octets);
        zeroized_on_drop(&KeyEncryptionKey::generate().to_text());
    }

    #[test]
    fn what_keys_open_is_zeroized() {
        let (top, key) = (KeyEncryptionKey::generate(), DataKey::generate());
        zeroized_on_drop(&key.decrypt(b"place", &key.encrypt(b"place", b"text")).unwrap());
        zeroized_on_drop(&top.decrypt(b"place", &top.encrypt(b"place", b"text")).unwrap());
    }

    #[test]
    fn no_key_is_shown() {
        let top = KeyEncryptionKey(Secret::new(Zeroizing::new([0xa5; KEY_LEN])));
        let key = DataKey(Secret::new(Zeroizing::new([0xa5; KEY_LEN])));
        let shown = format!("{top:?} {key:?}").to_lowercase();
        assert!(!shown.contains("165") && !shown.contains("a5") && !shown.contains("paw"), "{shown}");
    }
}
