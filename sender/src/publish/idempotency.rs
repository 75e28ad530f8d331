//! How a repetition of a publication is known, without the store learning what was repeated.
//!
//! The publisher's own id, or else the idempotency key of its request, names a publication; its content tells a
//! repetition from a mistake. Where both are given the id decides, since it names the event and not the request.
//!
//! Guarantees that equal fingerprints mean equal publications: every field stands behind its length, and the hash is
//! keyed, so that who reads the store cannot try out guesses.

use waxseal_envelope::Data;
use waxseal_keys::DataKey;
use waxseal_keys::Timestamp;

use super::payload::put;
use super::{Expiry, Publication, REMEMBERED};
use crate::directory::To;
use crate::store::Idempotency;

/// What a request says to make its repetitions known: 1 to 255 printable ASCII characters, and for an event of a
/// batch its place in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdempotencyKey {
    text: String,
    place: Option<u32>,
}

/// A text that is not an idempotency key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("expected 1 to {MAX_KEY} printable ASCII characters")]
pub struct IdempotencyKeyError;

impl IdempotencyKey {
    /// Reads a key, such as the value of the header `Idempotency-Key`.
    ///
    /// # Errors
    /// [`IdempotencyKeyError`] says what was expected.
    pub fn parse(text: &[u8]) -> Result<Self, IdempotencyKeyError> {
        let printable = text.iter().all(|byte| (0x20..=0x7e).contains(byte));
        match str::from_utf8(text) {
            Ok(text) if printable && (1..=MAX_KEY).contains(&text.len()) => {
                Ok(Self { text: text.to_owned(), place: None })
            }
            _ => Err(IdempotencyKeyError),
        }
    }

    /// The key of the event at this place of the batch that the request is.
    #[must_use]
    pub fn at(&self, place: u32) -> Self {
        Self { place: Some(place), ..self.clone() }
    }
}

/// The fingerprints of a publication that names itself.
pub(super) fn idempotency(publication: &Publication, key: &DataKey, now: Timestamp) -> Option<Idempotency> {
    let mut named = Vec::with_capacity(128);
    put(&mut named, publication.publisher.as_ref().map_or("", |id| id.as_str()).as_bytes());
    match (&publication.id, &publication.idempotency_key) {
        (Some(id), _) => {
            put(&mut named, b"id");
            put(&mut named, id.as_bytes());
        }
        (None, Some(key)) => {
            put(&mut named, b"key");
            put(&mut named, key.text.as_bytes());
            put(&mut named, key.place.map(u32::to_be_bytes).as_ref().map_or(&[], |place| place));
        }
        (None, None) => return None,
    }
    Some(Idempotency {
        key: key.mac(b"idempotency|key", &named),
        content: key.mac(b"idempotency|content", &content(publication)),
        expires_at: now.saturating_add(REMEMBERED),
    })
}

fn content(publication: &Publication) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(2_048);
    put(&mut bytes, publication.event_type.as_str().as_bytes());
    match &publication.to {
        To::All => put(&mut bytes, b"all"),
        To::Group(group) => {
            put(&mut bytes, b"group");
            put(&mut bytes, group.as_str().as_bytes());
        }
        To::Consumers(consumers) => {
            let mut consumers: Vec<_> = consumers.iter().map(|id| id.as_str()).collect();
            consumers.sort_unstable();
            consumers.dedup();
            put(&mut bytes, b"consumers");
            put(&mut bytes, consumers.join(" ").as_bytes());
        }
    }
    put(&mut bytes, publication.id.as_deref().unwrap_or_default().as_bytes());
    put(
        &mut bytes,
        publication.occurred_at.map(|at| at.as_millis().to_be_bytes()).as_ref().map_or(&[], |b| b),
    );
    match &publication.data {
        Data::Json(json) => {
            put(&mut bytes, b"json");
            put(&mut bytes, json.get().as_bytes());
        }
        Data::Binary { content_type, bytes: data } => {
            put(&mut bytes, content_type.as_bytes());
            put(&mut bytes, data);
        }
    }
    // As it was given, so that a repetition that comes later is still one. Nothing, where nothing was given.
    match publication.expiry {
        Some(Expiry::At(moment)) => put(&mut bytes, &moment.as_millis().to_be_bytes()),
        Some(Expiry::After(life)) => put(&mut bytes, &life.as_millis().to_be_bytes()),
        None => {}
    }
    bytes
}

const MAX_KEY: usize = 255;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use waxseal_envelope::EventType;

    use super::*;
    use crate::id::{ConsumerId, GroupName};

    fn publication() -> Publication {
        Publication {
            event_type: EventType::parse("order.created").unwrap(),
            data: Data::json(br#"{"a":1}"#).unwrap(),
            to: To::Consumers(vec![consumer("acme"), consumer("beta")]),
            id: Some("order-991".to_owned()),
            occurred_at: Some(Timestamp::from_seconds(5)),
            expiry: None,
            idempotency_key: None,
            publisher: None,
        }
    }

    fn named(key: &str) -> IdempotencyKey {
        IdempotencyKey::parse(key.as_bytes()).unwrap()
    }

    fn consumer(id: &str) -> ConsumerId {
        ConsumerId::parse(id).unwrap()
    }

    #[test]
    fn the_same_publication_has_the_same_fingerprints_and_any_other_has_not() {
        let (key, now) = (DataKey::generate(), Timestamp::from_seconds(1_000));
        let base = idempotency(&publication(), &key, now).unwrap();
        let reordered = Publication {
            to: To::Consumers(vec![consumer("beta"), consumer("acme"), consumer("beta")]),
            ..publication()
        };
        assert_eq!(idempotency(&reordered, &key, now).unwrap(), base);
        assert_eq!(base.expires_at, now.saturating_add(REMEMBERED));

        let same_key_other_content = [
            Publication { event_type: EventType::parse("order.paid").unwrap(), ..publication() },
            Publication { data: Data::json(br#"{"a":2}"#).unwrap(), ..publication() },
            Publication {
                data: Data::binary("application/json", br#"{"a":1}"#.to_vec()).unwrap(),
                ..publication()
            },
            Publication { to: To::All, ..publication() },
            Publication { to: To::Group(GroupName::parse("acme").unwrap()), ..publication() },
            Publication { to: To::Consumers(vec![consumer("acme")]), ..publication() },
            Publication { occurred_at: None, ..publication() },
            Publication { expiry: Some(Expiry::After(Duration::from_secs(9))), ..publication() },
            Publication { expiry: Some(Expiry::At(Timestamp::from_seconds(9))), ..publication() },
        ];
        for other in same_key_other_content {
            let found = idempotency(&other, &key, now).unwrap();
            assert_eq!(found.key, base.key);
            assert_ne!(found.content, base.content, "{other:?}");
        }
        let other_key = [
            Publication { id: Some("order-992".to_owned()), ..publication() },
            Publication { id: None, idempotency_key: Some(named("order-991")), ..publication() },
            Publication { publisher: Some(consumer("acme")), ..publication() },
        ];
        for other in other_key {
            assert_ne!(idempotency(&other, &key, now).unwrap().key, base.key, "{other:?}");
        }
        assert_ne!(idempotency(&publication(), &DataKey::generate(), now).unwrap().key, base.key);
        let in_batch = |place| {
            let named = Some(named("k").at(place));
            idempotency(&Publication { id: None, idempotency_key: named, ..publication() }, &key, now)
                .unwrap()
                .key
        };
        assert!(idempotency(&Publication { id: None, ..publication() }, &key, now).is_none());
        assert_ne!(in_batch(0), in_batch(1));
    }
}
