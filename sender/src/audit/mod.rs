//! The audit trail: who changed what, when, written in the transaction of the change.
//!
//! **Who** is the token of the request that is being carried out, [`Actor::Cli`] for a program on this machine, and the
//! engine for everything that happens by itself. It is known to the task that makes the change ([`acting`]), so that
//! nobody who changes something can forget to say it.
//!
//! **What** is the action, the object and the names of the fields that changed; values only of fields that are harmless
//! (`fields`): never a secret, a URL, free text or content.
//!
//! **At rest** an entry has ids, the action and the time in the clear, because the store searches by them, and the rest
//! encrypted: under the data key of the consumer that it is about, or the sender's own. Erasing a consumer so destroys
//! the details of its entries and leaves that there were changes, by whom, and that it was erased.
//!
//! **With several nodes** each writes the entries of what it changed, and any of them shows all: they are read from the
//! store. An entry is no change of what is configured: it waits for no turn.

pub(crate) mod fields;
mod origin;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use waxseal_keys::{Clock, DataKey, Timestamp};

pub use self::origin::{Actor, acting};
pub(crate) use self::origin::{identify, of_request};
use crate::data_keys::DataKeys;
use crate::id::{Ascending, AuditId, ConsumerId};
use crate::store::{AuditRow, RecordChange};

/// What happened to what.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deed {
    /// As `endpoint.update`: the kind of the object, and the verb.
    pub(crate) action: String,
    /// Its id.
    pub(crate) object: String,
    /// Whose it is, if it is one consumer's.
    pub(crate) consumer: Option<ConsumerId>,
    /// The fields that changed; what they were and are where that is harmless, else null.
    pub(crate) changed: BTreeMap<String, Value>,
}

/// An entry of the audit trail, as it can be read.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEntry {
    /// Its id; ids ascend with time.
    pub id: AuditId,
    /// Who did it: the id of a token, `engine`, `cli`, or the name that an embedding program gave.
    pub actor: String,
    /// What was done, as `endpoint.update`.
    pub action: String,
    /// To what, by its id.
    pub object: String,
    /// Whose that is, if it is one consumer's.
    pub consumer: Option<ConsumerId>,
    /// The rest; none if it was under the key of a consumer that was erased.
    pub details: Option<Details>,
}

/// What is encrypted of an entry.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    /// The token's label at that time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The request that did it, as the answer named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The fields that changed; what they were and are where that is harmless, else null.
    pub changed: BTreeMap<String, Value>,
}

/// Makes entries, and reads them.
#[derive(Debug)]
pub struct Recorder {
    keys: Arc<DataKeys>,
    clock: Arc<dyn Clock>,
    ids: Ascending,
}

impl Recorder {
    /// Over these keys, with the time from `clock`.
    pub fn new(keys: Arc<DataKeys>, clock: Arc<dyn Clock>) -> Self {
        Self { keys, clock, ids: Ascending::default() }
    }

    /// The entry of a deed of whoever acts now, to be written with it.
    pub(crate) fn entry(&self, deed: Deed) -> RecordChange {
        let key = deed.consumer.as_ref().and_then(|consumer| self.keys.of(consumer));
        self.entry_under(&key.unwrap_or_else(|| self.keys.system()), deed)
    }

    /// As [`Self::entry`], of an erasure: under a key that outlives it.
    pub(crate) fn entry_of_erasure(&self, deed: Deed) -> RecordChange {
        self.entry_under(&self.keys.system(), deed)
    }

    fn entry_under(&self, key: &DataKey, deed: Deed) -> RecordChange {
        entry(key, self.ids.next_audit(self.clock.now()), deed)
    }

    /// Reads an entry as far as there is a key for it.
    pub fn read(&self, row: AuditRow) -> AuditEntry {
        let context = context(&row);
        // That a consumer was erased is under the sender's key: its own went with it.
        let keys = row.consumer.as_ref().and_then(|consumer| self.keys.of(consumer)).into_iter();
        let opened = keys
            .chain([self.keys.system()])
            .find_map(|key| key.decrypt(context.as_bytes(), &row.sealed).ok());
        let details = opened.and_then(|json| serde_json::from_slice(&json).ok());
        let AuditRow { id, actor, action, object, consumer, .. } = row;
        AuditEntry { id, actor, action, object, consumer, details }
    }
}

impl AuditEntry {
    /// When it was done.
    pub fn at(&self) -> Timestamp {
        self.id.made_at()
    }
}

/// The entry of a deed of whoever acts now, under this key.
pub(crate) fn entry(key: &DataKey, id: AuditId, deed: Deed) -> RecordChange {
    let Deed { action, object, consumer, changed } = deed;
    let (actor, label, request) = origin::present();
    let mut row = AuditRow { id, actor, action, object, consumer, sealed: Vec::new() };
    let details = Details { label, request, changed };
    let json = serde_json::to_vec(&details).expect("string keys and plain values");
    row.sealed = key.encrypt(context(&row).as_bytes(), &json);
    RecordChange::Audit(row)
}

/// Binds what is encrypted to what is not: none of it can be changed or moved without notice.
fn context(row: &AuditRow) -> String {
    let consumer = row.consumer.as_ref().map_or("", ConsumerId::as_str);
    format!("audit|{}|{}|{}|{}|{consumer}", row.id, row.actor, row.action, row.object)
}
