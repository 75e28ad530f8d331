//! The names of what is known, as a store gives them.

use std::sync::Arc;

use waxseal_envelope::EventType;

use super::item::{Item, Name};
use super::state::State;
use crate::id::{ConsumerId, EndpointId, EventId, GroupName, RecoveryId, TokenId};
use crate::model::encryption_keys::KeyOwner;
use crate::store::RecordKind;

impl State {
    /// The name of what a store calls so, if it is known.
    pub(super) fn name(&self, kind: RecordKind, id: &str) -> Option<Name> {
        let name = match kind {
            RecordKind::Consumer => Name::Consumer(ConsumerId::parse(id).ok()?),
            RecordKind::Group => Name::Group(GroupName::parse(id).ok()?),
            RecordKind::EventType => Name::EventType(EventType::parse(id).ok()?),
            RecordKind::Endpoint => Name::Endpoint(EndpointId::parse(id).ok()?),
            RecordKind::EndpointHealth => Name::Health(EndpointId::parse(id).ok()?),
            RecordKind::EncryptionKeys => Name::EncryptionKeys(self.key_owner(id)?),
            RecordKind::Recovery => Name::Recovery(RecoveryId::parse(id).ok()?),
            RecordKind::Token => Name::Token(TokenId::parse(id).ok()?),
            RecordKind::ClientCa => Name::ClientCa,
            RecordKind::Notice => Name::Notice(EventId::parse(id).ok()?),
            RecordKind::Told => Name::Told(id.to_owned()),
        };
        self.item(&name).map(|_| name)
    }

    /// Every name; those of what is kept of endpoints' health are left out.
    pub(super) fn names(&self) -> Vec<(RecordKind, String)> {
        let names = self.consumers.keys().cloned().map(Name::Consumer);
        let names = names.chain(self.groups.keys().cloned().map(Name::Group));
        let names = names.chain(self.event_types.keys().cloned().map(Name::EventType));
        let names = names.chain(self.endpoints.keys().copied().map(Name::Endpoint));
        let names = names.chain(self.key_sets.keys().cloned().map(Name::EncryptionKeys));
        let names = names.chain(self.recoveries.keys().copied().map(Name::Recovery));
        let names = names.chain(self.tokens.values().map(|token| Name::Token(token.id)));
        let names = names.chain(self.client_ca.iter().map(|_| Name::ClientCa));
        let names = names.chain(self.notices.keys().copied().map(Name::Notice));
        let names = names.chain(self.told.keys().cloned().map(Name::Told));
        names.map(|name| (name.kind(), name.id())).collect()
    }

    /// The thing with this name as it is now.
    pub(super) fn item(&self, name: &Name) -> Option<Item> {
        match name {
            Name::Consumer(id) => self.consumers.get(id).cloned().map(Item::Consumer),
            Name::Group(name) => self.groups.get(name).cloned().map(Item::Group),
            Name::EventType(name) => self.event_types.get(name).cloned().map(Item::EventType),
            Name::Endpoint(id) => self.endpoints.get(id).cloned().map(Item::Endpoint),
            Name::Health(id) => self.health.get(id).cloned().map(Item::Health),
            Name::EncryptionKeys(owner) => self.key_sets.get(owner).cloned().map(Item::EncryptionKeys),
            Name::Recovery(id) => self.recoveries.get(id).cloned().map(Item::Recovery),
            Name::Token(id) => {
                self.tokens.values().find(|token| token.id == *id).map(Arc::clone).map(Item::Token)
            }
            Name::ClientCa => self.client_ca.clone().map(Item::ClientCa),
            Name::Notice(id) => self.notices.get(id).cloned().map(Item::Notice),
            Name::Told(id) => self.told.get(id).cloned().map(Item::Told),
        }
    }

    /// An endpoint's consumer is not in the name of its keys.
    fn key_owner(&self, id: &str) -> Option<KeyOwner> {
        if let Some(consumer) = id.strip_prefix("consumer/") {
            return ConsumerId::parse(consumer).ok().map(KeyOwner::Consumer);
        }
        let endpoint = EndpointId::parse(id.strip_prefix("endpoint/")?).ok()?;
        let consumer = self.endpoints.get(&endpoint)?.consumer.clone();
        Some(KeyOwner::Endpoint(consumer, endpoint))
    }
}
