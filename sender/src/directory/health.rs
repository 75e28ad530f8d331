//! What is kept of endpoints that fail: read at the start (where several nodes use the store, when one becomes the owner of
//! an endpoint), written by the engine together with settlements.
//!
//! It is no configuration, so no change waits for it and nobody is told of it. It is kept here because it is one
//! record of an endpoint like the others, encrypted like them, and goes when the endpoint goes.

use super::item::{Edit, Item, Name};
use super::{ChangeError, Directory};
use crate::id::EndpointId;
use crate::model::health::EndpointHealth;
use crate::store::{RecordChange, Shards};

/// A change to what is kept of an endpoint's health: written by whoever asked for it, then adopted.
#[derive(Debug)]
#[must_use = "what is on disk is to be adopted"]
pub struct HealthEdit<'a> {
    directory: &'a Directory,
    edit: Edit,
    change: RecordChange,
}

impl Directory {
    /// Every endpoint that was failing when that was last written.
    pub fn failing(&self) -> Vec<EndpointHealth> {
        self.read(|state| state.health.values().map(|health| EndpointHealth::clone(health)).collect())
    }

    /// Every endpoint of these shards that was failing when that was last written, perhaps by another node.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn failing_of(&self, shards: Shards) -> Result<Vec<EndpointHealth>, ChangeError> {
        let Some(others) = &self.others else {
            return Ok(self.failing().into_iter().filter(|health| shards.have(health.endpoint)).collect());
        };
        let _applying = others.applying.lock().await;
        let records = others.cluster.health(shards).await?;
        // What does not open was written at the moment in which its consumer was erased, and it is dispensable.
        let read = records.iter().filter_map(|record| Item::open(record, &self.keys).ok());
        let known = self.failing().into_iter().filter(|health| shards.have(health.endpoint));
        let mut edits: Vec<_> = known.map(|health| Edit::Remove(Name::Health(health.endpoint))).collect();
        let mut found = Vec::new();
        for item in read {
            if let Item::Health(health) = &item
                && self.endpoint(health.endpoint).is_some()
            {
                found.push(EndpointHealth::clone(health));
                edits.push(Edit::Put(item));
            }
        }
        self.show_at(edits, None);
        Ok(found)
    }

    /// Prepares to keep an endpoint's health, or to forget it.
    ///
    /// # Errors
    /// If the endpoint is gone.
    pub fn begin_health(
        &self,
        id: EndpointId,
        health: Option<EndpointHealth>,
    ) -> Result<HealthEdit<'_>, ChangeError> {
        if self.endpoint(id).is_none() {
            return Err(ChangeError::NotFound { what: "endpoint", id: id.to_string() });
        }
        let edit = match health {
            Some(health) => Edit::Put(Item::Health(std::sync::Arc::new(health))),
            None => Edit::Remove(Name::Health(id)),
        };
        let change = edit.seal(&self.keys)?;
        Ok(HealthEdit { directory: self, edit, change })
    }
}

impl HealthEdit<'_> {
    /// What to write.
    pub fn change(&self) -> RecordChange {
        self.change.clone()
    }

    /// Knows it from now on, after it is on disk.
    pub fn adopt(self) {
        self.directory.show_at(vec![self.edit], None);
    }
}
