//! Past one machine: how shards over nodes behave, simulated, and what a rate needs, computed.
//!
//! | module | what it says | how |
//! | --- | --- | --- |
//! | [`constants`] | every figure that the rest uses, with where it comes from | measured, configured or assumed |
//! | [`wire`] | bytes of a token, and of the packets that carry it | computed from the wire format |
//! | [`balance`] | how evenly shards fall on nodes | many random placements |
//! | [`world`] | latency, take-over, duplicates, batches | a simulation, event by event |
//! | [`capacity`] | nodes, cores, bytes, rows, connections at a rate, and the first limit | computed |
//!
//! **The sender's own:** the shards (`waxseal_sender::store::Shard`), the lease's three durations, the schedule of retries
//! and the limits of deliveries in flight. **Written anew by the same rules:** fair shares, take-over, giving back, lanes,
//! group commit, fenced settlements. **Simulated:** nodes with a number of cores, a database with cores and a disk that
//! flushes, endpoints with a round-trip time. **Left out:** the breaker, expiry, rates, strict order, holds, turns between
//! consumers, and everything that a network does but take its time.
//!
//! It reads no clock and takes every random number from one seed, so the same arguments give the same figures again.

pub mod balance;
pub mod capacity;
pub mod constants;
mod cores;
mod database;
mod node;
pub mod outcome;
mod random;
mod registry;
pub mod scenario;
pub mod wire;
pub mod workload;
pub mod world;

pub use self::cores::Cores;
pub use self::database::Database;
pub use self::random::Random;
pub use self::registry::Registry;

/// A moment or a duration of the simulation.
pub type Micros = u64;

/// So many microseconds of this duration.
pub fn micros(duration: std::time::Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap()
}

/// So many microseconds of these seconds.
pub fn seconds(seconds: f64) -> Micros {
    (seconds * 1e6) as Micros
}
