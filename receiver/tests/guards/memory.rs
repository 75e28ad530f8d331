//! The guard in memory: what it does besides is in `tests/replay.rs`.

use std::{sync::Arc, time::Duration};

use waxseal_keys::{Clock, ManualClock, Timestamp};
use waxseal_receiver::{MemoryGuard, ReplayGuard};

use crate::suite::{RETENTION, Subject, conformance};

struct Memory {
    guard: Arc<MemoryGuard>,
    clock: ManualClock,
}

impl Memory {
    async fn start() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_795_293_600));
        Self { guard: Arc::new(MemoryGuard::new(1_000, RETENTION)), clock }
    }
}

impl Subject for Memory {
    fn guard(&self) -> Arc<dyn ReplayGuard> {
        self.guard.clone()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

conformance!(Memory::start());
