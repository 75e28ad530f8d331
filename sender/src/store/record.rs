//! Configuration as a store keeps it: named ciphertext.

use super::{AuditRow, Version};
use crate::id::ConsumerId;

/// What a configuration record is about.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum RecordKind {
    /// A consumer.
    Consumer,
    /// A group.
    Group,
    /// A declared event type.
    EventType,
    /// An endpoint.
    Endpoint,
    /// How an endpoint that fails has been doing.
    EndpointHealth,
    /// The encryption keys of a consumer or an endpoint.
    EncryptionKeys,
    /// A recovery.
    Recovery,
    /// An API token.
    Token,
    /// The authority of the sender's client certificates.
    ClientCa,
    /// Something that the operator is to be told.
    Notice,
    /// Something that the operator was told, and that still stands.
    Told,
}

impl RecordKind {
    /// Its name, as kept in a store and bound into the ciphertext.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::Group => "group",
            Self::EventType => "event_type",
            Self::Endpoint => "endpoint",
            Self::EndpointHealth => "endpoint_health",
            Self::EncryptionKeys => "encryption_keys",
            Self::Recovery => "recovery",
            Self::Token => "token",
            Self::ClientCa => "client_ca",
            Self::Notice => "notice",
            Self::Told => "told",
        }
    }

    /// The kind that has this name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [
            Self::Consumer,
            Self::Group,
            Self::EventType,
            Self::Endpoint,
            Self::EndpointHealth,
            Self::EncryptionKeys,
            Self::Recovery,
            Self::Token,
            Self::ClientCa,
            Self::Notice,
            Self::Told,
        ];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

/// One configured thing. The pair of kind and id is its name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// What it is.
    pub kind: RecordKind,
    /// Its id among its kind.
    pub id: String,
    /// Whose it is, if it is one consumer's.
    pub consumer: Option<ConsumerId>,
    /// Ciphertext.
    pub sealed: Vec<u8>,
}

/// A change to one record, or the entry of one in the audit trail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RecordChange {
    /// Writes it, new or over the old one.
    Put(Record),
    /// Removes it; removing what is not there is no error.
    Remove {
        /// What it is.
        kind: RecordKind,
        /// Its id among its kind.
        id: String,
    },
    /// Adds an entry to the audit trail: who did what else is written here.
    Audit(AuditRow),
    /// Nothing is written unless the configuration is still at this version; otherwise [`StoreError::Superseded`].
    /// A store that one process has to itself takes it as met.
    ///
    /// [`StoreError::Superseded`]: super::StoreError::Superseded
    OnlyAt(Version),
}
