//! What several nodes need of each other, through the database that they share.
//!
//! - `tenure` is who owns which shard, by leases; `turn` is the one turn to change what is configured;
//! - `configured` and `arrived` are what is found by asking, `hints` the word that it is worth it;
//! - `conditions` is what owners say of their endpoints, `overview` the nodes and how the database does.

mod arrived;
mod conditions;
mod configured;
mod hints;
mod overview;
mod tenure;
mod turn;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::connect::Connector;
use super::pool::Pool;
use super::values::{bigint, uuid};
use super::withdrawn;
use crate::id::{DeliveryId, EndpointId, NodeId};
use crate::store::{
    Cluster, Configured, FoundArrival, Hint, Node, Overview, Record, Shard, Shards, StoreError, Tenure,
    ToldCondition, ToldConditions, Turn, Version, Withdrawn,
};
use hints::Hints;
pub(super) use tenure::TENDING;

/// The cluster's side of the store.
pub(super) struct PostgresCluster {
    connector: Arc<Connector>,
    /// For leases and what goes with them: they are to wait for no other write.
    tending: Arc<Pool>,
    readers: Arc<Pool>,
    hints: Hints,
}

impl PostgresCluster {
    pub(super) fn start(connector: &Arc<Connector>, tending: Arc<Pool>, readers: Arc<Pool>) -> Self {
        let (connector, hints) = (Arc::clone(connector), Hints::start(connector));
        Self { connector, tending, readers, hints }
    }

    pub(super) async fn close(&self) {
        self.hints.stop();
        self.tending.close().await;
        self.readers.close().await;
    }
}

impl fmt::Debug for PostgresCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PostgresCluster")
    }
}

#[async_trait]
impl Cluster for PostgresCluster {
    async fn tend(&self, node: &Node) -> Result<Tenure, StoreError> {
        let node = node.clone();
        self.tending.write(move |session| async move { tenure::tend(&session, &node).await }).await
    }

    async fn give_back(&self, node: NodeId, shards: Shards) -> Result<(), StoreError> {
        self.tending
            .write(move |session| async move { tenure::give_back(&session, node, shards).await })
            .await
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        self.tending.write(move |session| async move { tenure::leave(&session, node).await }).await
    }

    async fn overview(&self) -> Result<Overview, StoreError> {
        self.readers.snapshot(|session| async move { overview::overview(&session).await }).await
    }

    async fn arrivals(
        &self,
        after: Vec<(Shard, DeliveryId)>,
        limit: u32,
    ) -> Result<Vec<FoundArrival>, StoreError> {
        self.readers.read(|session| async move { arrived::arrivals(&session, &after, limit).await }).await
    }

    async fn configured_after(&self, version: Version) -> Result<Configured, StoreError> {
        let (configured, timeline) = self
            .readers
            .snapshot(move |session| async move { configured::after(&session, version).await })
            .await?;
        self.connector.read_in().read(version, timeline);
        Ok(configured)
    }

    async fn forget_changes(&self, limit: u32) -> Result<u64, StoreError> {
        while self.tending.write(|session| async move { withdrawn::forget(&session).await }).await? {}
        self.tending
            .write(move |session| async move { configured::forget_changes(&session, limit).await })
            .await
    }

    async fn withdrawn(&self, since: Option<u64>) -> Result<Withdrawn, StoreError> {
        self.readers.read(|session| async move { withdrawn::since(&session, since).await }).await
    }

    async fn health(&self, shards: Shards) -> Result<Vec<Record>, StoreError> {
        self.readers.read(|session| async move { configured::health(&session, shards).await }).await
    }

    async fn turn(&self) -> Result<Turn, StoreError> {
        turn::wait(&self.connector).await
    }

    async fn works_by(&self, node: NodeId, version: Version) -> Result<(), StoreError> {
        self.tending
            .write(move |session| async move {
                let sql = "UPDATE nodes SET works_by = $2 WHERE id = $1";
                session.execute(sql, &[&uuid(node.as_bytes()), &bigint(version)]).await?;
                Ok(())
            })
            .await
    }

    async fn tell_conditions(&self, node: NodeId, told: ToldConditions) -> Result<(), StoreError> {
        self.tending.write(move |session| async move { conditions::tell(&session, node, told).await }).await
    }

    async fn conditions(&self, endpoint: Option<EndpointId>) -> Result<Vec<ToldCondition>, StoreError> {
        self.readers.read(|session| async move { conditions::told(&session, endpoint).await }).await
    }

    fn hint(&self, hint: Hint) {
        self.hints.tell(hint);
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.hear()
    }
}
