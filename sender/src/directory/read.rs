//! Reads: what there is, and who receives an event.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use waxseal_envelope::EventType;

use super::state::State;
use super::{ChangeError, Directory};
use crate::id::{ConsumerId, EndpointId, GroupName};
use crate::model::client_ca::ClientCa;
use crate::model::consumer::{Consumer, DeclaredType, Group};
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner};
use crate::model::endpoint::Endpoint;
use crate::model::token::ApiToken;

/// Whom an event is published to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum To {
    /// Every subscriber that may see its type.
    All,
    /// The subscribers among these consumers. Each must exist and must be allowed to see the type.
    Consumers(Vec<ConsumerId>),
    /// The subscribers among the members of this group, of those that may see the type.
    Group(GroupName),
}

impl Directory {
    /// The consumer with this id.
    pub fn consumer(&self, id: &ConsumerId) -> Option<Arc<Consumer>> {
        self.read(|state| state.consumers.get(id).cloned())
    }

    /// Consumers in the order of their ids, after `after`.
    pub fn consumers(&self, after: Option<&ConsumerId>, limit: usize) -> Vec<Arc<Consumer>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.read(|state| {
            state
                .consumers
                .range::<ConsumerId, _>((from, Bound::Unbounded))
                .take(limit)
                .map(|(_, consumer)| Arc::clone(consumer))
                .collect()
        })
    }

    /// The sender's authority for client certificates, if there is one yet.
    pub fn client_ca(&self) -> Option<Arc<ClientCa>> {
        self.read(|state| state.client_ca.clone())
    }

    /// The group with this name.
    pub fn group(&self, name: &GroupName) -> Option<Arc<Group>> {
        self.read(|state| state.groups.get(name).cloned())
    }

    /// Every group.
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.read(|state| state.groups.values().cloned().collect())
    }

    /// The declared type with this name.
    pub fn event_type(&self, name: &EventType) -> Option<Arc<DeclaredType>> {
        self.read(|state| state.event_types.get(name).cloned())
    }

    /// Every declared type.
    pub fn event_types(&self) -> Vec<Arc<DeclaredType>> {
        self.read(|state| state.event_types.values().cloned().collect())
    }

    /// The endpoint with this id.
    pub fn endpoint(&self, id: EndpointId) -> Option<Arc<Endpoint>> {
        self.read(|state| state.endpoints.get(&id).cloned())
    }

    /// Endpoints in the order of their ids, after `after`; only those of `consumer` if it is given.
    pub fn endpoints(
        &self,
        consumer: Option<&ConsumerId>,
        after: Option<EndpointId>,
        limit: usize,
    ) -> Vec<Arc<Endpoint>> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        self.read(|state| match consumer {
            None => state.endpoints.range(range).take(limit).map(|(_, found)| Arc::clone(found)).collect(),
            Some(consumer) => {
                let ids = state.endpoints_of.get(consumer).into_iter().flat_map(|ids| ids.range(range));
                ids.take(limit).filter_map(|id| state.endpoints.get(id).cloned()).collect()
            }
        })
    }

    /// The encryption keys that this owner gave.
    pub fn key_set(&self, owner: &KeyOwner) -> Option<Arc<EncryptionKeySet>> {
        self.read(|state| state.key_sets.get(owner).cloned())
    }

    /// The encryption keys that are used for this endpoint: its own, or else its consumer's.
    pub fn key_set_for(&self, endpoint: &Endpoint) -> Option<Arc<EncryptionKeySet>> {
        let own = KeyOwner::Endpoint(endpoint.consumer.clone(), endpoint.id);
        let shared = KeyOwner::Consumer(endpoint.consumer.clone());
        self.read(|state| state.key_sets.get(&own).or_else(|| state.key_sets.get(&shared)).cloned())
    }

    /// Every set of encryption keys, in no particular order.
    pub fn key_sets(&self) -> Vec<Arc<EncryptionKeySet>> {
        self.read(|state| state.key_sets.values().cloned().collect())
    }

    /// The API token whose SHA-256 this is.
    pub fn token_by_hash(&self, sha256: &str) -> Option<Arc<ApiToken>> {
        self.read(|state| state.tokens.get(sha256).cloned())
    }

    /// Every API token, oldest first.
    pub fn tokens(&self) -> Vec<Arc<ApiToken>> {
        let mut tokens: Vec<_> = self.read(|state| state.tokens.values().cloned().collect());
        tokens.sort_by_key(|token| token.id);
        tokens
    }

    /// The endpoints that receive an event of this type: subscribed, and of a consumer that may see it now. Paused
    /// ones are among them; their deliveries wait.
    ///
    /// # Errors
    /// If the type is not declared, or `to` names a consumer or group that does not exist, or a consumer that may
    /// not see the type.
    pub fn fan_out(&self, event_type: &EventType, to: &To) -> Result<Vec<Arc<Endpoint>>, ChangeError> {
        self.read(|state| {
            let declared = state.event_types.get(event_type).ok_or_else(|| ChangeError::Invalid {
                field: "type",
                detail: format!("`{event_type}` is not a declared event type; declare it first"),
            })?;
            match to {
                To::All => Ok(subscribers(state, declared, |_| true)),
                To::Group(name) if !state.groups.contains_key(name) => Err(ChangeError::Invalid {
                    field: "to.group",
                    detail: format!("there is no group `{name}`"),
                }),
                To::Group(name) => {
                    Ok(subscribers(state, declared, |consumer| consumer.groups.contains(name)))
                }
                To::Consumers(ids) => of_consumers(state, declared, ids),
            }
        })
    }
}

fn subscribers(
    state: &State,
    declared: &DeclaredType,
    chosen: impl Fn(&Consumer) -> bool,
) -> Vec<Arc<Endpoint>> {
    let to_type = state.subscribers.get(&declared.name).into_iter().flatten();
    let ids = to_type.chain(&state.subscribers_to_all);
    let endpoints = ids.filter_map(|id| state.endpoints.get(id));
    let receives = |endpoint: &&Arc<Endpoint>| {
        let consumer = state.consumers.get(&endpoint.consumer);
        consumer.is_some_and(|consumer| declared.is_visible_to(consumer) && chosen(consumer))
    };
    endpoints.filter(receives).cloned().collect()
}

fn of_consumers(
    state: &State,
    declared: &DeclaredType,
    ids: &[ConsumerId],
) -> Result<Vec<Arc<Endpoint>>, ChangeError> {
    let refused = |detail| ChangeError::Invalid { field: "to.consumers", detail };
    let mut found = Vec::new();
    let distinct: BTreeSet<_> = ids.iter().collect();
    for id in distinct {
        let consumer =
            state.consumers.get(id).ok_or_else(|| refused(format!("there is no consumer `{id}`")))?;
        if !declared.is_visible_to(consumer) {
            return Err(refused(format!("consumer `{id}` may not see events of type `{}`", declared.name)));
        }
        let endpoints = state.endpoints_of.get(id).into_iter().flatten();
        found.extend(
            endpoints
                .filter_map(|id| state.endpoints.get(id))
                .filter(|endpoint| endpoint.wants(&declared.name))
                .cloned(),
        );
    }
    Ok(found)
}
