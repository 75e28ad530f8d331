//! What the model removes by age: every event of the slice, looked at one by one.

use waxseal_keys::Timestamp;
use waxseal_sender::id::{EndpointId, EventId};
use waxseal_sender::store::{AgePosition, Forgotten, Kept, NewEvent, RecordKind, Removed, Slice};

use super::{Entry, State};

impl State {
    pub(super) fn has_content(&self, event: &EventId) -> bool {
        self.events.get(event).is_some_and(|event| !event.sealed.is_empty())
    }

    pub(super) fn prune(&mut self, slice: Slice) -> Removed {
        let mut removed = Removed::default();
        let looked_at: Vec<_> = self.oldest(slice).collect();
        let full = looked_at.len() >= usize::try_from(slice.limit).unwrap();
        removed.next = looked_at.last().filter(|_| full).map(|(position, _)| *position);
        for (_, id) in looked_at {
            if !self.entries(id).all(|entry| is_over(entry, slice)) {
                continue;
            }
            removed.events += 1;
            if slice.kept == Kept::Contents {
                self.forget_content(id);
                continue;
            }
            removed.deliveries += u64::try_from(self.entries(id).count()).unwrap();
            self.deliveries.retain(|_, entry| entry.event != id);
            self.events.remove(&id);
            self.forget_log(id);
        }
        removed
    }

    pub(super) fn forget_endpoints(&mut self, after: Option<EndpointId>, limit: u32) -> Forgotten {
        let limit = usize::try_from(limit).unwrap();
        let looked_at: Vec<EndpointId> = self
            .delivered_to
            .iter()
            .filter(|endpoint| after.is_none_or(|after| **endpoint > after))
            .take(limit)
            .copied()
            .collect();
        let mut forgotten =
            Forgotten { endpoints: 0, next: looked_at.last().copied().filter(|_| looked_at.len() >= limit) };
        for endpoint in looked_at {
            let configured = self.records.contains_key(&(RecordKind::Endpoint, endpoint.to_string()));
            if !configured && self.deliveries.values().all(|entry| entry.endpoint != endpoint) {
                self.delivered_to.remove(&endpoint);
                forgotten.endpoints += 1;
            }
        }
        forgotten
    }

    /// The oldest events, those of equal age in the order of their ids.
    fn oldest(&self, slice: Slice) -> impl Iterator<Item = (AgePosition, EventId)> {
        let wanted = |event: &&NewEvent| {
            event.accepted_at <= slice.until && event.sealed.is_empty() == (slice.kept == Kept::Records)
        };
        let mut found: Vec<(Timestamp, EventId)> =
            self.events.values().filter(wanted).map(|event| (event.accepted_at, event.id)).collect();
        found.sort();
        let number = |id: &EventId| i64::from_be_bytes(id.as_bytes()[8..].try_into().unwrap());
        found
            .into_iter()
            .map(move |(accepted_at, id)| (AgePosition { accepted_at, tie: number(&id) }, id))
            .filter(move |(position, _)| slice.after.is_none_or(|after| *position > after))
            .take(usize::try_from(slice.limit).unwrap())
    }

    fn entries(&self, event: EventId) -> impl Iterator<Item = &Entry> {
        self.deliveries.values().filter(move |entry| entry.event == event)
    }

    fn forget_content(&mut self, id: EventId) {
        if let Some(event) = self.events.get_mut(&id) {
            event.sealed.clear();
            event.wrapped_keys.iter_mut().for_each(|(_, wrapped)| wrapped.clear());
        }
    }
}

fn is_over(entry: &Entry, slice: Slice) -> bool {
    match slice.kept {
        Kept::Contents => entry.ended.is_some(),
        _ => entry.ended_at.is_some_and(|at| at <= slice.until),
    }
}
