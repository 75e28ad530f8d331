//! The keys and the content that both directions share, and what goes over to the other programs.
//!
//! Guarantees that every signature algorithm meets every protection: [`Fixture::pairs`] is the full table.

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use waxseal_envelope::{Audience, Data, Event, EventId, EventType, Issuer};
use waxseal_keys::{
    DecryptionKey, EncryptionKey, EncryptionKeyType, SignatureAlgorithm, SigningKey, Timestamp,
    generate_decryption_key, generate_signing_key,
};

/// The keys of this run.
pub(crate) struct Fixture {
    pub(crate) signers: Vec<SigningKey>,
    pub(crate) recipients: Vec<Recipient>,
}

/// A consumer that can decrypt.
pub(crate) struct Recipient {
    pub(crate) key: DecryptionKey,
    pub(crate) public: EncryptionKey,
}

impl Fixture {
    /// Every signer with every protection; no recipient means signed only.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&SigningKey, Option<&Recipient>)> {
        self.signers.iter().flat_map(|signer| {
            let protections = std::iter::once(None).chain(self.recipients.iter().map(Some));
            protections.map(move |recipient| (signer, recipient))
        })
    }
}

impl Recipient {
    fn generate(kind: EncryptionKeyType) -> Self {
        let key = generate_decryption_key(kind).expect("a key");
        let public = EncryptionKey::from_jwk(&key.public_jwk()).expect("our own key");
        Self { key, public }
    }

    /// `ECDH-ES on P-256` and the like.
    pub(crate) fn name(&self) -> String {
        let curve = self.key.curve().map(|curve| format!(" on {}", curve.name()));
        format!("{}{}", self.key.alg().name(), curve.unwrap_or_default())
    }

    /// The private JWK, for the programs that decrypt.
    pub(crate) fn private_json(&self) -> Value {
        serde_json::from_str(&self.key.to_jwk().to_json()).expect("a JWK is JSON")
    }
}

/// What a token carries.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    /// A whole event with JSON data.
    Json,
    /// A whole event with other data.
    Binary,
    /// Bytes that are no event: the raw levels.
    Bytes,
}

/// A token for another library to open.
#[derive(Default, Serialize)]
pub(crate) struct OpenCase {
    pub(crate) name: String,
    pub(crate) token: String,
    pub(crate) verify: Option<Value>,
    pub(crate) alg: Option<&'static str>,
    pub(crate) decrypt: Option<Value>,
    pub(crate) key_management: Option<&'static str>,
}

/// What it read.
#[derive(Debug, Deserialize)]
pub(crate) struct OpenAnswer {
    pub(crate) name: String,
    pub(crate) error: Option<String>,
    pub(crate) payload: Option<String>,
    pub(crate) header: Option<Value>,
    pub(crate) outer_header: Option<Value>,
    pub(crate) signer_thumbprint: Option<String>,
    pub(crate) recipient_thumbprint: Option<String>,
}

/// A token for another library to make.
#[derive(Default, Serialize)]
pub(crate) struct MakeCase {
    pub(crate) name: String,
    pub(crate) payload: String,
    pub(crate) header: Option<Value>,
    pub(crate) encrypt: Option<Value>,
    pub(crate) outer_header: Option<Value>,
}

/// What it made, and the public half of the key that it signed with.
#[derive(Debug, Deserialize)]
pub(crate) struct MakeAnswer {
    pub(crate) name: String,
    pub(crate) error: Option<String>,
    pub(crate) token: Option<String>,
    pub(crate) verify: Option<Value>,
}

/// An event whose JSON has to survive byte for byte.
pub(crate) fn json_event() -> Event {
    event(Data::json(DATA.as_bytes()).expect("valid data"))
}

/// An event whose content is not JSON.
pub(crate) fn binary_event() -> Event {
    event(Data::binary("image/png", BINARY.to_vec()).expect("valid data"))
}

fn event(data: Data) -> Event {
    Event {
        issuer: Issuer::parse(ISSUER).expect("an issuer"),
        audience: Audience::parse("acme").expect("an audience"),
        id: EventId::parse("evt_01JD9Z7Q2M6V8K3N5T1R4W9XYZ").expect("an id"),
        event_type: EventType::parse("order.created").expect("a type"),
        occurred_at: Some(Timestamp::from_seconds(OCCURRED)),
        txn: Some("order-991".to_owned()),
        data,
        redelivery_of: None,
    }
}

/// The claims of the wire format for [`event`], around the wrapper of its data.
pub(crate) fn claims(wrapper: &Value) -> Value {
    json!({
        "iss": ISSUER, "aud": "acme", "jti": "evt_01JD9Z7Q2M6V8K3N5T1R4W9XYZ", "iat": ISSUED, "toe": OCCURRED,
        "txn": "order-991", "events": { "https://hooks.example.com/events/order.created": wrapper },
    })
}

/// What an event's object holds for [`binary_event`]: base64 as CloudEvents has it, with padding.
pub(crate) fn binary_wrapper() -> Value {
    json!({ "data_base64": BASE64_STANDARD.encode(BINARY), "datacontenttype": "image/png" })
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Vec<u8> {
    BASE64_URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

pub(crate) static FIXTURE: LazyLock<Fixture> = LazyLock::new(|| Fixture {
    signers: [
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::EdDsa,
        SignatureAlgorithm::Ed25519,
        SignatureAlgorithm::Ps256,
    ]
    .map(|alg| generate_signing_key(alg).expect("a key"))
    .into(),
    recipients: [
        EncryptionKeyType::P256,
        EncryptionKeyType::P384,
        EncryptionKeyType::X25519,
        EncryptionKeyType::Rsa3072,
    ]
    .map(Recipient::generate)
    .into(),
});

pub(crate) const ISSUER: &str = "https://hooks.example.com";
/// `iat`, in seconds.
pub(crate) const ISSUED: i64 = 1_795_293_600;
/// `toe`, in seconds.
pub(crate) const OCCURRED: i64 = 1_795_293_598;
/// Spacing, escapes, order and the digits of numbers are the publisher's own.
pub(crate) const DATA: &str =
    r#"{ "total": 12.50, "order":"991","note":"Gr\u00fc\u00dfe ☃", "a":[1e2,null , true], "": {} }"#;
pub(crate) const BINARY: &[u8] = &[0x89, b'P', b'N', b'G', 0, 0xff, 0xfe];
