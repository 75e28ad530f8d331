//! The same work through `waxseal-envelope`: whole tokens, every check included.

use std::time::Duration;

use waxseal_envelope::{
    Audience, Data, Event, EventId, EventType, Expected, Issuer, Limits, Opened, Token, seal,
};
use waxseal_keys::{
    DecryptionKey, EncryptionKey, EncryptionKeyType, SignatureAlgorithm, SigningKey, Timestamp, VerifyingKey,
    generate_decryption_key, generate_signing_key,
};

use waxseal_tests::raw::{Agreement, Signature};

/// Keys, an event and a token for one row.
pub(crate) struct Ours {
    signer: SigningKey,
    verifier: VerifyingKey,
    recipient: Option<(DecryptionKey, EncryptionKey)>,
    event: Event,
    expected: Expected,
    token: String,
}

impl Ours {
    /// Fresh keys, and a token to open.
    pub(crate) fn new(signature: Signature, agreement: Option<Agreement>) -> Self {
        let algorithm = match signature {
            Signature::Es256 => SignatureAlgorithm::Es256,
            Signature::EdDsa => SignatureAlgorithm::EdDsa,
        };
        let signer = generate_signing_key(algorithm).expect("a key");
        let recipient = agreement.map(|agreement| {
            let kind = match agreement {
                Agreement::P256 => EncryptionKeyType::P256,
                Agreement::X25519 => EncryptionKeyType::X25519,
            };
            let key = generate_decryption_key(kind).expect("a key");
            let public = EncryptionKey::from_jwk(&key.public_jwk()).expect("our own key");
            (key, public)
        });
        let event = event();
        let expected = Expected::new(event.issuer.clone(), event.audience.clone());
        let verifier = signer.verifying_key();
        let mut ours = Self { signer, verifier, recipient, event, expected, token: String::new() };
        ours.token = ours.seal();
        ours
    }

    /// An event to a token.
    pub(crate) fn seal(&self) -> String {
        let recipient = self.recipient.as_ref().map(|(_, public)| public);
        seal(&self.event, &self.signer, recipient, NOW).expect("sealed")
    }

    /// A token to an event.
    pub(crate) fn open(&self) -> Opened {
        let token = Token::parse(self.token.as_bytes(), &Limits::default()).expect("a token");
        let signed = match (token, &self.recipient) {
            (Token::Signed(signed), None) => signed,
            (Token::Sealed(sealed), Some((key, _))) => sealed.decrypt(key).expect("decrypted"),
            _ => unreachable!("sealed exactly where there is a recipient"),
        };
        signed
            .verify(&self.verifier, &self.expected, NOW.saturating_add(Duration::from_secs(1)))
            .expect("verified")
    }
}

/// [`PAYLOAD`] bytes of data: an order with its lines.
fn event() -> Event {
    let mut text = String::from(r#"{"order":"991","total":"12.50","lines":["#);
    while text.len() < PAYLOAD - 100 {
        text.push_str(r#"{"sku":"A-100","quantity":2,"price":"4.10"},"#);
    }
    text.push_str(r#"{"sku":""#);
    text.push_str(&"x".repeat(PAYLOAD - text.len() - r#""}]}"#.len()));
    text.push_str(r#""}]}"#);
    assert_eq!(text.len(), PAYLOAD);
    Event {
        issuer: Issuer::parse("https://hooks.example.com").expect("an issuer"),
        audience: Audience::parse("acme").expect("an audience"),
        id: EventId::parse("evt_01JD9Z7Q2M6V8K3N5T1R4W9XYZ").expect("an id"),
        event_type: EventType::parse("order.created").expect("a type"),
        occurred_at: Some(NOW),
        txn: Some("order-991".to_owned()),
        data: Data::json(text.as_bytes()).expect("valid data"),
        redelivery_of: None,
    }
}

/// One KiB of data.
pub(crate) const PAYLOAD: usize = 1024;
const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);
