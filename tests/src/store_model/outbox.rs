//! The model's outbox.

use std::collections::BTreeMap;

use async_trait::async_trait;
use waxseal_keys::Timestamp;
use waxseal_sender::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use waxseal_sender::model::delivery::{Attempt, Delivery, DeliveryState, LiveDelivery};
use waxseal_sender::store::{
    Accepted, Backlog, DeliveryFilter, DeliveryPage, DuePosition, EndpointWork, EventSummary, Failures,
    Forgotten, Idempotency, NewDelivery, NewEvent, Order, Outbox, Outcome, RecordChange, Redated, Removed,
    Settled, Settlement, Shards, Slice, StoreError, StoredPayload,
};

use super::failures::Logged;
use super::{Entry, Remembered, State, StoreModel};

#[async_trait]
impl Outbox for StoreModel {
    async fn accept(&self, event: NewEvent) -> Result<Accepted, StoreError> {
        let mut state = self.state()?;
        let earlier = event.idempotency.as_ref().and_then(|new| state.earlier(new, event.accepted_at));
        if let Some(earlier) = earlier {
            return Ok(earlier);
        }
        state.versions.permit(&event.changes)?;
        if let Some(new) = &event.idempotency {
            let remembered = Remembered { content: new.content, event: event.id, expires_at: new.expires_at };
            state.idempotency.insert(new.key, remembered);
        }
        for delivery in event.deliveries.iter().cloned() {
            state.add(delivery, event.id);
        }
        state.change(event.changes.clone());
        state.events.insert(event.id, event);
        Ok(Accepted::New)
    }

    async fn accepted_earlier(
        &self,
        key: Idempotency,
        now: Timestamp,
    ) -> Result<Option<Accepted>, StoreError> {
        Ok(self.state()?.earlier(&key, now))
    }

    async fn endpoints_with_work(&self, shards: Shards) -> Result<Vec<EndpointWork>, StoreError> {
        let mut work: BTreeMap<EndpointId, EndpointWork> = BTreeMap::new();
        for (_, entry) in self.state()?.live().filter(|(_, entry)| shards.have(entry.endpoint)) {
            let (endpoint, consumer, next_due) = (entry.endpoint, entry.consumer.clone(), entry.due_at);
            let known = work.entry(endpoint).or_insert(EndpointWork { endpoint, consumer, next_due });
            known.next_due = known.next_due.min(next_due);
        }
        Ok(work.into_values().collect())
    }

    async fn due(
        &self,
        endpoint: EndpointId,
        after: Option<DuePosition>,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        let state = self.state()?;
        let mut found: Vec<LiveDelivery> = state
            .live()
            .filter(|(_, entry)| entry.endpoint == endpoint && entry.due_at <= until)
            .map(|(id, entry)| live(*id, entry))
            .filter(|live| after.is_none_or(|after| DuePosition { due_at: live.due_at, id: live.id } > after))
            .collect();
        found.sort_by_key(|live| (live.due_at, live.id));
        found.truncate(usize::try_from(limit).unwrap());
        Ok(found)
    }

    async fn in_order(
        &self,
        endpoint: EndpointId,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        let mut found = self.due(endpoint, None, Timestamp::MAX, u32::MAX).await?;
        found.retain(|live| after.is_none_or(|after| live.id > after));
        found.sort_by_key(|live| live.id);
        found.truncate(usize::try_from(limit).unwrap());
        Ok(found)
    }

