//! What the operator is to be told, and what it was told: kept with what caused it, removed once it was said.
//!
//! Guarantees that news of a change are part of the change's own transaction, and that what is kept here lies under the
//! sender's own data key: it is nobody else's to read, and no consumer's erasure takes it along.

use std::sync::Arc;

use waxseal_envelope::EventType;

use super::item::{Edit, Item, Name};
use super::{ChangeError, Directory};
use crate::id::{ConsumerId, EventId};
use crate::model::endpoint::{Endpoint, EndpointStatus, PauseReason};
use crate::model::notice::Notice;
use crate::model::told::Told;
use crate::operations::notices;

/// What somebody has found out that the operator should know.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// What to tell.
    pub notices: Vec<Notice>,
    /// What is known to the operator from then on.
    pub told: Vec<Told>,
    /// What does not stand any more, by its id.
    pub over: Vec<String>,
}

impl News {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.notices.is_empty() && self.told.is_empty() && self.over.is_empty()
    }

    /// Takes the other's in.
    pub fn extend(&mut self, other: Self) {
        self.notices.extend(other.notices);
        self.told.extend(other.told);
        self.over.extend(other.over);
    }
}

impl Directory {
    /// Says whose endpoints operational events go to. Nobody else may subscribe to them.
    pub fn set_operator(&self, consumer: Option<ConsumerId>) {
        self.state.write().unwrap_or_else(std::sync::PoisonError::into_inner).operator = consumer;
    }

    /// Whose endpoints operational events go to.
    pub fn operator(&self) -> Option<ConsumerId> {
        self.read(|state| state.operator.clone())
    }

    /// The operator's endpoints that want operational events of this type.
    pub fn operator_endpoints(&self, event_type: &EventType) -> Vec<Arc<Endpoint>> {
        self.read(|state| {
            let of_operator = state.operator.as_ref().and_then(|operator| state.endpoints_of.get(operator));
            let endpoints = of_operator.into_iter().flatten().filter_map(|id| state.endpoints.get(id));
            endpoints.filter(|endpoint| endpoint.wants(event_type)).cloned().collect()
        })
    }

    /// What has not been told yet, oldest first.
    pub fn notices(&self) -> Vec<Arc<Notice>> {
        self.read(|state| state.notices.values().cloned().collect())
    }

    /// What was told and still stands.
    pub fn told(&self) -> Vec<Arc<Told>> {
        self.read(|state| state.told.values().cloned().collect())
    }

    /// Keeps news, all of it or nothing.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn keep_news(&self, news: News) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        let notices = news.notices.into_iter().map(|notice| Edit::Put(Item::Notice(Arc::new(notice))));
        let told = news.told.into_iter().map(|told| Edit::Put(Item::Told(Arc::new(told))));
        let over = news.over.into_iter().map(|id| Edit::Remove(Name::Told(id)));
        let edits = notices.chain(told).chain(over).collect();
        self.commit(changing, edits).await
    }

    /// Forgets a notice: it was told.
    ///
    /// # Errors
    /// If the store fails; telling it again does no harm.
    pub async fn forget_notice(&self, id: EventId) -> Result<(), ChangeError> {
        let changing = self.turn().await?;
        self.commit(changing, vec![Edit::Remove(Name::Notice(id))]).await
    }

    /// That an endpoint which the engine had paused goes on again.
    pub(super) fn news_of_resumption(&self, before: &Endpoint, after: &Endpoint) -> Option<Edit> {
        let EndpointStatus::Paused { reason, since } = before.status else { return None };
        let by_hand = matches!(reason, PauseReason::Operator | PauseReason::Consumer);
        if by_hand || !after.is_active() {
            return None;
        }
        self.news_of(after, || notices::resumed(after, reason, since, self.clock.now()))
    }

    /// News of an endpoint, unless the operator has heard enough of it for now.
    pub(super) fn news_of(&self, endpoint: &Endpoint, notice: impl FnOnce() -> Notice) -> Option<Edit> {
        let mut telling = self.telling.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let may_tell = telling.may_tell(endpoint.id, &endpoint.consumer, self.clock.now());
        may_tell.then(|| Edit::Put(Item::Notice(Arc::new(notice()))))
    }
}
