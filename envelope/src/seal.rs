//! An event becomes a token: claims, signature, and encryption around it where the recipient wants it.
//!
//! Relies on the types of [`event`](crate::event) for well-formed names. Guarantees sign-then-encrypt, nested once
//! (RFC 7519 section 11.2), and that our own receiver's limits hold for what comes out.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use josekit::jws::JwsSigner;
use waxseal_keys::{EncryptionKey, Timestamp};

use crate::claims::{MAX_SECONDS, is_txn};
use crate::compact::{self, MAX_TOKEN};
use crate::data::Data;
use crate::error::SealError;
use crate::event::Event;
use crate::header::{CTY, TYP};
use crate::json::{push_member, push_name, push_string};
use crate::{jwe, jws};

/// Signs an event for its audience at `issued_at` and, where a recipient's key is given, encrypts the result to it.
/// Returns the compact token: the whole body of a delivery.
///
/// Call it anew for every attempt: the id stays, the time of signing does not.
///
/// ```
/// use waxseal_envelope::{Audience, Data, Event, EventId, EventType, Expected, Issuer, Limits, Token, seal};
/// use waxseal_keys::{EncryptionKey, EncryptionKeyType, SignatureAlgorithm, Timestamp};
/// use waxseal_keys::{generate_decryption_key, generate_signing_key};
///
/// let signing = generate_signing_key(SignatureAlgorithm::Es256)?;
/// let decryption = generate_decryption_key(EncryptionKeyType::P256)?;
/// let event = Event {
///     issuer: Issuer::parse("https://hooks.example.com")?,
///     audience: Audience::parse("acme")?,
///     id: EventId::parse("evt_01JD9Z7Q2M")?,
///     event_type: EventType::parse("order.created")?,
///     occurred_at: None,
///     txn: None,
///     data: Data::json(br#"{"order":"991"}"#)?,
///     redelivery_of: None,
/// };
/// let now = Timestamp::from_seconds(1_795_293_600);
/// let recipient = EncryptionKey::from_jwk(&decryption.public_jwk())?;
/// let token = seal(&event, &signing, Some(&recipient), now)?;
///
/// let Token::Sealed(sealed) = Token::parse(token.as_bytes(), &Limits::default())? else { panic!("not sealed") };
/// let signed = sealed.decrypt(&decryption)?;
/// let expected = Expected::new(event.issuer.clone(), event.audience.clone());
/// let opened = signed.verify(&signing.verifying_key(), &expected, now)?;
/// assert_eq!(opened.event, event);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn seal(
    event: &Event,
    signer: &dyn JwsSigner,
    recipient: Option<&EncryptionKey>,
    issued_at: Timestamp,
) -> Result<String, SealError> {
    let claims = claims(event, issued_at)?;
    let header = jws::JwsHeader { typ: Some(TYP), cty: None };
    let signed = jws::sign_bytes(&claims, &header, signer)?;
    let token = match recipient {
        None => signed,
        Some(key) => jwe::encrypt_in_place(signed, Some(TYP), Some(CTY), key)?,
    };
    if token.len() > MAX_TOKEN {
        return Err(SealError::TooLong { limit: MAX_TOKEN });
    }
    Ok(compact::into_text(token))
}

/// The claims as JSON text, `data` byte for byte.
fn claims(event: &Event, issued_at: Timestamp) -> Result<Vec<u8>, SealError> {
    let data_len = match &event.data {
        Data::Json(text) => text.get().len(),
        Data::Binary { bytes, content_type } => bytes.len() / 3 * 4 + content_type.len() + 32,
    };
    let uri = event.issuer.event_uri(&event.event_type);
    if event.event_type.is_uri() && event.issuer.event_type(&uri).as_ref() != Ok(&event.event_type) {
        return Err(SealError::EventType); // what stands under `<iss>/events/` would come back as another type
    }
    let mut json =
        Vec::with_capacity(data_len + 2 * uri.len() + event.txn.as_ref().map_or(0, String::len) + 512);
    json.push(b'{');
    push_member(&mut json, "iss", event.issuer.as_str());
    push_member(&mut json, "aud", event.audience.as_str());
    push_member(&mut json, "jti", event.id.as_str());
    push_seconds(&mut json, "iat", issued_at)?;
    if let Some(occurred_at) = event.occurred_at {
        push_seconds(&mut json, "toe", occurred_at)?;
    }
    if let Some(txn) = &event.txn {
        if !is_txn(txn) {
            return Err(SealError::Txn);
        }
        push_member(&mut json, "txn", txn);
    }
    push_name(&mut json, "events");
    json.push(b'{');
    push_string(&mut json, &uri);
    json.extend_from_slice(b":{");
    push_data(&mut json, &event.data);
    if let Some(id) = &event.redelivery_of {
        push_member(&mut json, "redelivery_of", id.as_str());
    }
    json.extend_from_slice(b"}}}");
    Ok(json)
}

fn push_data(json: &mut Vec<u8>, data: &Data) {
    match data {
        Data::Json(text) => {
            push_name(json, "data");
            json.extend_from_slice(text.get().as_bytes());
        }
        Data::Binary { content_type, bytes } => {
            push_member(json, "data_base64", &STANDARD.encode(bytes));
            push_member(json, "datacontenttype", content_type);
        }
    }
}

fn push_seconds(json: &mut Vec<u8>, claim: &'static str, at: Timestamp) -> Result<(), SealError> {
    let seconds = at.as_seconds();
    if !(0..=MAX_SECONDS).contains(&seconds) {
        return Err(SealError::Time { claim });
    }
    push_name(json, claim);
    write!(json, "{seconds}").expect("a Vec takes every byte");
    Ok(())
}
