//! [`Budgets`]: how often each network may still ask.
//!
//! Relies on `governor` for the arithmetic (GCRA) and on a clock that never goes back. Guarantees that it remembers no
//! more than [`CAPACITY`] networks: those that could ask in full again are forgotten from time to time, and
//! while there is no room, those who are not known yet share one budget.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};

use super::peer::Network;

#[derive(Debug)]
pub(super) struct Budgets<C: Clock = MonotonicClock> {
    limiter: RateLimiter<Network, Table, C, NoOpMiddleware<C::Instant>>,
    checks: AtomicU64,
}

impl<C: Clock> Budgets<C> {
    pub(super) fn new(quota: Quota, capacity: usize, clock: C) -> Self {
        let table = Table { capacity, entries: Mutex::default() };
        Self { limiter: RateLimiter::new(quota, table, clock), checks: AtomicU64::new(0) }
    }

    /// Takes one request from a budget, or says how long to wait until it has one again.
    pub(super) fn take(&self, network: Network) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
        self.limiter.check_key(&network).map_err(|until| until.wait_time_from(self.limiter.clock().now()))
    }
}

/// When each budget will be full again, in time since the limiter began.
#[derive(Debug)]
struct Table {
    capacity: usize,
    entries: Mutex<HashMap<Network, Nanos>>,
}

impl Table {
    /// Nothing that holds the lock leaves the table half-written.
    fn lock(&self) -> MutexGuard<'_, HashMap<Network, Nanos>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Table {
    type Key = Network;

    fn measure_and_replace<T, F, E>(&self, network: &Network, judge: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut entries = self.lock();
        let known = entries.len() < self.capacity || entries.contains_key(network);
        let network = if known { *network } else { Network::Crowd };
        let (verdict, full_at) = judge(entries.get(&network).copied())?;
        entries.insert(network, full_at);
        Ok(verdict)
    }
}

impl ShrinkableKeyedStateStore<Network> for Table {
    fn retain_recent(&self, drop_below: Nanos) {
        self.lock().retain(|_, full_at| *full_at > drop_below);
    }

    fn shrink_to_fit(&self) {
        self.lock().shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// A few megabytes.
pub(super) const CAPACITY: usize = 65_536;

/// Often enough that what is forgotten makes room, seldom enough that it costs nothing.
const SWEEP_EVERY: u64 = 1_024;

#[cfg(test)]
#[path = "budget/tests.rs"]
mod tests;
