//! Where events go: consumers of unequal size, their endpoints, and the shards that these hash to.
//!
//! The n-th consumer gets 1/n^skew of what the first gets (Zipf). Ids of endpoints are random, as the sender's are, and
//! the shard is the sender's own function of them.

use waxseal_sender::id::EndpointId;
use waxseal_sender::store::Shard;

use super::{Micros, Random};

/// What is known of endpoints before they are drawn.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// How many consumers.
    pub consumers: usize,
    /// Endpoints of each; an event goes to one of them.
    pub endpoints_each: usize,
    /// How unequal consumers are; 0: not at all.
    pub skew: f64,
    /// Which share of all events goes to one further endpoint.
    pub giant: f64,
    /// How many endpoints, the last ones, never answer.
    pub dead: usize,
    /// How long a POST takes, mostly.
    pub round_trip: Micros,
    /// Which share of POSTs is refused and made again.
    pub refused: f64,
}

/// Endpoints as they were drawn.
#[derive(Clone, Debug)]
pub struct Endpoints {
    shards: Vec<Shard>,
    // The share of events for this endpoint and those before it.
    up_to: Vec<f64>,
    first_dead: usize,
}

impl Workload {
    /// Draws the endpoints. The giant, if there is one, is the first.
    pub fn endpoints(&self, random: &mut Random) -> Endpoints {
        let each = self.endpoints_each as f64;
        let weight = |consumer: usize| 1.0 / ((consumer + 1) as f64).powf(self.skew) / each;
        let weights: Vec<_> = (0..self.consumers * self.endpoints_each)
            .map(|endpoint| weight(endpoint / self.endpoints_each))
            .collect();
        let all: f64 = weights.iter().sum();
        let mut shares: Vec<_> = weights.iter().map(|weight| weight / all * (1.0 - self.giant)).collect();
        if self.giant > 0.0 {
            shares.insert(0, self.giant);
        }
        let up_to = shares.iter().scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        Endpoints {
            shards: shares.iter().map(|_| Shard::of(id(random))).collect(),
            first_dead: shares.len() - self.dead,
            up_to: up_to.collect(),
        }
    }
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            consumers: 2_000,
            endpoints_each: 1,
            skew: 0.0,
            giant: 0.0,
            dead: 0,
            round_trip: 50_000,
            refused: 0.0,
        }
    }
}

impl Endpoints {
    /// Where the next event goes.
    pub fn draw(&self, random: &mut Random) -> usize {
        let place = random.share();
        self.up_to.partition_point(|up_to| *up_to <= place).min(self.up_to.len() - 1)
    }

    /// The shard of an endpoint.
    pub fn shard(&self, endpoint: usize) -> Shard {
        self.shards[endpoint]
    }

    /// Whether it never answers.
    pub fn is_dead(&self, endpoint: usize) -> bool {
        endpoint >= self.first_dead
    }

    /// The share of all events that each shard gets.
    pub fn loads(&self) -> Vec<f64> {
        let mut loads = vec![0.0; Shard::COUNT];
        let mut before = 0.0;
        for (shard, up_to) in self.shards.iter().zip(&self.up_to) {
            loads[usize::from(shard.number())] += up_to - before;
            before = *up_to;
        }
        loads
    }
}

fn id(random: &mut Random) -> EndpointId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&random.number().to_be_bytes());
    bytes[8..].copy_from_slice(&random.number().to_be_bytes());
    EndpointId::from_bytes(bytes)
}
