//! What publishers, delivering tasks and the driver share: the schedule behind a lock that is held for microseconds,
//! and the tasks.
//!
//! Guarantees that no lock is held across an await, and that whoever changes the schedule starts what that made
//! possible ([`Shared::pump`]) or tells the driver ([`Shared::ring`]).

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use waxseal_keys::Timestamp;

use super::claim::Claim;
use super::meters::Meters;
use super::ownership::Ownership;
use super::pace::Configured;
use super::schedule::Schedule;
use super::{EngineParts, deliver, driver};
use crate::id::{DeliveryId, EndpointId};
use crate::model::delivery::LiveDelivery;
use crate::store::{Shards, StoreError};

/// The state of an engine.
pub(super) struct Shared {
    pub(super) parts: EngineParts,
    pub(super) ownership: Ownership,
    pub(super) meters: Meters,
    schedule: Mutex<Schedule>,
    tasks: Mutex<JoinSet<()>>,
    runtime: Handle,
    bell: Notify,
    phase: watch::Sender<Phase>,
    jitter: RandomState,
    sweeping: tokio::sync::Mutex<()>,
    surveying: tokio::sync::Mutex<()>,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Phase {
    Running,
    /// Nothing more is begun.
    Stopping,
    /// Nothing is in flight.
    Ended,
    /// Nothing is owned any more.
    Stopped,
}

impl Shared {
    pub(super) fn new(parts: EngineParts, runtime: Handle) -> Self {
        let configured = Configured {
            directory: Arc::clone(&parts.directory),
            disable_after: parts.policy.breaker.disable_after,
        };
        let mut schedule = Schedule::new(parts.policy.limits.clone(), Arc::new(configured));
        let (now, cluster) = (parts.clock.now(), parts.store.cluster());
        if cluster.is_none() {
            // No shard comes late to who has them all from before the start.
            schedule.gain(Shards::ALL, Timestamp::MIN);
            parts.directory.failing().into_iter().for_each(|health| schedule.restore(health, now));
        }
        Self {
            ownership: Ownership::new(parts.node.clone(), parts.policy.ownership, cluster),
            meters: Meters::new(),
            schedule: Mutex::new(schedule),
            parts,
            tasks: Mutex::new(JoinSet::new()),
            runtime,
            bell: Notify::new(),
            phase: watch::Sender::new(Phase::Running),
            jitter: RandomState::new(),
            sweeping: tokio::sync::Mutex::new(()),
            surveying: tokio::sync::Mutex::new(()),
        }
    }

    /// Works on the schedule, now.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Schedule, Timestamp) -> T) -> T {
        let now = self.parts.clock.now();
        work(&mut lock(&self.schedule), now)
    }

    /// Whether anything may be begun at this moment: what is owned is known, and what others have configured.
    fn may_begin(&self) -> bool {
        self.ownership.is_trusted() && self.parts.directory.is_up_to_date()
    }

    /// Begins every delivery that may begin now, and tells the driver if there is more to do than that.
    pub(super) fn pump(self: &Arc<Self>) {
        let (claims, stirred) = self.with(|schedule, now| (self.claims(schedule, now), schedule.stirred()));
        for claim in claims {
            self.spawn(deliver::work(Arc::clone(self), claim));
        }
        if stirred || self.phase() != Phase::Running {
            self.ring();
        }
    }

    /// Takes every delivery that may begin now. Whether the engine runs is asked under the lock of the schedule: once it
    /// stops, whoever looks for what is in flight has seen all that was begun.
    fn claims(&self, schedule: &mut Schedule, now: Timestamp) -> Vec<Claim> {
        let running = self.phase() == Phase::Running;
        let next = || (running && self.may_begin()).then(|| schedule.next(now)).flatten();
        std::iter::from_fn(next).collect()
    }

    /// Gives a delivery back and takes the next one, if there is one. What else its end has made possible is begun: an
    /// endpoint that answers at last may get more at once than before.
    pub(super) fn exchange(self: &Arc<Self>, claim: Claim, end: super::claim::End) -> Option<Claim> {
        let (mut claims, stirred) = self.with(|schedule, now| {
            schedule.done(claim, end, now);
            (self.claims(schedule, now), schedule.stirred())
        });
        if stirred || self.phase() != Phase::Running {
            self.ring();
        }
        let next = claims.pop();
        for claim in claims {
            self.spawn(deliver::work(Arc::clone(self), claim));
        }
        next
    }

    /// Whether a claimed delivery may be posted, at this moment.
    pub(super) fn may_post(&self, claim: &Claim) -> bool {
        let LiveDelivery { endpoint, id, .. } = claim.delivery;
        self.may_begin() && self.with(|schedule, _| schedule.may_go_on(endpoint, id))
    }

    /// Looks at an endpoint in a task of its own.
    pub(super) fn look(self: &Arc<Self>, endpoint: EndpointId) {
        if self.with(|schedule, _| schedule.knows(endpoint)) {
            self.spawn(driver::look(Arc::clone(self), endpoint));
        }
    }

    /// Wakes the driver.
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for [`Self::ring`].
    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Whether the caller may look for what has expired: one at a time.
    pub(super) fn begin_sweep(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.sweeping.try_lock().ok()
    }

    /// Waits for its turn to look for work that nobody announced: one at a time.
    pub(super) async fn begin_survey(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.surveying.lock().await
    }

    /// Whether somebody is looking for it.
    pub(super) fn is_surveying(&self) -> bool {
        self.surveying.try_lock().is_err()
    }

    /// Starts a task that ends with the engine at the latest.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        tasks.spawn_on(task, &self.runtime);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the engine failed");
            }
        }
    }

    /// Ends all tasks where they are.
    pub(super) async fn abort(&self) {
        let mut tasks = std::mem::take(&mut *lock(&self.tasks));
        tasks.shutdown().await;
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Moves on; never back.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let moves = *now < phase;
            *now = phase.max(*now);
            moves
        });
    }

    pub(super) async fn wait_for(&self, phase: Phase) {
        // Cannot fail: the sender lives in `self`.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Evenly spread over `[0, 1)`, and not to be foreseen.
    pub(super) fn jitter(&self, delivery: DeliveryId, attempt: u32) -> f64 {
        let hash = self.jitter.hash_one((delivery, attempt));
        let part = u32::try_from(hash >> 32).unwrap_or(0);
        f64::from(part) / (f64::from(u32::MAX) + 1.0)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("phase", &self.phase()).finish_non_exhaustive()
    }
}

/// Asks the store until it answers. What was posted must be recorded, so giving up is no option; a stop ends the
/// task that waits here.
pub(super) async fn insist<T, F>(what: &'static str, mut ask: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut pause = FIRST_PAUSE;
    loop {
        match ask().await {
            Ok(answer) => return answer,
            Err(error) => {
                tracing::warn!(what, code = error.code(), "the store failed; asking again");
                metrics::counter!("waxseal_store_failures_total", "what" => what).increment(1);
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
