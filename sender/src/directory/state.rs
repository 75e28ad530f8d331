//! The present state, with the indexes that fan-out needs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use waxseal_envelope::{Audience, EventType};

use super::item::{Item, Name};
use crate::id::{ConsumerId, EndpointId, EventId, GroupName, RecoveryId};
use crate::model::client_ca::ClientCa;
use crate::model::consumer::{Consumer, DeclaredType, Group};
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner};
use crate::model::endpoint::{Endpoint, Subscription};
use crate::model::health::EndpointHealth;
use crate::model::notice::Notice;
use crate::model::recovery::Recovery;
use crate::model::token::ApiToken;
use crate::model::told::Told;
use crate::store::Version;

/// The present state. Ordered maps where the API lists.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Of what is configured, where several nodes use the store.
    pub(super) version: Version,
    pub(super) consumers: BTreeMap<ConsumerId, Arc<Consumer>>,
    pub(super) groups: BTreeMap<GroupName, Arc<Group>>,
    pub(super) event_types: BTreeMap<EventType, Arc<DeclaredType>>,
    pub(super) endpoints: BTreeMap<EndpointId, Arc<Endpoint>>,
    pub(super) endpoints_of: HashMap<ConsumerId, BTreeSet<EndpointId>>,
    pub(super) health: HashMap<EndpointId, Arc<EndpointHealth>>,
    pub(super) subscribers: HashMap<EventType, BTreeSet<EndpointId>>,
    pub(super) subscribers_to_all: BTreeSet<EndpointId>,
    /// Endpoints that have an audience of their own.
    pub(super) audiences: HashMap<Audience, BTreeSet<EndpointId>>,
    pub(super) key_sets: HashMap<KeyOwner, Arc<EncryptionKeySet>>,
    pub(super) recoveries: BTreeMap<RecoveryId, Arc<Recovery>>,
    pub(super) tokens: HashMap<String, Arc<ApiToken>>,
    pub(super) client_ca: Option<Arc<ClientCa>>,
    pub(super) notices: BTreeMap<EventId, Arc<Notice>>,
    pub(super) told: BTreeMap<String, Arc<Told>>,
    /// Whose endpoints operational events go to, if there is such a consumer. It is set at the start and not kept.
    pub(super) operator: Option<ConsumerId>,
}

impl State {
    pub(super) fn put(&mut self, item: Item) {
        match item {
            Item::Consumer(consumer) => {
                self.consumers.insert(consumer.id.clone(), consumer);
            }
            Item::Group(group) => {
                self.groups.insert(group.name.clone(), group);
            }
            Item::EventType(declared) => {
                self.event_types.insert(declared.name.clone(), declared);
            }
            Item::Endpoint(endpoint) => {
                self.unindex(endpoint.id);
                self.index(&endpoint);
                self.endpoints.insert(endpoint.id, endpoint);
            }
            Item::Health(health) => {
                self.health.insert(health.endpoint, health);
            }
            Item::EncryptionKeys(set) => {
                self.key_sets.insert(set.owner.clone(), set);
            }
            Item::Recovery(recovery) => {
                self.recoveries.insert(recovery.id, recovery);
            }
            Item::Token(token) => {
                self.tokens.insert(token.sha256.clone(), token);
            }
            Item::ClientCa(authority) => self.client_ca = Some(authority),
            Item::Notice(notice) => {
                self.notices.insert(notice.event, notice);
            }
            Item::Told(told) => {
                self.told.insert(told.id(), told);
            }
        }
    }

    pub(super) fn remove(&mut self, name: &Name) {
        match name {
            Name::Consumer(id) => {
                self.consumers.remove(id);
            }
            Name::Group(name) => {
                self.groups.remove(name);
            }
            Name::EventType(name) => {
                self.event_types.remove(name);
            }
            Name::Endpoint(id) => {
                self.unindex(*id);
                self.endpoints.remove(id);
            }
            Name::Health(id) => {
                self.health.remove(id);
            }
            Name::EncryptionKeys(owner) => {
                self.key_sets.remove(owner);
            }
            Name::Recovery(id) => {
                self.recoveries.remove(id);
            }
            Name::Token(id) => self.tokens.retain(|_, token| token.id != *id),
            Name::ClientCa => self.client_ca = None,
            Name::Notice(id) => {
                self.notices.remove(id);
            }
            Name::Told(id) => {
                self.told.remove(id);
            }
        }
    }

    fn index(&mut self, endpoint: &Endpoint) {
        self.endpoints_of.entry(endpoint.consumer.clone()).or_default().insert(endpoint.id);
        if let Some(own) = &endpoint.audience {
            self.audiences.entry(own.clone()).or_default().insert(endpoint.id);
        }
        match &endpoint.event_types {
            Subscription::All => {
                self.subscribers_to_all.insert(endpoint.id);
            }
            Subscription::Types(types) => {
                for event_type in types {
                    self.subscribers.entry(event_type.clone()).or_default().insert(endpoint.id);
                }
            }
        }
    }

    fn unindex(&mut self, id: EndpointId) {
        let Some(endpoint) = self.endpoints.get(&id) else {
            return;
        };
        forget(&mut self.endpoints_of, &endpoint.consumer, id);
        self.subscribers_to_all.remove(&id);
        if let Some(own) = &endpoint.audience {
            forget(&mut self.audiences, own, id);
        }
        if let Subscription::Types(types) = &endpoint.event_types {
            for event_type in types {
                forget(&mut self.subscribers, event_type, id);
            }
        }
    }
}

/// Takes `id` out of the set under `key`, and the set away when it is empty.
fn forget<K: Eq + Hash>(sets: &mut HashMap<K, BTreeSet<EndpointId>>, key: &K, id: EndpointId) {
    if let Some(ids) = sets.get_mut(key) {
        ids.remove(&id);
        if ids.is_empty() {
            sets.remove(key);
        }
    }
}
