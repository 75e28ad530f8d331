//! An event's content at rest: one ciphertext under a key of its own, and that key wrapped for each consumer.
//!
//! Relies on [`DataKey`] for the cryptography. Guarantees that what is read is what was written for the same event
//! id: the ciphertext is bound to the id, each wrapped key to the id and the consumer, and the event's type is part
//! of the content, so a type that was altered in the store is noticed. Erasing a consumer's data key makes its copies
//! unreadable and nobody else's.

use serde_json::value::RawValue;
use waxseal_envelope::{Data, EventType};
use waxseal_keys::DataKey;
use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EventId};
use crate::model::event::PublishedEvent;
use crate::store::StoredPayload;

/// An event's content, encrypted, with its key still at hand to be wrapped for those who receive it.
#[derive(Debug)]
pub struct SealedPayload {
    event: EventId,
    key: DataKey,
    sealed: Vec<u8>,
}

impl SealedPayload {
    /// Encrypts the content of `event` under a key made for it.
    pub fn seal(event: &PublishedEvent) -> Self {
        let key = DataKey::generate();
        let sealed = key.encrypt(&content_context(event.id), &write_frame(event));
        Self { event: event.id, key, sealed }
    }

    /// The key, wrapped under the data key of `consumer`.
    pub fn wrap_for(&self, consumer: &ConsumerId, consumer_key: &DataKey) -> Vec<u8> {
        consumer_key.wrap(&self.key, &key_context(self.event, consumer))
    }

    /// The ciphertext.
    pub fn into_sealed(self) -> Vec<u8> {
        self.sealed
    }
}

/// Why a stored payload could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// It, or its key, does not decrypt under this consumer's data key as this event's content.
    #[error("the stored content cannot be decrypted")]
    Decrypt,
    /// It decrypts, but is not content as this program writes it.
    #[error("the stored content has a form that this program does not know")]
    Form,
    /// The type beside it is not the one that was accepted.
    #[error("the stored content belongs to another event type")]
    TypeMismatch,
}

impl PayloadError {
    /// A stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Decrypt => "payload.decrypt",
            Self::Form => "payload.form",
            Self::TypeMismatch => "payload.type_mismatch",
        }
    }
}

/// The event that was stored, read with the data key of the consumer that `stored` names.
///
/// # Errors
/// [`PayloadError`]: the content is not what was accepted, or not for this consumer.
pub fn read_payload(stored: &StoredPayload, consumer_key: &DataKey) -> Result<PublishedEvent, PayloadError> {
    let key = consumer_key
        .unwrap(&stored.wrapped_key, &key_context(stored.event, &stored.consumer))
        .map_err(|_| PayloadError::Decrypt)?;
    let frame =
        key.decrypt(&content_context(stored.event), &stored.sealed).map_err(|_| PayloadError::Decrypt)?;
    let event = read_frame(stored.event, &frame).ok_or(PayloadError::Form)?;
    if event.event_type.as_str() != stored.event_type {
        return Err(PayloadError::TypeMismatch);
    }
    Ok(event)
}

fn content_context(event: EventId) -> Vec<u8> {
    format!("event|{event}|payload").into_bytes()
}

fn key_context(event: EventId, consumer: &ConsumerId) -> Vec<u8> {
    format!("event|{event}|key|{consumer}").into_bytes()
}

/// The plaintext: a version, then each field behind its length, `occurred_at` as the eight bytes of its
/// milliseconds (none: no bytes). Optional text is preceded by whether it is there. An event that is delivered as new
/// has the id of the old one at the end, and a version of its own.
fn write_frame(event: &PublishedEvent) -> Vec<u8> {
    let (kind, content_type, data): (u8, &[u8], &[u8]) = match &event.data {
        Data::Json(json) => (JSON, &[], json.get().as_bytes()),
        Data::Binary { content_type, bytes } => (BINARY, content_type.as_bytes(), bytes),
    };
    let mut frame = Vec::with_capacity(data.len() + event.event_type.as_str().len() + 64);
    let version = if event.redelivery_of.is_some() { AS_NEW } else { VERSION };
    frame.extend([version, kind, u8::from(event.txn.is_some())]);
    put(&mut frame, event.event_type.as_str().as_bytes());
    put(&mut frame, event.occurred_at.map(|at| at.as_millis().to_be_bytes()).as_ref().map_or(&[], |b| b));
    put(&mut frame, event.txn.as_deref().unwrap_or_default().as_bytes());
    put(&mut frame, content_type);
    put(&mut frame, data);
    if let Some(old) = &event.redelivery_of {
        put(&mut frame, old.as_bytes());
    }
    frame
}

pub(super) fn put(frame: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).expect("publishing caps every field far below 4 GiB");
    frame.extend(length.to_be_bytes());
    frame.extend_from_slice(field);
}