    async fn expired(
        &self,
        shards: Shards,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<LiveDelivery>, StoreError> {
        let state = self.state()?;
        let over = |entry: &Entry| {
            shards.have(entry.endpoint) && entry.expires_at.is_some_and(|expires_at| expires_at <= now)
        };
        let mut found: Vec<LiveDelivery> =
            state.live().filter(|(_, entry)| over(entry)).map(|(id, entry)| live(*id, entry)).collect();
        found.sort_by_key(|live| live.expires_at);
        found.truncate(usize::try_from(limit).unwrap());
        Ok(found)
    }

    async fn payloads(&self, wanted: Vec<(EventId, ConsumerId)>) -> Result<Vec<StoredPayload>, StoreError> {
        let state = self.state()?;
        let payload = |(event, consumer): (EventId, ConsumerId)| {
            let stored = state.events.get(&event).filter(|stored| !stored.sealed.is_empty())?;
            let (_, wrapped_key) = stored.wrapped_keys.iter().find(|(owner, _)| *owner == consumer)?;
            Some(StoredPayload {
                event,
                consumer,
                event_type: stored.event_type.clone(),
                sealed: stored.sealed.clone(),
                wrapped_key: wrapped_key.clone(),
            })
        };
        Ok(wanted.into_iter().filter_map(payload).collect())
    }

    async fn settle(&self, settlement: Settlement) -> Result<Settled, StoreError> {
        if let Outcome::Final(state) = settlement.outcome
            && !state.is_final()
        {
            return Err(StoreError::Corrupt { what: "settlement: the state in which it ends is not final" });
        }
        let fence = settlement.delivery.attempts_made;
        if settlement.attempt.as_ref().is_some_and(|attempt| attempt.number != fence + 1) {
            return Err(StoreError::Corrupt { what: "settlement: its attempt is out of order" });
        }
        let mut state = self.state()?;
        let State { deliveries, versions, withdrawn, .. } = &mut *state;
        let entry = deliveries.get_mut(&settlement.delivery.id);
        let Some(entry) = entry.filter(|entry| entry.ended.is_none() && entry.attempts_made() == fence)
        else {
            return Ok(Settled::Stale);
        };
        versions.permit(&settlement.changes)?;
        if settlement.outcome == Outcome::Final(DeliveryState::Cancelled) {
            withdrawn.push(entry.endpoint);
        }
        let ended = match settlement.outcome {
            Outcome::Final(state) => Some(state),
            Outcome::Again { .. } => None,
        };
        let logged = Logged::of(entry, settlement.attempt.as_ref(), ended, settlement.at);
        if let Some(attempt) = settlement.attempt {
            entry.attempts.push(attempt);
            entry.last_attempt_at = Some(settlement.at);
        }
        match settlement.outcome {
            Outcome::Final(state) => (entry.ended, entry.ended_at) = (Some(state), Some(settlement.at)),
            Outcome::Again { due_at } => entry.due_at = due_at,
        }
        state.log.push(logged);
        state.change(settlement.changes);
        Ok(Settled::Recorded)
    }

    async fn redeliver(
        &self,
        deliveries: Vec<(NewDelivery, EventId)>,
        changes: Vec<RecordChange>,
    ) -> Result<(), StoreError> {
        let mut state = self.state()?;
        if deliveries.iter().any(|(_, event)| !state.has_content(event)) {
            return Err(StoreError::NotFound { what: "event" });
        }
        state.versions.permit(&changes)?;
        for (delivery, event) in deliveries {
            state.add(delivery, event);
        }
        state.change(changes);
        Ok(())
    }

    async fn cancel(&self, endpoints: Vec<EndpointId>, most: u32, now: Timestamp) -> Result<u64, StoreError> {
        let mut cancelled = 0;
        for endpoint in endpoints {
            for live in self.due(endpoint, None, Timestamp::MAX, most - cancelled).await? {
                let mut state = self.state()?;
                let entry = state.deliveries.get_mut(&live.id).unwrap();
                (entry.ended, entry.ended_at) = (Some(DeliveryState::Cancelled), Some(now));
                state.withdrawn.push(endpoint);
                cancelled += 1;
            }
        }
        Ok(u64::from(cancelled))
    }

    async fn prune(&self, slice: Slice) -> Result<Removed, StoreError> {
        Ok(self.state()?.prune(slice))
    }

    async fn forget_endpoints(&self, after: Option<EndpointId>, limit: u32) -> Result<Forgotten, StoreError> {
        Ok(self.state()?.forget_endpoints(after, limit))
    }

    async fn redate(
        &self,
        endpoint: EndpointId,
        now: Timestamp,
        latest: Timestamp,
        after: Option<DuePosition>,
        limit: u32,
    ) -> Result<Redated, StoreError> {
        let later = DuePosition { due_at: now, id: DeliveryId::from_bytes([0xFF; 16]) };
        let some = self.due(endpoint, Some(after.unwrap_or(later)), Timestamp::MAX, limit).await?;
        let full = some.len() >= usize::try_from(limit).unwrap();
        let last = some.last().map(|live| DuePosition { due_at: live.due_at, id: live.id });
        let mut moved = 0;
        for live in some {
            let mut state = self.state()?;
            let entry = state.deliveries.get_mut(&live.id).expect("it is live");
            let planned_at = entry.last_attempt_at.unwrap_or(entry.due_at);
            if planned_at > latest {
                entry.due_at = now.saturating_add(entry.due_at.duration_since(planned_at));
                moved += 1;
            }
        }
        Ok(Redated { moved, next: last.filter(|_| full) })
    }

    async fn event(&self, id: EventId) -> Result<Option<EventSummary>, StoreError> {
        let summary = |event: &NewEvent| {
            let mut consumers: Vec<ConsumerId> =
                event.wrapped_keys.iter().map(|(owner, _)| owner.clone()).collect();
            consumers.sort();
            EventSummary {
                id,
                event_type: event.event_type.clone(),
                accepted_at: event.accepted_at,
                expires_at: event.expires_at,
                consumers,
                content_kept: !event.sealed.is_empty(),
            }
        };
        Ok(self.state()?.events.get(&id).map(summary))
    }

    async fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
        Ok(self.state()?.deliveries.get(&id).map(|entry| shown(id, entry)))
    }

