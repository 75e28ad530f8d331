//! [`MemoryGuard`]: the replay guard of a receiver that is one process.
//!
//! Relies on one mutex, never held across an `.await`. Guarantees that it never holds more than its capacity,
//! and that a done event is forgotten early only when no token for it can be inside the receiver's window
//! any more. A restart forgets everything: what was acknowledged before it can be processed once more if the
//! sender repeats it, and a token that is still inside the window can be replayed.

use std::{
    collections::{BTreeSet, HashMap},
    future::ready,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use waxseal_keys::Timestamp;

use super::{Begin, Fence, GuardError, GuardFuture, RETENTION, ReplayGuard, ReplayKey, Settled, retry_after};

/// A bounded [`ReplayGuard`] in memory.
#[derive(Debug)]
pub struct MemoryGuard {
    capacity: usize,
    retention: Duration,
    state: Mutex<State>,
}

impl MemoryGuard {
    /// A guard for at most `capacity` events, leased and done together, that remembers what is done for `retention`:
    /// at least as long as the sender repeats an event.
    ///
    /// ```
    /// use std::time::Duration;
    /// use waxseal_receiver::MemoryGuard;
    ///
    /// let guard = MemoryGuard::new(10_000, Duration::from_secs(3 * 86_400));
    /// assert_eq!(guard.forgotten_early(), 0);
    /// ```
    pub fn new(capacity: usize, retention: Duration) -> Self {
        Self { capacity, retention, state: Mutex::new(State::default()) }
    }

    /// How many done events were forgotten before their retention, for lack of room. If it grows, the guard
    /// is too small: a late repetition of one of them would be processed again.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::MemoryGuard::default().forgotten_early(), 0);
    /// ```
    pub fn forgotten_early(&self) -> u64 {
        self.lock().forgotten_early
    }

    /// Nothing that holds the lock leaves the state half-written, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin_at(&self, key: &ReplayKey, now: Timestamp, lease: Duration) -> Result<Begin, GuardError> {
        let mut state = self.lock();
        if let Some(done_at) = state.done.get(key) {
            if now.duration_since(*done_at) < self.retention {
                return Ok(Begin::Done);
            }
            state.forget(key);
        }
        match state.leased.get(key) {
            Some(held) if now < held.until => {
                let retry_after = retry_after(held.until.duration_since(now));
                return Ok(Begin::InProgress { retry_after });
            }
            Some(_) => {}
            None => self.make_room(&mut state, now)?,
        }
        state.last_fence += 1;
        let fence = Fence::new(state.last_fence);
        state.leased.insert(key.clone(), Lease { fence, until: now.saturating_add(lease) });
        Ok(Begin::New(fence))
    }

    fn make_room(&self, state: &mut State, now: Timestamp) -> Result<(), GuardError> {
        if state.len() < self.capacity {
            return Ok(());
        }
        if let Some((done_at, oldest)) = state.by_date.first().cloned() {
            let age = now.duration_since(done_at);
            if age > WINDOW {
                state.forget(&oldest);
                state.forgotten_early += u64::from(age < self.retention);
                return Ok(());
            }
        }
        state.leased.retain(|_, held| now < held.until);
        if state.len() < self.capacity { Ok(()) } else { Err(GuardError::Full) }
    }
}

impl Default for MemoryGuard {
    /// 100,000 events, 7 days.
    fn default() -> Self {
        Self::new(100_000, RETENTION)
    }
}

impl ReplayGuard for MemoryGuard {
    fn begin<'a>(&'a self, key: &'a ReplayKey, now: Timestamp, lease: Duration) -> GuardFuture<'a, Begin> {
        Box::pin(ready(self.begin_at(key, now, lease)))
    }

    fn renew<'a>(
        &'a self,
        key: &'a ReplayKey,
        fence: Fence,
        now: Timestamp,
        lease: Duration,
    ) -> GuardFuture<'a, Settled> {
        let mut state = self.lock();
        let settled = state.if_held(key, fence, |state| {
            state.leased.insert(key.clone(), Lease { fence, until: now.saturating_add(lease) });
        });
        Box::pin(ready(Ok(settled)))
    }

    fn commit<'a>(&'a self, key: &'a ReplayKey, fence: Fence, now: Timestamp) -> GuardFuture<'a, Settled> {
        let mut state = self.lock();
        let settled = state.if_held(key, fence, |state| {
            state.leased.remove(key);
            state.remember(key, now);
        });
        Box::pin(ready(Ok(settled)))
    }

    fn abort<'a>(&'a self, key: &'a ReplayKey, fence: Fence) -> GuardFuture<'a, Settled> {
        let mut state = self.lock();
        let settled = state.if_held(key, fence, |state| {
            state.leased.remove(key);
        });
        Box::pin(ready(Ok(settled)))
    }
}

#[derive(Debug, Default)]
struct State {
    leased: HashMap<ReplayKey, Lease>,
    /// When each event was done.
    done: HashMap<Arc<ReplayKey>, Timestamp>,
    /// The same, oldest first: by date and not by arrival, for the clock may be set back in between.
    by_date: BTreeSet<(Timestamp, Arc<ReplayKey>)>,
    last_fence: u64,
    forgotten_early: u64,
}

impl State {
    fn if_held(&mut self, key: &ReplayKey, fence: Fence, act: impl FnOnce(&mut Self)) -> Settled {
        if self.leased.get(key).is_some_and(|held| held.fence == fence) {
            act(self);
            Settled::Applied
        } else {
            Settled::Stale
        }
    }

    fn remember(&mut self, key: &ReplayKey, done_at: Timestamp) {
        let key = Arc::new(key.clone());
        self.by_date.insert((done_at, key.clone()));
        self.done.insert(key, done_at);
    }

    fn forget(&mut self, key: &ReplayKey) {
        if let Some((key, done_at)) = self.done.remove_entry(key) {
            self.by_date.remove(&(done_at, key));
        }
    }

    fn len(&self) -> usize {
        self.leased.len() + self.done.len()
    }
}

#[derive(Debug)]
struct Lease {
    fence: Fence,
    until: Timestamp,
}

/// A token may be 300 s old and 60 s in the future: what was done longer ago cannot come back as the same token.
const WINDOW: Duration = Duration::from_secs(360);
