//! Which endpoint is asked when, and which are being asked.
//!
//! Guarantees that no endpoint is asked twice at a time, and how many are.

use std::collections::{BTreeSet, HashMap};

use waxseal_keys::Timestamp;

use crate::id::{ConsumerId, EndpointId};

/// What is to be done, in order of time.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeSet<(Timestamp, EndpointId)>,
    listed: HashMap<EndpointId, Timestamp>,
    under_way: HashMap<EndpointId, UnderWay>,
}

#[derive(Debug)]
struct UnderWay {
    consumer: ConsumerId,
    /// Something has changed meanwhile.
    stirred: bool,
}

impl Agenda {
    /// An endpoint has changed: it is due then, or not at all. One that is being asked is looked at when that is over.
    /// Returns whether what it waited for may have gone.
    pub(super) fn consider(&mut self, id: EndpointId, due_at: Option<Timestamp>) -> bool {
        if let Some(under_way) = self.under_way.get_mut(&id) {
            under_way.stirred = true;
            return false;
        }
        match due_at {
            Some(at) => self.put(id, at),
            None => self.remove(id),
        }
        true
    }

    /// Lists an endpoint for then, and for no other time.
    pub(super) fn put(&mut self, id: EndpointId, at: Timestamp) {
        self.remove(id);
        self.listed.insert(id, at);
        self.due.insert((at, id));
    }

    fn remove(&mut self, id: EndpointId) {
        if let Some(at) = self.listed.remove(&id) {
            self.due.remove(&(at, id));
        }
    }

    /// Takes the next endpoint whose time has come, if there is room for it.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<EndpointId> {
        if self.under_way.len() >= AT_ONCE {
            return None;
        }
        let (_, id) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.remove(id);
        Some(id)
    }

    /// When the next one is due; those that are under way ring when they end.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at).filter(|_| self.under_way.len() < AT_ONCE)
    }

    /// Begins to ask an endpoint, unless enough of its consumer's are being asked: then it is listed for `later`.
    pub(super) fn begin(&mut self, id: EndpointId, consumer: &ConsumerId, later: Timestamp) -> bool {
        let of_consumer = self.under_way.values().filter(|one| one.consumer == *consumer).count();
        if of_consumer >= AT_ONCE_OF_CONSUMER {
            self.put(id, later);
            return false;
        }
        self.under_way.insert(id, UnderWay { consumer: consumer.clone(), stirred: false });
        true
    }

    /// It was asked. Returns whether something has changed meanwhile.
    pub(super) fn end(&mut self, id: EndpointId) -> bool {
        self.under_way.remove(&id).is_some_and(|under_way| under_way.stirred)
    }
}

const AT_ONCE: usize = 64;
const AT_ONCE_OF_CONSUMER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000 + seconds)
    }

    fn id(number: i64) -> EndpointId {
        EndpointId::generate(at(number))
    }

    #[test]
    fn an_endpoint_is_asked_once_at_a_time_and_looked_at_again_if_it_changes_meanwhile() {
        let (mut agenda, one, acme) = (Agenda::default(), id(1), ConsumerId::parse("acme").unwrap());
        agenda.consider(one, Some(at(5)));
        agenda.consider(one, Some(at(3)));
        assert_eq!((agenda.next(at(2)), agenda.next_at()), (None, Some(at(3))));
        assert_eq!(agenda.next(at(3)), Some(one));
        assert!(agenda.begin(one, &acme, at(9)));
        assert!(!agenda.consider(one, Some(at(3))), "it is under way");
        assert_eq!((agenda.next(at(100)), agenda.next_at()), (None, None));
        assert!(agenda.end(one), "something has changed meanwhile");
        agenda.consider(one, Some(at(3)));
        agenda.consider(one, None);
        assert_eq!(agenda.next(at(100)), None);
    }

    #[test]
    fn one_consumer_leaves_room_for_the_others() {
        let (mut agenda, acme) = (Agenda::default(), ConsumerId::parse("acme").unwrap());
        for number in 0..200 {
            agenda.put(id(number), at(0));
        }
        let begun = (0..200).filter(|_| agenda.next(at(0)).is_some_and(|id| agenda.begin(id, &acme, at(1))));
        assert_eq!(begun.count(), AT_ONCE_OF_CONSUMER);
        for number in 0..100 {
            let other = ConsumerId::parse(&format!("c{number}")).unwrap();
            agenda.put(id(1_000 + number), at(0));
            if let Some(id) = agenda.next(at(0)) {
                assert!(agenda.begin(id, &other, at(1)));
            }
        }
        assert_eq!(agenda.under_way.len(), AT_ONCE);
        assert_eq!((agenda.next(at(50)), agenda.next_at()), (None, None), "whoever ends rings");
    }
}
