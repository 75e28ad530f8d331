//! What a change says of itself in the audit trail: one entry for each, about the thing that it was made for.
//!
//! Guarantees that whatever goes through [`Directory::commit`](super::Directory) and changes something configured has its
//! entry in the same transaction. What the sender keeps for itself (health, notices, steps of a recovery) has none.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Directory;
use super::item::{Edit, Item, Name};
use super::state::State;
use crate::audit::{Deed, fields};
use crate::model::encryption_keys::KeyOwner;
use crate::model::endpoint::EndpointStatus;
use crate::store::{RecordChange, RecordKind};

impl Directory {
    /// The entry of these edits; none if nothing changes that concerns anybody.
    pub(super) fn record(&self, edits: &[Edit]) -> Option<RecordChange> {
        let principal = edits.iter().filter(|edit| rank(edit).is_some()).min_by_key(|edit| rank(edit))?;
        let deed = self.read(|state| deed(state, principal, edits))?;
        let erases = matches!(principal, Edit::Remove(Name::Consumer(_)));
        Some(if erases { self.recorder.entry_of_erasure(deed) } else { self.recorder.entry(deed) })
    }
}

/// Which of several edits the others were made for: a removal takes along what hangs on it, an endpoint brings its keys.
fn rank(edit: &Edit) -> Option<u8> {
    match edit {
        Edit::Remove(Name::Consumer(_)) => Some(0),
        Edit::Remove(Name::Group(_)) => Some(1),
        Edit::Remove(Name::Endpoint(_)) => Some(2),
        Edit::Put(Item::Health(_) | Item::Notice(_) | Item::Told(_)) => None,
        Edit::Put(Item::EncryptionKeys(_)) => Some(4),
        Edit::Put(_) => Some(3),
        Edit::Remove(Name::Health(_) | Name::Notice(_) | Name::Told(_) | Name::Recovery(_)) => None,
        Edit::Remove(_) => Some(5),
    }
}

fn deed(state: &State, principal: &Edit, edits: &[Edit]) -> Option<Deed> {
    let name = match principal {
        Edit::Put(item) => item.name(),
        Edit::Remove(name) => name.clone(),
    };
    let before = state.item(&name);
    let after = match principal {
        Edit::Put(item) => Some(item),
        Edit::Remove(_) => None,
    };
    let changed = match principal {
        Edit::Put(item) => differing(before.as_ref(), item),
        Edit::Remove(_) => taken_along(principal, edits),
    };
    if before.is_some() && after.is_some() && changed.is_empty() {
        return None;
    }
    let consumer = match (&name, before.as_ref().or(after)) {
        (Name::Consumer(id), _) => Some(id.clone()),
        (_, item) => item.and_then(|item| item.consumer().cloned()),
    };
    let action = format!("{}.{}", name.kind().name(), verb(before.as_ref(), after));
    Some(Deed { action, object: object(&name), consumer, changed })
}

/// The id that people know it by.
fn object(name: &Name) -> String {
    match name {
        Name::EncryptionKeys(KeyOwner::Consumer(id)) => id.to_string(),
        Name::EncryptionKeys(KeyOwner::Endpoint(_, id)) => id.to_string(),
        name => name.id(),
    }
}

fn verb(before: Option<&Item>, after: Option<&Item>) -> &'static str {
    match (before, after) {
        (None, _) => "create",
        (Some(_), None) => "delete",
        (Some(Item::Endpoint(before)), Some(Item::Endpoint(after))) if before.status != after.status => {
            match after.status {
                EndpointStatus::Active => "resume",
                EndpointStatus::Paused { .. } => "pause",
            }
        }
        (Some(Item::Recovery(_)), Some(_)) => "cancel",
        _ => "update",
    }
}

fn differing(before: Option<&Item>, after: &Item) -> BTreeMap<String, Value> {
    let json = |item: &Item| -> Zeroizing<Vec<u8>> { item.to_json() };
    let (before, after) = (before.map(json), json(after));
    fields::changed(before.as_ref().map(|json| json.as_slice()), Some(&after))
}

/// How many other things went or changed with it, by kind.
fn taken_along(principal: &Edit, edits: &[Edit]) -> BTreeMap<String, Value> {
    let mut counts: BTreeMap<RecordKind, u64> = BTreeMap::new();
    for edit in edits.iter().filter(|edit| !std::ptr::eq(*edit, principal)) {
        let kind = match edit {
            Edit::Put(item) => item.name().kind(),
            Edit::Remove(name) => name.kind(),
        };
        *counts.entry(kind).or_default() += 1;
    }
    counts.retain(|kind, _| !matches!(kind, RecordKind::EndpointHealth));
    counts.into_iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect()
}
