//! Keys of Waxseal: what they are, when they may be used, and how they rest.
//!
//! | module | what it has |
//! | --- | --- |
//! | `alg` | the one algorithm table |
//! | [`strict_json`] | JSON without duplicate members |
//! | `jwk`, `thumbprint` | strict JSON Web Keys (RFC 7517) and their thumbprints (RFC 7638) |
//! | `signing`, `encryption` | keys that do something: sign, verify, agree, decrypt |
//! | `generate`, `pem` | making keys, and key files as operators have them (feature `josekit`) |
//! | `certificate` | signing keys in the form of X.509 |
//! | `ring` | the life cycle of one's own signing keys |
//! | `vault` | encryption at rest |
//! | `time`, `clock` | time as a parameter |
//!
//! Relies on `aws-lc-rs` for cryptography. No network, no async, and no clock but [`Clock`]. Guarantees
//! that secrets are zeroized and never shown by `Debug`, and that a public key and a private key are
//! different types, so that the latter cannot be published by mistake.

mod alg;
mod certificate;
mod clock;
mod encoding;
mod encryption;
#[cfg(feature = "josekit")]
mod generate;
#[cfg(feature = "josekit")]
mod josekit_signer;
mod jwk;
#[cfg(feature = "josekit")]
pub mod pem;
mod ring;
mod signing;
pub mod strict_json;
mod thumbprint;
mod time;
mod vault;

pub use alg::{ContentEncryption, Curve, KeyManagementAlgorithm, KeyUse, SignatureAlgorithm};
pub use certificate::Certificate;
#[cfg(feature = "josekit")]
pub use certificate::{CertificateError, CertificateName, CertificateRefused, CertifiedKey};
pub use clock::{Clock, ManualClock, SystemClock};
pub use encryption::{DecryptionFailed, DecryptionKey, EncryptionFailed, EncryptionKey};
#[cfg(feature = "josekit")]
pub use generate::{EncryptionKeyType, GenerateError, generate_decryption_key, generate_signing_key};
pub use jwk::{Jwk, JwkError, PrivateJwk, PublicMaterial};
#[cfg(feature = "josekit")]
pub use pem::PemError;
pub use ring::{
    ImportError, KeyRing, KeyState, RevokeError, RingChange, RingEntry, RingPolicy, RingRecord,
    RingRecordError, RotateError,
};
pub use signing::{SignatureInvalid, SigningFailed, SigningKey, VerifyingKey};
pub use strict_json::StrictJsonError;
pub use thumbprint::Thumbprint;
pub use time::Timestamp;
pub use vault::{DataKey, KeyEncryptionKey, VaultError, vault_context};
