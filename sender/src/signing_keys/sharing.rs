//! The ring where several nodes sign by it: read again and again, and believed for a while only.
//!
//! Relies on whoever [follows](crate::following) to reload it. Guarantees that a key which signs on one node is published
//! on all that publish anything: what a node has read is believed for [`TRUSTED_FOR`], and a standby counts as published
//! only when it has been on disk for [`SPREAD`], which is longer. A node that cannot read the ring for longer publishes
//! nothing and signs nothing. A key that was revoked signs nowhere any more, at the latest, when so much time has passed.
//!
//! How much time passes is told by a [`Passing`], not by the time of day: that can be set.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use waxseal_keys::{KeyRing, KeyState, RingEntry};

use super::kept::open;
use super::{SigningKeys, SigningKeysError};
use crate::clock_watch::this_instant;
use crate::store::{Cluster, Hint, LEASE, RecordChange, RecordKind, TRUSTED_FOR};

/// Tells how much time passes.
pub trait Passing: Debug + Send + Sync {
    /// This instant. It never goes back.
    fn instant(&self) -> Instant;
}

/// Tells it by the system's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemPassing;

impl Passing for SystemPassing {
    fn instant(&self) -> Instant {
        this_instant()
    }
}

/// What there is beside the ring where several nodes sign by it.
#[derive(Debug)]
pub(super) struct Sharing {
    cluster: Arc<dyn Cluster>,
    passing: Arc<dyn Passing>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    /// When it was last begun to read the ring, of the times that this succeeded.
    read_at: Instant,
    /// When each standby that does not count as published yet was seen first. It was on disk then.
    standbys: HashMap<String, Instant>,
}

impl Sharing {
    /// Of a ring that is read from now on.
    pub(super) fn new(cluster: Arc<dyn Cluster>, passing: Arc<dyn Passing>) -> Self {
        let seen = Seen { read_at: passing.instant(), standbys: HashMap::new() };
        Self { cluster, passing, seen: Mutex::new(seen) }
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.passing.instant().saturating_duration_since(self.seen().read_at) < TRUSTED_FOR
    }

    /// Notes what a ring that is on disk has standing by.
    pub(super) fn note(&self, ring: &KeyRing) {
        let now = self.passing.instant();
        let standbys = &mut self.seen().standbys;
        let waiting = |kid: &String| ring.entries().iter().any(|entry| entry.kid() == kid && is_new(entry));
        standbys.retain(|kid, _| waiting(kid));
        for entry in ring.entries().iter().filter(|entry| is_new(entry)) {
            standbys.entry(entry.kid().to_owned()).or_insert(now);
        }
    }

    /// Whether every node that publishes anything publishes this standby by now.
    pub(super) fn is_spread(&self, kid: &str) -> bool {
        let now = self.passing.instant();
        self.seen().standbys.get(kid).is_some_and(|at| now.saturating_duration_since(*at) >= SPREAD)
    }

    /// How long the next standby has to wait until it [is spread](Self::is_spread).
    pub(super) fn until_spread(&self) -> Option<Duration> {
        let now = self.passing.instant();
        let seen = self.seen();
        seen.standbys.values().map(|at| SPREAD.saturating_sub(now.saturating_duration_since(*at))).min()
    }

    pub(super) fn tell(&self) {
        self.cluster.hint(Hint::RingChanged);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SigningKeys {
    /// Whether what is known of the ring may be signed by, and published. Without other nodes it always may.
    pub fn are_trusted(&self) -> bool {
        self.sharing.as_ref().is_none_or(Sharing::is_trusted)
    }

    /// Reads what other nodes have made of the ring.
    ///
    /// # Errors
    /// If the store fails, or the ring does not open.
    pub async fn reload(&self) -> Result<(), SigningKeysError> {
        let Some(sharing) = &self.sharing else { return Ok(()) };
        let (begun, is_new) = loop {
            let (begun, before) = (sharing.passing.instant(), self.kept());
            let Some(record) = self.store.ring().await?.filter(|record| *record != before.record) else {
                break (begun, false);
            };
            let theirs = open(record, &self.data_keys, self.policy, self.clock.now())?;
            // If something was shown meanwhile, nobody can say which of the two is the newer one but the store.
            if self.show(&before, theirs) {
                break (begun, true);
            }
        };
        let was_trusted = sharing.is_trusted();
        sharing.seen().read_at = begun;
        if !was_trusted {
            self.active_changes.send_modify(|count| *count += 1);
        }
        if is_new {
            self.changed.notify_one();
        }
        Ok(())
    }

    pub(super) fn note(&self, ring: &KeyRing) {
        if let Some(sharing) = &self.sharing {
            sharing.note(ring);
        }
    }

    /// What is written with a ring in which keys are revoked that were not. It counts as a change of what is configured,
    /// so that whoever waits until every node works by that waits for this.
    pub(super) fn counted(&self, before: &KeyRing, ring: &KeyRing) -> Option<RecordChange> {
        self.sharing.as_ref()?;
        let revoked =
            |entries: &[RingEntry]| entries.iter().filter(|entry| entry.state() == KeyState::Revoked).count();
        let is_revocation = revoked(ring.entries()) > revoked(before.entries());
        is_revocation.then(|| RecordChange::Remove { kind: RecordKind::Told, id: "ring".to_owned() })
    }
}

/// Whether it stands by and does not count as published yet.
fn is_new(entry: &RingEntry) -> bool {
    entry.state() == KeyState::Pending && entry.published_since().is_none()
}

/// How long a standby is on disk before it counts as published. Whoever has not read it by then has not read the ring for
/// longer than it is believed.
pub const SPREAD: Duration = LEASE;
