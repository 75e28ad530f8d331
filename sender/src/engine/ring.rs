//! Whose turn it is: consumers in turn, and the endpoints of each consumer in turn; lanes that must wait for slots
//! apart.
//!
//! Guarantees that between two turns of one consumer every other listed consumer has exactly one, whatever the number
//! of its endpoints or the length of their queues; and the same among the endpoints of one consumer. Knows nothing
//! of deliveries: whoever lists an endpoint decides when it has work, and lists it once.

use std::collections::{HashMap, VecDeque};

use super::limits::Standing;
use crate::id::{ConsumerId, EndpointId};

/// A ring for each standing. Turns alternate between those that are open.
#[derive(Debug, Default)]
pub(super) struct Rings {
    rings: [Ring; 3],
    turn: usize,
}

/// Endpoints that have work, in the order of their turns.
#[derive(Debug, Default)]
struct Ring {
    turns: VecDeque<ConsumerId>,
    /// Never an empty queue; the same consumers as in `turns`.
    endpoints: HashMap<ConsumerId, VecDeque<EndpointId>>,
}

impl Rings {
    /// Lists an endpoint behind the others of its consumer.
    pub(super) fn push(&mut self, ring: Standing, consumer: &ConsumerId, endpoint: EndpointId) {
        self.rings[index(ring)].push(consumer, endpoint);
    }

    /// Takes the endpoint whose turn it is off its ring. Rings that are not `open` now are left out.
    pub(super) fn pop(&mut self, open: impl Fn(Standing) -> bool) -> Option<EndpointId> {
        for step in 0..RINGS.len() {
            let turn = (self.turn + step) % RINGS.len();
            if open(RINGS[turn])
                && let Some(endpoint) = self.rings[turn].pop()
            {
                self.turn = (turn + 1) % RINGS.len();
                return Some(endpoint);
            }
        }
        None
    }
}

fn index(standing: Standing) -> usize {
    match standing {
        Standing::Sound => 0,
        Standing::New => 1,
        Standing::Struggling => 2,
    }
}

/// In the order of [`index`].
const RINGS: [Standing; 3] = [Standing::Sound, Standing::New, Standing::Struggling];

impl Ring {
    fn push(&mut self, consumer: &ConsumerId, endpoint: EndpointId) {
        if let Some(queue) = self.endpoints.get_mut(consumer) {
            queue.push_back(endpoint);
        } else {
            self.endpoints.insert(consumer.clone(), VecDeque::from([endpoint]));
            self.turns.push_back(consumer.clone());
        }
    }

    fn pop(&mut self) -> Option<EndpointId> {
        let consumer = self.turns.pop_front()?;
        let queue = self.endpoints.get_mut(&consumer)?;
        let endpoint = queue.pop_front();
        if queue.is_empty() {
            self.endpoints.remove(&consumer);
        } else {
            self.turns.push_back(consumer);
        }
        endpoint
    }
}

#[cfg(test)]
mod tests {
    use waxseal_keys::Timestamp;

    use super::*;

    #[test]
    fn a_consumer_with_many_endpoints_has_no_more_turns_than_another() {
        let (many, one) = (ConsumerId::parse("many").unwrap(), ConsumerId::parse("one").unwrap());
        let endpoints: Vec<_> = (0..4).map(|n| EndpointId::generate(Timestamp::from_seconds(n))).collect();
        let mut ring = Ring::default();
        for endpoint in &endpoints[..3] {
            ring.push(&many, *endpoint);
        }
        ring.push(&one, endpoints[3]);
        let mut order = Vec::new();
        for _ in 0..6 {
            let endpoint = ring.pop().unwrap();
            order.push(endpoints.iter().position(|e| *e == endpoint).unwrap());
            ring.push(if endpoint == endpoints[3] { &one } else { &many }, endpoint);
        }
        assert_eq!(order, [0, 3, 1, 3, 2, 3]);
    }
}
