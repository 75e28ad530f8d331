//! A ring as it is stored: everything but the policy, which is configuration.
//!
//! The record holds private keys in the clear; whoever stores it encrypts it first (see the vault).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::alg::SignatureAlgorithm;
use crate::certificate::Certificate;
use crate::jwk::{JwkError, PrivateJwk};
use crate::ring::{KeyRing, KeyState, RingEntry, RingPolicy};
use crate::signing::SigningKey;
use crate::time::Timestamp;

/// The serialisable form of a [`KeyRing`].
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RingRecord {
    version: u8,
    seen: Timestamp,
    entries: Vec<EntryRecord>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct EntryRecord {
    kid: String,
    alg: String,
    state: KeyState,
    created: Timestamp,
    published_since: Option<Timestamp>,
    activated: Option<Timestamp>,
    left_active: Option<Timestamp>,
    retired: Option<Timestamp>,
    revoked: Option<Timestamp>,
    key: Option<SecretText>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<CertificateRecord>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct CertificateRecord {
    /// As in `x5c`.
    der: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A private JWK.
#[derive(Clone)]
struct SecretText(Zeroizing<String>);

/// Why a record is not a ring.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RingRecordError {
    /// The text is not a record.
    #[error("the stored key ring cannot be read")]
    Malformed,
    /// A record of a later version of this library.
    #[error("the stored key ring has version {0}, which this version does not know")]
    Version(u8),
    /// A stored key is not usable.
    #[error("a key of the stored ring is not usable: {0}")]
    Key(#[from] JwkError),
    /// States, dates and keys contradict each other.
    #[error("the stored key ring contradicts itself (key {kid})")]
    Inconsistent {
        /// The first key at fault.
        kid: String,
    },
}

impl RingRecordError {
    /// A stable code for logs.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed => "ring.malformed_record",
            Self::Version(_) => "ring.record_version",
            Self::Key(_) => "ring.record_key",
            Self::Inconsistent { .. } => "ring.inconsistent_record",
        }
    }
}

impl RingRecord {
    /// The record as JSON: private keys included, in the clear.
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        let mut json = Zeroizing::new(Vec::with_capacity(self.room()));
        serde_json::to_writer(&mut *json, self).expect("names, numbers and strings are always serialisable");
        json
    }

    /// Reads what [`RingRecord::to_json`] wrote.
    pub fn from_json(json: &[u8]) -> Result<Self, RingRecordError> {
        serde_json::from_slice(json).map_err(|_| RingRecordError::Malformed)
    }

    /// Room for all of it as JSON: growing the buffer would leave copies of keys behind. Quotation marks inside of a key
    /// are escaped, hence twice its length.
    fn room(&self) -> usize {
        let room = |entry: &EntryRecord| {
            let certificate = entry.certificate.as_ref().map_or(0, |certificate| certificate.der.len());
            ENTRY_ROOM + certificate + 2 * entry.key.as_ref().map_or(0, |key| key.0.len())
        };
        ENTRY_ROOM + self.entries.iter().map(room).sum::<usize>()
    }
}

impl KeyRing {
    /// The ring as a record.
    pub fn to_record(&self) -> RingRecord {
        let entries = self.entries.iter().map(|entry| EntryRecord {
            kid: entry.kid.clone(),
            alg: entry.alg.name().to_owned(),
            state: entry.state,
            created: entry.created,
            published_since: entry.published_since,
            activated: entry.activated,
            left_active: entry.left_active,
            retired: entry.retired,
            revoked: entry.revoked,
            key: entry.key.as_ref().map(|key| SecretText(key.to_jwk().to_json())),
            certificate: entry.certificate.as_ref().map(CertificateRecord::of),
        });
        RingRecord { version: VERSION, seen: self.seen, entries: entries.collect() }
    }

    /// The ring of a record, under today's policy.
    pub fn from_record(record: &RingRecord, policy: RingPolicy) -> Result<Self, RingRecordError> {
        if record.version != VERSION {
            return Err(RingRecordError::Version(record.version));
        }
        let mut entries: Vec<RingEntry> = Vec::with_capacity(record.entries.len());
        for stored in &record.entries {
            let entry = stored.read()?;
            let clashes = |other: &RingEntry| {
                other.kid == entry.kid || (other.state == KeyState::Active && entry.state == KeyState::Active)
            };
            if entries.iter().any(clashes) {
                return Err(RingRecordError::Inconsistent { kid: entry.kid });
            }
            entries.push(entry);
        }
        Ok(Self { policy, entries, seen: record.seen })
    }
}

