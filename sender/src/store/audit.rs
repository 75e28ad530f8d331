//! The audit trail as a store keeps it: ids, actions and times to search by, the rest as ciphertext.

use crate::id::{AuditId, ConsumerId};

/// One entry. It is written once, and never changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditRow {
    /// Its id; ids ascend with time.
    pub id: AuditId,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// Whose that is, if it is one consumer's.
    pub consumer: Option<ConsumerId>,
    /// Ciphertext.
    pub sealed: Vec<u8>,
}

/// Which entries to list, the latest first. Every given field must match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditFilter {
    /// Of what is this consumer's.
    pub consumer: Option<ConsumerId>,
    /// Of this object.
    pub object: Option<String>,
    /// Of this actor.
    pub actor: Option<String>,
    /// Of this action, as `endpoint.update`.
    pub action: Option<String>,
    /// Newer than this one.
    pub after: Option<AuditId>,
    /// Older than this one.
    pub before: Option<AuditId>,
    /// At most so many.
    pub limit: u32,
}

/// Some of the entries that match.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AuditPage {
    /// They, the latest first.
    pub rows: Vec<AuditRow>,
    /// How far the search came, if it ended because it had looked at enough: it can go on behind this one. `None`: the
    /// page is full, or nothing more matches.
    pub reached: Option<AuditId>,
}

impl AuditFilter {
    /// Whether it finds this entry.
    pub fn matches(&self, row: &AuditRow) -> bool {
        self.consumer.as_ref().is_none_or(|consumer| row.consumer.as_ref() == Some(consumer))
            && self.object.as_ref().is_none_or(|object| row.object == *object)
            && self.actor.as_ref().is_none_or(|actor| row.actor == *actor)
            && self.action.as_ref().is_none_or(|action| row.action == *action)
            && self.after.is_none_or(|after| row.id > after)
            && self.before.is_none_or(|before| row.id < before)
    }
}
