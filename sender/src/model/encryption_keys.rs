//! The encryption keys that a consumer, or one of its endpoints, has given us.
//!
//! A set is either pinned (the keys themselves) or fetched from a `jwks_uri`. A fetched key is used only once it is
//! admitted: whoever controls the consumer's DNS could otherwise swap it.

use serde::{Deserialize, Serialize};
use url::Url;
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EndpointId};

/// Whose keys they are. An endpoint's own set, where there is one, is the only one used for it.
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOwner {
    /// All endpoints of the consumer that have no set of their own.
    Consumer(ConsumerId),
    /// One endpoint of the consumer.
    Endpoint(ConsumerId, EndpointId),
}

impl KeyOwner {
    /// The consumer under whose data key the set is stored.
    pub fn consumer(&self) -> &ConsumerId {
        match self {
            Self::Consumer(consumer) | Self::Endpoint(consumer, _) => consumer,
        }
    }
}

/// The keys of one owner.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionKeySet {
    /// Whose they are.
    pub owner: KeyOwner,
    /// Where they come from.
    pub source: KeySource,
    /// Every key that was seen and not withdrawn, in document order.
    pub keys: Vec<KnownKey>,
}

/// Where a set comes from.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "from")]
pub enum KeySource {
    /// Given to the API; admitted by that.
    Pinned,
    /// Fetched.
    Uri {
        /// From here.
        jwks_uri: Url,
        /// When a key first seen there may be used.
        admission: Admission,
    },
}

/// When a fetched key may be used.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// Once its thumbprint has been confirmed.
    Approve,
    /// At once. This does not resist whoever controls the consumer's DNS.
    Automatic,
}

/// One public key of a consumer.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KnownKey {
    /// RFC 7638 thumbprint.
    pub thumbprint: String,
    /// The public JWK as it was given, public members only.
    pub jwk: serde_json::Value,
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was admitted; never used before.
    pub admitted_at: Option<Timestamp>,
    /// When the certificate ends in which it was given, if it was. The key itself does not end with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_not_after: Option<Timestamp>,
}

impl KnownKey {
    /// When its owner stops using it: the JWK's `exp`, if it says so.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.jwk.get("exp").and_then(serde_json::Value::as_i64).map(Timestamp::from_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_was_kept_before_certificates_were_dated_is_read_and_written_as_it_was() {
        let kept = r#"{"thumbprint":"one","jwk":{"kty":"EC"},"first_seen":1795293600000,"admitted_at":null}"#;
        let key: KnownKey = serde_json::from_str(kept).unwrap();
        assert_eq!(key.certificate_not_after, None);
        assert_eq!(serde_json::to_string(&key).unwrap(), kept);
        let dated = KnownKey { certificate_not_after: Some(Timestamp::from_seconds(1_795_300_000)), ..key };
        let read: KnownKey = serde_json::from_str(&serde_json::to_string(&dated).unwrap()).unwrap();
        assert_eq!(read, dated);
    }
}
