//! The sender's own authority for client certificates, as it is kept.

use serde::{Deserialize, Serialize};
use waxseal_keys::Timestamp;

use super::secret::Secret;

/// An authority: its name, its key, and its certificate for now.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCa {
    /// Its common name. It stays, with the key, when the certificate is made anew.
    pub name: String,
    /// PKCS#8, PEM; P-256.
    pub private_key: Secret,
    /// PEM.
    pub certificate: String,
    /// When the certificate ends.
    pub not_after: Timestamp,
}
