//! One configured thing, and its form in the store: JSON, encrypted, bound to its kind and id.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use waxseal_envelope::EventType;
use waxseal_keys::DataKey;
use zeroize::Zeroizing;

use super::{ChangeError, DirectoryEvent};
use crate::data_keys::DataKeys;
use crate::id::{ConsumerId, EndpointId, EventId, GroupName, RecoveryId, TokenId};
use crate::model::client_ca::ClientCa;
use crate::model::consumer::{Consumer, DeclaredType, Group};
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner};
use crate::model::endpoint::Endpoint;
use crate::model::health::EndpointHealth;
use crate::model::notice::Notice;
use crate::model::recovery::Recovery;
use crate::model::token::ApiToken;
use crate::model::told::Told;
use crate::store::{Record, RecordChange, RecordKind, StoreError};

/// One configured thing.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Consumer(Arc<Consumer>),
    Group(Arc<Group>),
    EventType(Arc<DeclaredType>),
    Endpoint(Arc<Endpoint>),
    Health(Arc<EndpointHealth>),
    EncryptionKeys(Arc<EncryptionKeySet>),
    Recovery(Arc<Recovery>),
    Token(Arc<ApiToken>),
    ClientCa(Arc<ClientCa>),
    Notice(Arc<Notice>),
    Told(Arc<Told>),
}

/// The name of one configured thing.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Consumer(ConsumerId),
    Group(GroupName),
    EventType(EventType),
    Endpoint(EndpointId),
    Health(EndpointId),
    EncryptionKeys(KeyOwner),
    Recovery(RecoveryId),
    Token(TokenId),
    /// There is one.
    ClientCa,
    Notice(EventId),
    Told(String),
}

/// A change to one configured thing.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Put(Item),
    Remove(Name),
}

impl Item {
    pub(super) fn open(record: &Record, keys: &DataKeys) -> Result<Self, ChangeError> {
        let corrupt = StoreError::Corrupt { what: record.kind.name() };
        let Some(key) = data_key(keys, record.consumer.as_ref()) else {
            return Err(corrupt.into());
        };
        let context = context(record.kind, &record.id);
        let json = key.decrypt(context.as_bytes(), &record.sealed).map_err(|_| corrupt)?;
        Ok(match record.kind {
            RecordKind::Consumer => Self::Consumer(parse(record.kind, &json)?),
            RecordKind::Group => Self::Group(parse(record.kind, &json)?),
            RecordKind::EventType => Self::EventType(parse(record.kind, &json)?),
            RecordKind::Endpoint => Self::Endpoint(parse(record.kind, &json)?),
            RecordKind::EndpointHealth => Self::Health(parse(record.kind, &json)?),
            RecordKind::EncryptionKeys => Self::EncryptionKeys(parse(record.kind, &json)?),
            RecordKind::Recovery => Self::Recovery(parse(record.kind, &json)?),
            RecordKind::Token => Self::Token(parse(record.kind, &json)?),
            RecordKind::ClientCa => Self::ClientCa(parse(record.kind, &json)?),
            RecordKind::Notice => Self::Notice(parse(record.kind, &json)?),
            RecordKind::Told => Self::Told(parse(record.kind, &json)?),
        })
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Consumer(consumer) => Name::Consumer(consumer.id.clone()),
            Self::Group(group) => Name::Group(group.name.clone()),
            Self::EventType(declared) => Name::EventType(declared.name.clone()),
            Self::Endpoint(endpoint) => Name::Endpoint(endpoint.id),
            Self::Health(health) => Name::Health(health.endpoint),
            Self::EncryptionKeys(set) => Name::EncryptionKeys(set.owner.clone()),
            Self::Recovery(recovery) => Name::Recovery(recovery.id),
            Self::Token(token) => Name::Token(token.id),
            Self::ClientCa(_) => Name::ClientCa,
            Self::Notice(notice) => Name::Notice(notice.event),
            Self::Told(told) => Name::Told(told.id()),
        }
    }

    pub(super) fn consumer(&self) -> Option<&ConsumerId> {
        match self {
            Self::Consumer(consumer) => Some(&consumer.id),
            Self::Endpoint(endpoint) => Some(&endpoint.consumer),
            Self::Health(health) => Some(&health.consumer),
            Self::EncryptionKeys(set) => Some(set.owner.consumer()),
            Self::Recovery(recovery) => Some(&recovery.consumer),
            Self::Token(token) => token.consumer.as_ref(),
            // What the operator is told is the operator's.
            Self::Group(_) | Self::EventType(_) | Self::ClientCa(_) | Self::Notice(_) | Self::Told(_) => None,
        }
    }

    /// It may hold secrets.
    pub(super) fn to_json(&self) -> Zeroizing<Vec<u8>> {
        match self {
            Self::Consumer(consumer) => to_json(consumer),
            Self::Group(group) => to_json(group),
            Self::EventType(declared) => to_json(declared),
            Self::Endpoint(endpoint) => to_json(endpoint),
            Self::Health(health) => to_json(health),
            Self::EncryptionKeys(set) => to_json(set),
            Self::Recovery(recovery) => to_json(recovery),
            Self::Token(token) => to_json(token),
            Self::ClientCa(authority) => to_json(authority),
            Self::Notice(notice) => to_json(notice),
            Self::Told(told) => to_json(told),
        }
    }
}