fn read_frame(id: EventId, frame: &[u8]) -> Option<PublishedEvent> {
    let (&[version, kind, has_txn], mut rest) = frame.split_first_chunk::<3>()?;
    if !matches!(version, VERSION | AS_NEW) {
        return None;
    }
    let event_type = EventType::parse(take_text(&mut rest)?).ok()?;
    let occurred_at = match take(&mut rest)? {
        [] => None,
        millis => Some(Timestamp::from_millis(i64::from_be_bytes(millis.try_into().ok()?))),
    };
    let txn = take_text(&mut rest)?;
    let txn = (has_txn == 1).then(|| txn.to_owned());
    let content_type = take_text(&mut rest)?;
    let data = take(&mut rest)?;
    let data = match kind {
        JSON => Data::Json(RawValue::from_string(str::from_utf8(data).ok()?.to_owned()).ok()?),
        BINARY => Data::Binary { content_type: content_type.to_owned(), bytes: data.to_vec() },
        _ => return None,
    };
    let redelivery_of = match version {
        AS_NEW => Some(EventId::from_bytes(take(&mut rest)?.try_into().ok()?)),
        _ => None,
    };
    rest.is_empty().then_some(PublishedEvent { id, event_type, occurred_at, txn, data, redelivery_of })
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    str::from_utf8(take(rest)?).ok()
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, after) = rest.split_first_chunk::<4>()?;
    let (field, after) = after.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    *rest = after;
    Some(field)
}

const VERSION: u8 = 1;
const AS_NEW: u8 = 2;
const JSON: u8 = 0;
const BINARY: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: Data, txn: Option<&str>, occurred_at: Option<i64>) -> PublishedEvent {
        PublishedEvent {
            id: EventId::generate(Timestamp::from_seconds(1_000)),
            event_type: EventType::parse("order.created").unwrap(),
            occurred_at: occurred_at.map(Timestamp::from_millis),
            txn: txn.map(str::to_owned),
            data,
            redelivery_of: None,
        }
    }

    fn stored(event: &PublishedEvent, consumer: &ConsumerId, consumer_key: &DataKey) -> StoredPayload {
        let payload = SealedPayload::seal(event);
        StoredPayload {
            event: event.id,
            consumer: consumer.clone(),
            event_type: event.event_type.as_str().to_owned(),
            wrapped_key: payload.wrap_for(consumer, consumer_key),
            sealed: payload.into_sealed(),
        }
    }

    fn json(text: &str) -> Data {
        Data::Json(RawValue::from_string(text.to_owned()).unwrap())
    }

    fn bytes_of(data: &Data) -> Vec<u8> {
        match data {
            Data::Json(json) => json.get().as_bytes().to_vec(),
            Data::Binary { content_type, bytes } => [content_type.as_bytes(), b"|", bytes].concat(),
        }
    }

    #[test]
    fn what_is_read_is_what_was_sealed() {
        let (acme, key) = (ConsumerId::parse("acme").unwrap(), DataKey::generate());
        let binary = Data::Binary { content_type: "image/png".to_owned(), bytes: vec![0, 255, 7] };
        for event in [
            event(json(r#"{ "total":12.50 , "a" : [1e2] }"#), Some("order-991"), Some(1_795_293_598_123)),
            event(json("null"), None, None),
            event(binary, Some(""), Some(0)),
            PublishedEvent {
                redelivery_of: Some(EventId::from_bytes([9; 16])),
                ..event(json("1"), None, None)
            },
        ] {
            let read = read_payload(&stored(&event, &acme, &key), &key).unwrap();
            assert_eq!((read.id, &read.event_type), (event.id, &event.event_type));
            assert_eq!(read.redelivery_of, event.redelivery_of);
            assert_eq!((read.occurred_at, &read.txn), (event.occurred_at, &event.txn));
            assert_eq!(bytes_of(&read.data), bytes_of(&event.data));
        }
    }

    #[test]
    fn nothing_moves_to_another_event_consumer_or_type() {
        let (acme, key) = (ConsumerId::parse("acme").unwrap(), DataKey::generate());
        let good = stored(&event(json("1"), None, None), &acme, &key);
        let other_event =
            StoredPayload { event: EventId::generate(Timestamp::from_seconds(5)), ..good.clone() };
        let other_consumer = StoredPayload { consumer: ConsumerId::parse("other").unwrap(), ..good.clone() };
        let other_type = StoredPayload { event_type: "order.paid".to_owned(), ..good.clone() };
        assert_eq!(read_payload(&other_event, &key).unwrap_err(), PayloadError::Decrypt);
        assert_eq!(read_payload(&other_consumer, &key).unwrap_err(), PayloadError::Decrypt);
        assert_eq!(read_payload(&other_type, &key).unwrap_err(), PayloadError::TypeMismatch);
        assert_eq!(read_payload(&good, &DataKey::generate()).unwrap_err(), PayloadError::Decrypt);
    }

    #[test]
    fn a_frame_that_is_cut_or_extended_is_refused() {
        let first = event(json("[1]"), Some("t"), Some(5));
        let as_new = PublishedEvent { redelivery_of: Some(first.id), ..first.clone() };
        for event in [first, as_new] {
            let frame = write_frame(&event);
            assert!(read_frame(event.id, &frame).is_some());
            for end in 0..frame.len() {
                assert!(read_frame(event.id, &frame[..end]).is_none(), "cut at {end}");
            }
            assert!(read_frame(event.id, &[frame.as_slice(), b"x"].concat()).is_none());
        }
    }
}
