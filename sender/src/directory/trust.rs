//! What ends an operator's trust in sealed endpoints beside another URL or protection: keys that come from elsewhere.
//!
//! An operator trusts a receiver with the keys that it has. Guarantees that a change by which somebody else could have
//! content sealed to further keys ends the trust in the same transaction, that the operator is told there, and that it
//! is on record at each endpoint. Whoever may trust an endpoint may give its keys: that ends nothing.

use std::sync::Arc;

use super::item::{Edit, Item, Name};
use super::state::State;
use super::{ChangeError, Changing, Directory};
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource};
use crate::model::endpoint::{Endpoint, Protection};
use crate::model::verification::Verification;
use crate::operations::notices;

/// Who changes where keys come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeysGivenBy {
    /// Whoever may trust endpoints: bound to no consumer.
    Operator,
    /// A token that is bound to the consumer.
    Consumer,
}

impl Directory {
    /// Persists a change of a set, and the end of the trust that goes with it.
    pub(super) async fn commit_keys(
        &self,
        changing: Changing,
        edit: Edit,
        by: KeysGivenBy,
    ) -> Result<(), ChangeError> {
        let ended = match by {
            KeysGivenBy::Operator => Vec::new(),
            KeysGivenBy::Consumer => self.read(|state| trust_ended_by(state, &edit)),
        };
        let mut groups = vec![vec![edit]];
        if let Some(first) = ended.first() {
            let notice = notices::trust_ended(&first.consumer, &ended, self.clock.now());
            groups.extend(self.news_of(first, || notice).map(|news| vec![news]));
        }
        groups.extend(ended.into_iter().map(|endpoint| vec![Edit::Put(Item::Endpoint(Arc::new(endpoint)))]));
        self.commit_each(changing, groups).await
    }
}

/// The endpoints that are not trusted any more after this change, as they are then.
fn trust_ended_by(state: &State, edit: &Edit) -> Vec<Endpoint> {
    let (owner, after) = match edit {
        Edit::Put(Item::EncryptionKeys(set)) => (&set.owner, Some(&**set)),
        Edit::Remove(Name::EncryptionKeys(owner)) => (owner, None),
        Edit::Put(_) | Edit::Remove(_) => return Vec::new(),
    };
    let set_of = |owner: &KeyOwner| state.key_sets.get(owner).map(|set| &**set);
    let of_consumer = state.endpoints_of.get(owner.consumer()).into_iter().flatten();
    let trusted = of_consumer.filter_map(|id| state.endpoints.get(id)).filter(|endpoint| {
        let sealed = endpoint.protection == Protection::Sealed;
        sealed && matches!(endpoint.verification, Verification::Trusted { .. })
    });
    let ended = trusted.filter(|endpoint| {
        let own = KeyOwner::Endpoint(endpoint.consumer.clone(), endpoint.id);
        let shared = KeyOwner::Consumer(endpoint.consumer.clone());
        let set_after = |one: &KeyOwner| if one == owner { after } else { set_of(one) };
        let used_before = set_of(&own).or_else(|| set_of(&shared));
        let used_after = set_after(&own).or_else(|| set_after(&shared));
        used_after.is_some_and(|after| used_before.is_none_or(|before| brings_others(before, after)))
    });
    ended
        .map(|endpoint| Endpoint { verification: Verification::UNASKED, ..Endpoint::clone(endpoint) })
        .collect()
}

/// Whether `after` has, or can come to have, keys that `before` had not. Keys that come and go at the same `jwks_uri` are
/// admitted one by one.
fn brings_others(before: &EncryptionKeySet, after: &EncryptionKeySet) -> bool {
    match (&before.source, &after.source) {
        (KeySource::Pinned, KeySource::Pinned) => {
            let known = |thumbprint: &String| before.keys.iter().any(|key| key.thumbprint == *thumbprint);
            after.keys.iter().any(|key| !known(&key.thumbprint))
        }
        (before, after) => before != after,
    }
}