impl Name {
    pub(super) fn kind(&self) -> RecordKind {
        match self {
            Self::Consumer(_) => RecordKind::Consumer,
            Self::Group(_) => RecordKind::Group,
            Self::EventType(_) => RecordKind::EventType,
            Self::Endpoint(_) => RecordKind::Endpoint,
            Self::Health(_) => RecordKind::EndpointHealth,
            Self::EncryptionKeys(_) => RecordKind::EncryptionKeys,
            Self::Recovery(_) => RecordKind::Recovery,
            Self::Token(_) => RecordKind::Token,
            Self::ClientCa => RecordKind::ClientCa,
            Self::Notice(_) => RecordKind::Notice,
            Self::Told(_) => RecordKind::Told,
        }
    }

    /// The consumer that it is, if it is one.
    pub(super) fn consumer(&self) -> Option<&ConsumerId> {
        if let Self::Consumer(id) = self { Some(id) } else { None }
    }

    pub(super) fn id(&self) -> String {
        match self {
            Self::Consumer(id) => id.to_string(),
            Self::Group(name) => name.to_string(),
            Self::EventType(name) => name.to_string(),
            Self::Endpoint(id) | Self::Health(id) => id.to_string(),
            Self::EncryptionKeys(KeyOwner::Consumer(id)) => format!("consumer/{id}"),
            Self::EncryptionKeys(KeyOwner::Endpoint(_, id)) => format!("endpoint/{id}"),
            Self::Recovery(id) => id.to_string(),
            Self::Token(id) => id.to_string(),
            Self::ClientCa => "own".to_owned(),
            Self::Notice(id) => id.to_string(),
            Self::Told(id) => id.clone(),
        }
    }
}

impl Edit {
    pub(super) fn seal(&self, keys: &DataKeys) -> Result<RecordChange, ChangeError> {
        let item = match self {
            Self::Put(item) => item,
            Self::Remove(name) => return Ok(RecordChange::Remove { kind: name.kind(), id: name.id() }),
        };
        let (kind, id) = (item.name().kind(), item.name().id());
        let consumer = item.consumer();
        let key = data_key(keys, consumer).ok_or_else(|| ChangeError::NotFound {
            what: "consumer",
            id: consumer.map(ToString::to_string).unwrap_or_default(),
        })?;
        let sealed = key.encrypt(context(kind, &id).as_bytes(), &item.to_json());
        Ok(RecordChange::Put(Record { kind, id, consumer: consumer.cloned(), sealed }))
    }

    pub(super) fn event(&self) -> Option<DirectoryEvent> {
        match self {
            Self::Put(Item::Endpoint(endpoint)) => Some(DirectoryEvent::EndpointChanged(endpoint.id)),
            Self::Remove(Name::Endpoint(id)) => Some(DirectoryEvent::EndpointRemoved(*id)),
            Self::Put(Item::EncryptionKeys(set)) => Some(DirectoryEvent::KeysChanged(set.owner.clone())),
            Self::Remove(Name::EncryptionKeys(owner)) => Some(DirectoryEvent::KeysChanged(owner.clone())),
            Self::Put(Item::Recovery(recovery)) => Some(DirectoryEvent::RecoveryChanged(recovery.id)),
            Self::Put(Item::Notice(_)) => Some(DirectoryEvent::NoticeKept),
            Self::Put(_) | Self::Remove(_) => None,
        }
    }
}

fn data_key(keys: &DataKeys, consumer: Option<&ConsumerId>) -> Option<Arc<DataKey>> {
    match consumer {
        Some(consumer) => keys.of(consumer),
        None => Some(keys.system()),
    }
}

fn context(kind: RecordKind, id: &str) -> String {
    format!("catalog|{}|{id}", kind.name())
}

fn parse<T: DeserializeOwned>(kind: RecordKind, json: &[u8]) -> Result<Arc<T>, ChangeError> {
    let value = serde_json::from_slice(json).map_err(|_| StoreError::Corrupt { what: kind.name() })?;
    Ok(Arc::new(value))
}

fn to_json<T: Serialize>(value: &T) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(
        serde_json::to_vec(value).expect("the model has string keys only and no failing serialiser"),
    )
}
