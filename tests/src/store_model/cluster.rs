//! The model as several nodes share it.

use async_trait::async_trait;
use tokio::sync::broadcast;
use waxseal_sender::id::{DeliveryId, EndpointId, NodeId};
use waxseal_sender::store::{
    Cluster, Configured, EndpointWork, FoundArrival, Hint, Node, Overview, Record, RecordKind, Shard, Shards,
    StoreError, Tenure, ToldCondition, ToldConditions, Turn, Version, Withdrawal, Withdrawn,
};

use super::StoreModel;

#[async_trait]
impl Cluster for StoreModel {
    async fn tend(&self, node: &Node) -> Result<Tenure, StoreError> {
        self.takes_time().await;
        let now = self.own_line().now();
        Ok(self.state()?.leases.tend(node, now))
    }

    async fn give_back(&self, node: NodeId, shards: Shards) -> Result<(), StoreError> {
        self.state()?.leases.give_back(node, shards);
        Ok(())
    }

    async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        self.state()?.leases.leave(node);
        Ok(())
    }

    async fn overview(&self) -> Result<Overview, StoreError> {
        self.takes_time().await;
        let now = self.own_line().now();
        Ok(self.state()?.leases.overview(now))
    }

    async fn arrivals(
        &self,
        after: Vec<(Shard, DeliveryId)>,
        limit: u32,
    ) -> Result<Vec<FoundArrival>, StoreError> {
        let state = self.state()?;
        let mut found = Vec::new();
        for (shard, after) in after {
            // The map has them in the order of their ids.
            let new = state.live().filter(|(id, entry)| Shard::of(entry.endpoint) == shard && **id > after);
            found.extend(new.take(usize::try_from(limit).unwrap()).map(|(id, entry)| {
                let (endpoint, consumer, next_due) = (entry.endpoint, entry.consumer.clone(), entry.due_at);
                FoundArrival { id: *id, work: EndpointWork { endpoint, consumer, next_due } }
            }));
        }
        Ok(found)
    }

    async fn configured_after(&self, version: Version) -> Result<Configured, StoreError> {
        self.takes_time().await;
        Ok(self.state()?.configured_after(version))
    }

    async fn forget_changes(&self, limit: u32) -> Result<u64, StoreError> {
        self.takes_time().await;
        let mut state = self.state()?;
        let known = state.leases.known_by_all();
        Ok(state.forget_changes(known, limit))
    }

    async fn withdrawn(&self, since: Option<u64>) -> Result<Withdrawn, StoreError> {
        self.takes_time().await;
        let state = self.state()?;
        let all = (1..).zip(&state.withdrawn);
        let found = all.map(|(number, endpoint)| Withdrawal { number, endpoint: *endpoint });
        let next = found.clone().last().map_or(0, |last| last.number);
        Ok(Withdrawn {
            next,
            found: found.filter(|one| since.is_some_and(|since| one.number >= since)).collect(),
        })
    }

    async fn health(&self, shards: Shards) -> Result<Vec<Record>, StoreError> {
        let state = self.state()?;
        let wanted = state.records.values().filter(|record| {
            let endpoint = EndpointId::parse(&record.id);
            record.kind == RecordKind::EndpointHealth && endpoint.is_ok_and(|id| shards.have(id))
        });
        Ok(wanted.cloned().collect())
    }

    async fn turn(&self) -> Result<Turn, StoreError> {
        self.own_line().reaches()?;
        Ok(self.own_line().turn().await)
    }

    async fn works_by(&self, node: NodeId, version: Version) -> Result<(), StoreError> {
        self.takes_time().await;
        self.state()?.leases.works_by(node, version);
        Ok(())
    }

    async fn tell_conditions(&self, node: NodeId, told: ToldConditions) -> Result<(), StoreError> {
        self.state()?.leases.tell(node, told);
        Ok(())
    }

    async fn conditions(&self, endpoint: Option<EndpointId>) -> Result<Vec<ToldCondition>, StoreError> {
        let now = self.own_line().now();
        let state = self.state()?;
        let wanted = state.leases.told(now).filter(|told| endpoint.is_none_or(|id| told.endpoint == id));
        Ok(wanted.cloned().collect())
    }

    fn hint(&self, hint: Hint) {
        self.own_line().hint(&hint);
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.own_line().hints()
    }
}
