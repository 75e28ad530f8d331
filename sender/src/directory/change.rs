//! Changes: each is checked against the present state, persisted, and only then visible.

use std::collections::BTreeSet;
use std::sync::Arc;

use waxseal_envelope::EventType;

use super::fit::{
    audience_is_free, invalid, one_more_endpoint_fits, one_more_token_fits, subscription_fits,
    visible_groups_exist,
};
use super::item::{Edit, Item, Name};
use super::{ChangeError, Directory, KeysGivenBy};
use crate::id::{EndpointId, GroupName, TokenId};
use crate::model::client_ca::ClientCa;
use crate::model::consumer::{Consumer, DeclaredType, Group, Visibility};
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner};
use crate::model::endpoint::Endpoint;
use crate::model::token::ApiToken;

impl Directory {
    /// Creates a group.
    ///
    /// # Errors
    /// If there is one with this name.
    pub async fn create_group(&self, group: Group) -> Result<Arc<Group>, ChangeError> {
        let changing = self.turn().await?;
        self.read(|state| absent(state.groups.contains_key(&group.name), "group", &group.name))?;
        let group = Arc::new(group);
        self.commit(changing, vec![Edit::Put(Item::Group(Arc::clone(&group)))]).await?;
        Ok(group)
    }

    /// Removes a group; its members stay, without it.
    ///
    /// # Errors
    /// If there is none with this name, or an event type names it.
    pub async fn delete_group(&self, name: &GroupName) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        let edits = self.read(|state| {
            state.groups.get(name).ok_or_else(|| missing("group", name))?;
            if let Some(user) = state.event_types.values().find(|declared| names(declared, name)) {
                let by = format!("event type `{}`", user.name);
                return Err(ChangeError::InUse { what: "group", id: name.to_string(), by });
            }
            let members = state.consumers.values().filter(|consumer| consumer.groups.contains(name));
            let mut edits: Vec<_> = members.map(|consumer| without(consumer, name)).collect();
            edits.push(Edit::Remove(Name::Group(name.clone())));
            Ok(edits)
        })?;
        self.commit(changing, edits).await
    }

    /// Declares an event type.
    ///
    /// # Errors
    /// If it is declared, or names a group that does not exist.
    pub async fn create_event_type(&self, declared: DeclaredType) -> Result<Arc<DeclaredType>, ChangeError> {
        let changing = self.turn().await?;
        self.read(|state| {
            absent(state.event_types.contains_key(&declared.name), "event type", &declared.name)?;
            visible_groups_exist(state, &declared)
        })?;
        let declared = Arc::new(declared);
        self.commit(changing, vec![Edit::Put(Item::EventType(Arc::clone(&declared)))]).await?;
        Ok(declared)
    }

    /// Changes a declared event type. `edit` must leave its name as it is.
    ///
    /// # Errors
    /// If it is not declared, names a group that does not exist, or `edit` refuses.
    pub async fn update_event_type(
        &self,
        name: &EventType,
        edit: impl FnOnce(&mut DeclaredType) -> Result<(), ChangeError> + Send,
    ) -> Result<Arc<DeclaredType>, ChangeError> {
        let changing = self.turn().await?;
        let mut declared =
            DeclaredType::clone(&*self.event_type(name).ok_or_else(|| missing("event type", name))?);
        edit(&mut declared)?;
        self.read(|state| visible_groups_exist(state, &declared))?;
        let declared = Arc::new(declared);
        self.commit(changing, vec![Edit::Put(Item::EventType(Arc::clone(&declared)))]).await?;
        Ok(declared)
    }

    /// Withdraws an event type.
    ///
    /// # Errors
    /// If it is not declared, or an endpoint is subscribed to it by name.
    pub async fn delete_event_type(&self, name: &EventType) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        self.read(|state| {
            state.event_types.get(name).ok_or_else(|| missing("event type", name))?;
            match state.subscribers.get(name).and_then(BTreeSet::first) {
                Some(user) => Err(ChangeError::InUse {
                    what: "event type",
                    id: name.to_string(),
                    by: format!("endpoint `{user}`"),
                }),
                None => Ok(()),
            }
        })?;
        self.commit(changing, vec![Edit::Remove(Name::EventType(name.clone()))]).await
    }

    /// Creates an endpoint, with its own encryption keys if it has any.
    ///
    /// # Errors
    /// If its consumer does not exist or has too many, its audience is another consumer's, or it wants a type that is
    /// not declared or that its consumer may not see.
    pub async fn create_endpoint(
        &self,
        endpoint: Endpoint,
        keys: Option<EncryptionKeySet>,
    ) -> Result<Arc<Endpoint>, ChangeError> {
        let changing = self.turn().await?;
        self.read(|state| {
            absent(state.endpoints.contains_key(&endpoint.id), "endpoint", &endpoint.id)?;
            one_more_endpoint_fits(state, &endpoint.consumer)?;
            audience_is_free(state, &endpoint)?;
            subscription_fits(state, &endpoint)
        })?;
        let endpoint = Arc::new(endpoint);
        let mut edits = vec![Edit::Put(Item::Endpoint(Arc::clone(&endpoint)))];
        edits.extend(keys.map(|set| Edit::Put(Item::EncryptionKeys(Arc::new(set)))));
        self.commit(changing, edits).await?;
        Ok(endpoint)
    }

    /// Changes an endpoint. `edit` must leave its id and its consumer as they are.
    ///
    /// # Errors
    /// If there is none with this id, its new types or audience do not fit, or `edit` refuses.
    pub async fn update_endpoint(
        &self,
        id: EndpointId,
        edit: impl FnOnce(&mut Endpoint) -> Result<(), ChangeError> + Send,
    ) -> Result<Arc<Endpoint>, ChangeError> {
        let changing = self.turn().await?;
        let before = self.endpoint(id).ok_or_else(|| missing("endpoint", &id))?;
        let mut endpoint = Endpoint::clone(&before);
        edit(&mut endpoint)?;
        if endpoint.event_types != before.event_types {
            self.read(|state| subscription_fits(state, &endpoint))?;
        }
        if endpoint.audience != before.audience {
            self.read(|state| audience_is_free(state, &endpoint))?;
        }
        let endpoint = Arc::new(endpoint);
        let mut edits = vec![Edit::Put(Item::Endpoint(Arc::clone(&endpoint)))];
        if endpoint.is_active() && !before.is_active() {
            // Whoever resumes it wants to see it tried, not judged by its past.
            edits.push(Edit::Remove(Name::Health(id)));
        }
        edits.extend(self.news_of_resumption(&before, &endpoint));
        self.commit(changing, edits).await?;
        Ok(endpoint)
    }

    /// Removes an endpoint and its own keys. Its live deliveries are the caller's to cancel.
    ///
    /// # Errors
    /// If there is none with this id.
    pub async fn delete_endpoint(&self, id: EndpointId) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        let endpoint = self.endpoint(id).ok_or_else(|| missing("endpoint", &id))?;
        let owner = KeyOwner::Endpoint(endpoint.consumer.clone(), id);
        let mut edits = vec![Edit::Remove(Name::Endpoint(id)), Edit::Remove(Name::Health(id))];
        self.read(|state| {
            let recoveries = state.recoveries.values().filter(|recovery| recovery.endpoint == id);
            edits.extend(recoveries.map(|recovery| Edit::Remove(Name::Recovery(recovery.id))));
        });
        if self.key_set(&owner).is_some() {
            edits.push(Edit::Remove(Name::EncryptionKeys(owner)));
        }
        self.commit(changing, edits).await
    }

    /// Keeps an owner's encryption keys, new or in place of the old ones.
    ///
    /// # Errors
    /// If the owner does not exist.
    pub async fn put_key_set(&self, set: EncryptionKeySet) -> Result<(), ChangeError> {
        self.replace_key_set(&set.owner.clone(), KeysGivenBy::Operator, |_| set).await
    }

    /// As [`Self::put_key_set`], for keys of which some may have been known before: `make` sees the set as it is when
    /// nobody else can change it. Given by the consumer, others than before end the trust in what they are used for.
    ///
    /// # Errors
    /// If the owner does not exist.
    pub async fn replace_key_set(
        &self,
        owner: &KeyOwner,
        by: KeysGivenBy,
        make: impl FnOnce(Option<&EncryptionKeySet>) -> EncryptionKeySet + Send,
    ) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        self.owner_exists(owner)?;
        let set = make(self.key_set(owner).as_deref());
        self.commit_keys(changing, Edit::Put(Item::EncryptionKeys(Arc::new(set))), by).await
    }

    /// Changes an owner's encryption keys.
    ///
    /// # Errors
    /// If the owner has given none, or `edit` refuses.
    pub async fn update_key_set(
        &self,
        owner: &KeyOwner,
        edit: impl FnOnce(&mut EncryptionKeySet) -> Result<(), ChangeError> + Send,
    ) -> Result<Arc<EncryptionKeySet>, ChangeError> {
        let changing = self.turn().await?;
        let mut set = EncryptionKeySet::clone(&*self.key_set(owner).ok_or_else(|| missing_keys(owner))?);
        edit(&mut set)?;
        let set = Arc::new(set);
        self.commit(changing, vec![Edit::Put(Item::EncryptionKeys(Arc::clone(&set)))]).await?;
        Ok(set)
    }

    /// Forgets an owner's encryption keys. Sealed deliveries that need them wait; an endpoint uses its consumer's then.
    ///
    /// # Errors
    /// If the owner has given none.
    pub async fn delete_key_set(&self, owner: &KeyOwner, by: KeysGivenBy) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        self.key_set(owner).ok_or_else(|| missing_keys(owner))?;
        self.commit_keys(changing, Edit::Remove(Name::EncryptionKeys(owner.clone())), by).await
    }

    /// Keeps an API token.
    ///
    /// # Errors
    /// If it is bound to a consumer that does not exist, or has too many.
    pub async fn create_token(&self, token: ApiToken) -> Result<Arc<ApiToken>, ChangeError> {
        let changing = self.turn().await?;
        if let Some(id) = &token.consumer {
            self.consumer(id).ok_or_else(|| invalid("consumer", format!("there is no consumer `{id}`")))?;
            self.read(|state| one_more_token_fits(state, id))?;
        }
        let token = Arc::new(token);
        self.commit(changing, vec![Edit::Put(Item::Token(Arc::clone(&token)))]).await?;
        Ok(token)
    }

    /// Withdraws an API token; it stops working at once.
    ///
    /// # Errors
    /// If there is none with this id.
    pub async fn delete_token(&self, id: TokenId) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        let known = self.read(|state| state.tokens.values().any(|token| token.id == id));
        if !known {
            return Err(missing("token", &id));
        }
        self.commit(changing, vec![Edit::Remove(Name::Token(id))]).await
    }

    /// Keeps the authority of client certificates, in place of the `old` one. If there is another one by now, that stays;
    /// returns the one that is kept.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn put_client_ca(
        &self,
        authority: ClientCa,
        old: Option<&ClientCa>,
    ) -> Result<Arc<ClientCa>, ChangeError> {
        let changing = self.turn().await?;
        if let Some(kept) =
            self.client_ca().filter(|kept| old.is_none_or(|old| old.not_after != kept.not_after))
        {
            return Ok(kept);
        }
        let authority = Arc::new(authority);
        self.commit(changing, vec![Edit::Put(Item::ClientCa(Arc::clone(&authority)))]).await?;
        Ok(authority)
    }

    fn owner_exists(&self, owner: &KeyOwner) -> Result<(), ChangeError> {
        match owner {
            KeyOwner::Consumer(id) => self.consumer(id).map(drop).ok_or_else(|| missing("consumer", id)),
            KeyOwner::Endpoint(consumer, id) => {
                let found = self.endpoint(*id).filter(|endpoint| endpoint.consumer == *consumer);
                found.map(drop).ok_or_else(|| missing("endpoint", id))
            }
        }
    }
}

pub(super) fn absent(exists: bool, what: &'static str, id: &impl ToString) -> Result<(), ChangeError> {
    if exists { Err(ChangeError::Exists { what, id: id.to_string() }) } else { Ok(()) }
}

pub(super) fn missing(what: &'static str, id: &impl ToString) -> ChangeError {
    ChangeError::NotFound { what, id: id.to_string() }
}

fn missing_keys(owner: &KeyOwner) -> ChangeError {
    let id = match owner {
        KeyOwner::Consumer(id) => id.to_string(),
        KeyOwner::Endpoint(_, id) => id.to_string(),
    };
    ChangeError::NotFound { what: "encryption key set of", id }
}

fn names(declared: &DeclaredType, group: &GroupName) -> bool {
    matches!(&declared.visible_to, Visibility::Groups(groups) if groups.contains(group))
}

fn without(consumer: &Consumer, group: &GroupName) -> Edit {
    let mut consumer = consumer.clone();
    consumer.groups.remove(group);
    Edit::Put(Item::Consumer(Arc::new(consumer)))
}
