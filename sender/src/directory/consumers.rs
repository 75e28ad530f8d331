//! Consumers: created with a data key of their own, erased with it.
//!
//! Guarantees that no key is destroyed under which somebody may still have something written, and that the next holder of
//! a name never gets the key of the last one: a key stands in the store before its consumer and goes after it, and what is
//! left of an erasure that was cut off is finished first.

use std::sync::Arc;

use super::change::{absent, missing};
use super::fit::{groups_exist, id_is_no_audience};
use super::item::{Edit, Item, Name};
use super::{ChangeError, Directory};
use crate::carried_out::CarriedOut;
use crate::id::{ConsumerId, EndpointId};
use crate::model::consumer::Consumer;

impl Directory {
    /// Creates a consumer, and its data key.
    ///
    /// # Errors
    /// If there is one with this id, another's endpoint has the id as its audience, or one of its groups does not exist.
    pub async fn create_consumer(&self, consumer: Consumer) -> Result<Arc<Consumer>, ChangeError> {
        let mut changing = self.turn().await?;
        self.read(|state| {
            absent(state.consumers.contains_key(&consumer.id), "consumer", &consumer.id)?;
            id_is_no_audience(state, &consumer.id)?;
            groups_exist(state, "groups", &consumer.groups)
        })?;
        if self.has_key(&consumer.id).await? {
            // Left by an erasure that was cut off. The new holder of the name must not read the old one's events.
            self.overtake(&mut changing, &consumer.id).await?;
            self.keys.destroy_known(&consumer.id).await?;
        }
        self.keys.of_or_create(&consumer.id).await?;
        let consumer = Arc::new(consumer);
        self.commit(changing, vec![Edit::Put(Item::Consumer(Arc::clone(&consumer)))]).await?;
        Ok(consumer)
    }

    /// Changes a consumer. `edit` must leave its id as it is.
    ///
    /// # Errors
    /// If there is none with this id, one of its new groups does not exist, or `edit` refuses.
    pub async fn update_consumer(
        &self,
        id: &ConsumerId,
        edit: impl FnOnce(&mut Consumer) -> Result<(), ChangeError> + Send,
    ) -> Result<Arc<Consumer>, ChangeError> {
        let changing = self.turn().await?;
        let mut consumer = Consumer::clone(&*self.consumer(id).ok_or_else(|| missing("consumer", id))?);
        edit(&mut consumer)?;
        self.read(|state| groups_exist(state, "groups", &consumer.groups))?;
        let consumer = Arc::new(consumer);
        self.commit(changing, vec![Edit::Put(Item::Consumer(Arc::clone(&consumer)))]).await?;
        Ok(consumer)
    }

    /// Removes a consumer with its endpoints, keys and tokens, then destroys its data key. Returns the endpoints,
    /// whose live deliveries are the caller's to cancel.
    ///
    /// # Errors
    /// If there is none with this id.
    pub async fn delete_consumer(&self, id: &ConsumerId) -> Result<Vec<EndpointId>, ChangeError> {
        let changing = self.turn().await?;
        // A data key without its consumer is what a failure between the two writes below leaves: finish it.
        if self.consumer(id).is_none() && !self.has_key(id).await? {
            return Err(missing("consumer", id));
        }
        let (edits, endpoints) = self.read(|state| {
            let endpoints: Vec<_> = state.endpoints_of.get(id).into_iter().flatten().copied().collect();
            let mut edits: Vec<_> = endpoints.iter().map(|id| Edit::Remove(Name::Endpoint(*id))).collect();
            edits.extend(endpoints.iter().map(|id| Edit::Remove(Name::Health(*id))));
            let owners = state.key_sets.keys().filter(|owner| owner.consumer() == id);
            edits.extend(owners.map(|owner| Edit::Remove(Name::EncryptionKeys(owner.clone()))));
            let recoveries = state.recoveries.values().filter(|recovery| recovery.consumer == *id);
            edits.extend(recoveries.map(|recovery| Edit::Remove(Name::Recovery(recovery.id))));
            let tokens = state.tokens.values().filter(|token| token.consumer.as_ref() == Some(id));
            edits.extend(tokens.map(|token| Edit::Remove(Name::Token(token.id))));
            edits.push(Edit::Remove(Name::Consumer(id.clone())));
            (edits, endpoints)
        });
        let (committed, keys, id) =
            (self.committed(changing, vec![edits])?, Arc::clone(&self.keys), id.clone());
        let erased = CarriedOut::new(async move {
            let _changing = committed.await?;
            keys.destroy_known(&id).await.map_err(ChangeError::from)
        });
        erased.await?;
        Ok(endpoints)
    }

    /// Whether the store has a data key of this consumer.
    async fn has_key(&self, id: &ConsumerId) -> Result<bool, ChangeError> {
        if self.others.is_some() {
            self.keys.fetch(vec![id.clone()]).await?;
        }
        Ok(self.keys.of(id).is_some())
    }
}
