//! Whose turn it is: consumers in turn, and the endpoints of each consumer in turn; lanes that struggle apart.
//!
//! Guarantees that between two turns of one consumer every other listed consumer has exactly one, whatever the number
//! of its endpoints or the length of their queues; and the same among the endpoints of one consumer. Knows nothing
//! of deliveries: whoever lists an endpoint decides when it has work, and lists it once.

use std::collections::{HashMap, VecDeque};

use super::limits::Standing;
use crate::id::{ConsumerId, EndpointId};

/// Two rings, one for each standing. Turns alternate between them.
#[derive(Debug)]
pub(super) struct Rings {
    sound: Ring,
    struggling: Ring,
    turn: Standing,
}

/// Endpoints that have work, in the order of their turns.
#[derive(Debug, Default)]
struct Ring {
    turns: VecDeque<ConsumerId>,
    /// Never an empty queue; the same consumers as in `turns`.
    endpoints: HashMap<ConsumerId, VecDeque<EndpointId>>,
}

impl Rings {
    pub(super) fn new() -> Self {
        Self { sound: Ring::default(), struggling: Ring::default(), turn: Standing::Sound }
    }

    /// Lists an endpoint behind the others of its consumer.
    pub(super) fn push(&mut self, standing: Standing, consumer: &ConsumerId, endpoint: EndpointId) {
        self.ring(standing).push(consumer, endpoint);
    }

    /// Takes the endpoint whose turn it is off its ring, and says which ring that was. Those that struggle are left
    /// out unless they `may_struggle` now.
    pub(super) fn pop(&mut self, may_struggle: bool) -> Option<(EndpointId, Standing)> {
        let order = match self.turn {
            Standing::Sound => [Standing::Sound, Standing::Struggling],
            Standing::Struggling => [Standing::Struggling, Standing::Sound],
        };
        for standing in order {
            if (standing == Standing::Sound || may_struggle)
                && let Some(endpoint) = self.ring(standing).pop()
            {
                self.turn = match standing {
                    Standing::Sound => Standing::Struggling,
                    Standing::Struggling => Standing::Sound,
                };
                return Some((endpoint, standing));
            }
        }
        None
    }

    fn ring(&mut self, standing: Standing) -> &mut Ring {
        match standing {
            Standing::Sound => &mut self.sound,
            Standing::Struggling => &mut self.struggling,
        }
    }
}

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