    async fn deliveries(&self, filter: DeliveryFilter) -> Result<DeliveryPage, StoreError> {
        let state = self.state()?;
        let mut all: Vec<Delivery> = state.deliveries.iter().map(|(id, entry)| shown(*id, entry)).collect();
        if filter.order == Order::NewestFirst {
            all.reverse();
        }
        let event_type = |event| state.events.get(&event).map(|event| event.event_type.clone());
        let wanted = all.into_iter().filter(|delivery| {
            filter.after.is_none_or(|after| delivery.id > after)
                && filter.before.is_none_or(|before| delivery.id < before)
                && filter.event.is_none_or(|event| delivery.event == event)
                && filter.endpoint.is_none_or(|endpoint| delivery.endpoint == endpoint)
                && filter.consumer.as_ref().is_none_or(|consumer| delivery.consumer == *consumer)
                && (filter.states.is_empty() || filter.states.contains(&delivery.state))
                && (filter.event_types.is_empty()
                    || event_type(delivery.event).is_some_and(|name| filter.event_types.contains(&name)))
        });
        let deliveries = wanted.take(usize::try_from(filter.limit).unwrap()).collect();
        Ok(DeliveryPage { deliveries, reached: None })
    }

    async fn attempts(&self, delivery: DeliveryId) -> Result<Vec<Attempt>, StoreError> {
        Ok(self.state()?.deliveries.get(&delivery).map_or_else(Vec::new, |entry| entry.attempts.clone()))
    }

    async fn failures(&self, from: Timestamp, until: Timestamp) -> Result<Failures, StoreError> {
        Ok(self.state()?.failures(from, until))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        let state = self.state()?;
        Ok(Backlog {
            live: u64::try_from(state.live().count()).unwrap(),
            oldest_due: state.live().map(|(_, entry)| entry.due_at).min(),
        })
    }
}

impl State {
    pub(super) fn live(&self) -> impl Iterator<Item = (&DeliveryId, &Entry)> {
        self.deliveries.iter().filter(|(_, entry)| entry.ended.is_none())
    }

    fn add(&mut self, delivery: NewDelivery, event: EventId) {
        let NewDelivery { id, endpoint, consumer, due_at, expires_at } = delivery;
        let entry = Entry {
            event,
            endpoint,
            consumer,
            due_at,
            ended: None,
            attempts: Vec::new(),
            last_attempt_at: None,
            expires_at,
            ended_at: None,
        };
        self.deliveries.insert(id, entry);
        self.delivered_to.insert(endpoint);
    }
}

fn live(id: DeliveryId, entry: &Entry) -> LiveDelivery {
    shown(id, entry).live().expect("only what is live is asked for")
}

fn shown(id: DeliveryId, entry: &Entry) -> Delivery {
    Delivery {
        id,
        event: entry.event,
        endpoint: entry.endpoint,
        consumer: entry.consumer.clone(),
        state: entry.state(),
        attempts_made: entry.attempts_made(),
        due_at: entry.ended.is_none().then_some(entry.due_at),
        last_attempt_at: entry.last_attempt_at,
        expires_at: entry.expires_at.filter(|_| entry.ended.is_none()),
        ended_at: entry.ended_at,
    }
}