impl EntryRecord {
    fn read(&self) -> Result<RingEntry, RingRecordError> {
        let inconsistent = || RingRecordError::Inconsistent { kid: self.kid.clone() };
        let key = self.key.as_ref().map(SecretText::read).transpose()?;
        let alg = SignatureAlgorithm::from_name(&self.alg).ok_or_else(inconsistent)?;
        let dates_fit = match self.state {
            KeyState::Pending => self.activated.is_none(),
            KeyState::Active => self.activated.is_some() && self.left_active.is_none(),
            KeyState::Retiring => self.left_active.is_some(),
            KeyState::Retired => self.retired.is_some(),
            KeyState::Revoked => self.revoked.is_some(),
        };
        let published = matches!(self.state, KeyState::Pending | KeyState::Active | KeyState::Retiring);
        let key_fits = key.as_ref().is_none_or(|key| key.kid() == self.kid && key.alg() == alg);
        if !dates_fit || !key_fits || key.is_some() != published {
            return Err(inconsistent());
        }
        Ok(RingEntry {
            kid: self.kid.clone(),
            alg,
            state: self.state,
            created: self.created,
            published_since: self.published_since,
            activated: self.activated,
            left_active: self.left_active,
            retired: self.retired,
            revoked: self.revoked,
            key,
            certificate: self.certificate.as_ref().map(CertificateRecord::read).transpose()?,
        })
    }
}

impl CertificateRecord {
    fn of(certificate: &Certificate) -> Self {
        let (not_before, not_after) = (certificate.not_before(), certificate.not_after());
        Self { der: certificate.x5c(), not_before, not_after }
    }

    fn read(&self) -> Result<Certificate, RingRecordError> {
        let der = STANDARD.decode(&self.der).map_err(|_| RingRecordError::Malformed)?;
        Ok(Certificate::kept(der, self.not_before, self.not_after))
    }
}

impl SecretText {
    fn read(&self) -> Result<SigningKey, JwkError> {
        SigningKey::from_jwk(&PrivateJwk::parse(self.0.as_bytes())?)
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[private key]")
    }
}

/// The version that we write.
const VERSION: u8 = 1;

/// Room for the fields of an entry beside its key and its certificate: 13 names, eight dates, a kid of 43 characters.
const ENTRY_ROOM: usize = 640;

#[cfg(test)]
mod tests {
    use zeroize::ZeroizeOnDrop;

    use super::*;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;

    fn zeroized_on_drop<T: ZeroizeOnDrop>(_: &T) {}

    /// Every field that an entry can have, each as long as it can be.
    fn record() -> RingRecord {
        let last = Timestamp::from_millis(i64::MAX);
        let entry = EntryRecord {
            kid: "k".repeat(43),
            alg: "Ed25519".to_owned(),
            state: KeyState::Retiring,
            created: last,
            published_since: Some(last),
            activated: Some(last),
            left_active: Some(last),
            retired: Some(last),
            revoked: Some(last),
            key: Some(SecretText(Zeroizing::new(KEY.to_owned()))),
            certificate: Some(CertificateRecord { der: "A".repeat(800), not_before: last, not_after: last }),
        };
        RingRecord { version: u8::MAX, seen: last, entries: vec![entry.clone(), entry.clone(), entry] }
    }

    #[test]
    fn private_keys_of_a_record_are_zeroized() {
        let record = record();
        let SecretText(text) = record.entries[0].key.as_ref().unwrap();
        zeroized_on_drop(text);
        let json = record.to_json();
        zeroized_on_drop(&json);
        let SecretText(read) = RingRecord::from_json(&json).unwrap().entries.remove(0).key.unwrap();
        zeroized_on_drop(&read);
        assert_eq!(read.as_str(), KEY);
    }

    #[test]
    fn a_record_becomes_json_in_one_allocation() {
        let record = record();
        let (json, room) = (record.to_json(), record.room());
        assert!(json.len() <= room, "a buffer of {room} that grew to {} leaves copies behind", json.len());
    }

    #[test]
    fn no_private_key_is_shown() {
        let shown = format!("{:?}", record());
        assert!(shown.contains("[private key]") && !shown.contains("nWGxne"), "{shown}");
    }
}
