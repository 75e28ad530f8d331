//! How an event lies in the inbox: as JSON, encrypted under the inbox's data key.
//!
//! Relies on the vault of `waxseal-keys`. Guarantees that a row opens only as the row that it was written for: not
//! under another number, and not for another scope.

use base64::{Engine, engine::general_purpose::STANDARD};
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use waxseal_envelope::{Audience, Data, Event, EventId, EventType, Issuer};
use waxseal_keys::{DataKey, KeyEncryptionKey, Timestamp, vault_context};

use super::InboxError;

/// What the rows of a database are written with.
#[derive(Debug)]
pub(super) enum AtRest {
    Encrypted(Box<DataKey>),
    Readable,
}

impl AtRest {
    /// What the database was made with, or makes it so if it is new. `None` for events in the clear.
    pub(super) fn agree(
        step: &Transaction<'_>,
        key: Option<&KeyEncryptionKey>,
    ) -> rusqlite::Result<Result<Self, InboxError>> {
        let place = vault_context("inbox_key", "1", "wrapped");
        let found: Option<Vec<u8>> =
            step.query_row("SELECT wrapped FROM inbox_key", [], |row| row.get(0)).optional()?;
        Ok(match (found, key) {
            (Some(wrapped), Some(key)) if !wrapped.is_empty() => {
                key.unwrap(&wrapped, &place).map(Self::encrypted).map_err(|_| InboxError::Key)
            }
            (Some(wrapped), None) if wrapped.is_empty() => Ok(Self::Readable),
            (Some(_), _) => Err(InboxError::Protection),
            (None, key) => {
                let data_key = key.map(|key| (key, DataKey::generate()));
                let wrapped = data_key.as_ref().map(|(key, data_key)| key.wrap(data_key, &place));
                step.execute("INSERT INTO inbox_key VALUES (?1)", [wrapped.unwrap_or_default()])?;
                Ok(data_key.map_or(Self::Readable, |(_, data_key)| Self::encrypted(data_key)))
            }
        })
    }

    fn encrypted(key: DataKey) -> Self {
        Self::Encrypted(Box::new(key))
    }

    pub(super) fn write(&self, scope: &str, number: i64, plain: &[u8]) -> Vec<u8> {
        match self {
            Self::Encrypted(key) => key.encrypt(&place(scope, number), plain),
            Self::Readable => plain.to_vec(),
        }
    }

    /// None if it was damaged, moved, or written by a version that knows more.
    pub(super) fn read(&self, scope: &str, number: i64, rest: &[u8]) -> Option<Event> {
        match self {
            Self::Encrypted(key) => decode(&key.decrypt(&place(scope, number), rest).ok()?),
            Self::Readable => decode(rest),
        }
    }
}

fn place(scope: &str, number: i64) -> Vec<u8> {
    vault_context("inbox", &format!("{number} {scope}"), "event")
}

/// An event as JSON. A member that is not known makes it unreadable: better a dead letter than half an event.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    issuer: Issuer,
    audience: Audience,
    id: EventId,
    event_type: EventType,
    occurred_at: Option<Timestamp>,
    txn: Option<String>,
    redelivery_of: Option<EventId>,
    json: Option<Box<RawValue>>,
    base64: Option<String>,
    content_type: Option<String>,
}

pub(super) fn encode(event: &Event) -> Result<Vec<u8>, InboxError> {
    let (json, base64, content_type) = match event.data.clone() {
        Data::Json(json) => (Some(json), None, None),
        Data::Binary { content_type, bytes } => (None, Some(STANDARD.encode(bytes)), Some(content_type)),
    };
    let stored = Stored {
        issuer: event.issuer.clone(),
        audience: event.audience.clone(),
        id: event.id.clone(),
        event_type: event.event_type.clone(),
        occurred_at: event.occurred_at,
        txn: event.txn.clone(),
        redelivery_of: event.redelivery_of.clone(),
        json,
        base64,
        content_type,
    };
    serde_json::to_vec(&stored).map_err(|error| InboxError::Store(Box::new(error)))
}

fn decode(plain: &[u8]) -> Option<Event> {
    let stored: Stored = serde_json::from_slice(plain).ok()?;
    let data = match (stored.json, stored.base64, stored.content_type) {
        (Some(json), None, None) => Data::Json(json),
        (None, Some(bytes), Some(content_type)) => {
            Data::Binary { content_type, bytes: STANDARD.decode(bytes).ok()? }
        }
        _ => return None,
    };
    Some(Event {
        issuer: stored.issuer,
        audience: stored.audience,
        id: stored.id,
        event_type: stored.event_type,
        occurred_at: stored.occurred_at,
        txn: stored.txn,
        data,
        redelivery_of: stored.redelivery_of,
    })
}
