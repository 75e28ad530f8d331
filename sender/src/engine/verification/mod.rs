//! Asks endpoints whether their owners want events, before they get any.
//!
//! An endpoint that nobody trusts and that has not proved itself is asked at once: when it is created, when it becomes
//! another (URL, protection, source of keys), when somebody says so, and after a start. `ask` makes one attempt; this
//! module says which endpoint is asked when.
//!
//! Relies on the directory for what was asked: a challenge is on disk before it is sent, so a restart goes on where
//! the last process was and asks no oftener. Guarantees that a few are asked at a time, of one consumer still fewer;
//! that no host hears more of it than [`HostLimits`] allows, whoever asks; that an endpoint which has proved itself and
//! has other keys now, hundreds of them at one host perhaps, does not wait for that and takes nothing of it; and that
//! what waits for something of ours costs no attempt.

mod agenda;
mod ask;
mod state;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, broadcast};
use tokio::time::sleep;
use waxseal_keys::Timestamp;

use self::agenda::Agenda;
use self::ask::Asked;
use super::hold::Hold;
use super::shared::{Phase, Shared};
use crate::directory::DirectoryEvent;
pub use crate::host_limits::HostLimits;
use crate::host_limits::Hosts;
use crate::id::EndpointId;
use crate::model::encryption_keys::KeyOwner;
use crate::model::endpoint::Endpoint;

/// How endpoints are asked.
#[derive(Clone, Debug)]
pub struct VerificationPolicy {
    /// How long one attempt waits for its answer.
    pub answer_within: Duration,
    /// The pauses between attempts: there is one attempt more than there are pauses.
    pub pauses: Vec<Duration>,
    /// When asking ends, counted from the first attempt.
    pub lasts: Duration,
    /// What one host hears of it.
    pub hosts: HostLimits,
    /// So many attempts within an hour for one consumer at endpoints that have proved themselves where they are and have
    /// other keys now. They are posted to anyway, so this is no part of what their hosts hear from those who have not.
    pub agreed_an_hour: usize,
    /// How long to wait for what has to change here before it is looked at again; a change that is heard of is looked
    /// at once.
    pub look_again: Duration,
}

impl Default for VerificationPolicy {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        Self {
            answer_within: Duration::from_secs(10),
            pauses: vec![Duration::from_secs(MINUTE), Duration::from_secs(5 * MINUTE)],
            lasts: Duration::from_secs(60 * MINUTE),
            hosts: HostLimits::default(),
            agreed_an_hour: 3_000, // three attempts at as many endpoints as a consumer can have
            look_again: Duration::from_secs(MINUTE),
        }
    }
}

/// Asks endpoints, for as long as the engine runs.
pub(super) struct Verifier {
    shared: Arc<Shared>,
    agenda: Mutex<Agenda>,
    hosts: Mutex<Hosts>,
    /// The hosts of endpoints whose keys alone are new.
    agreed: Mutex<Hosts>,
    /// What an endpoint waits for before it can be asked.
    waits: Mutex<HashMap<EndpointId, &'static str>>,
    bell: Notify,
}

impl Verifier {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let policy = &shared.parts.policy.verification;
        let hosts = Hosts::new(policy.hosts.clone());
        let agreed = Hosts::new(HostLimits::of_consumers(policy.agreed_an_hour));
        Self {
            shared,
            agenda: Mutex::default(),
            hosts: Mutex::new(hosts),
            agreed: Mutex::new(agreed),
            waits: Mutex::default(),
            bell: Notify::new(),
        }
    }

    /// What this endpoint waits for before it can be asked, if it does: the code of a hold, or [`HOST_LIMIT`].
    pub(super) fn waits_for(&self, endpoint: EndpointId) -> Option<&'static str> {
        lock(&self.waits).get(&endpoint).copied()
    }

    /// Every endpoint that waits, and what for.
    pub(super) fn waits(&self) -> Vec<(EndpointId, &'static str)> {
        lock(&self.waits).iter().map(|(endpoint, code)| (*endpoint, *code)).collect()
    }

    /// Looks at an endpoint again.
    pub(super) fn wake(&self, endpoint: EndpointId) {
        self.consider(endpoint);
        self.bell.notify_one();
    }

    /// Runs until the engine stops. What it has begun ends with the engine's tasks.
    pub(super) async fn run(self: Arc<Self>, mut news: broadcast::Receiver<DirectoryEvent>) {
        let mut owned = self.shared.ownership.watch();
        self.consider_all();
        loop {
            let pause = self.begin_what_is_due();
            tokio::select! {
                () = self.bell.notified() => {}
                () = sleep(pause) => {}
                heard = news.recv() => self.hear(heard),
                Ok(()) = owned.changed() => self.consider_all(),
                () = self.shared.wait_for(Phase::Stopping) => return,
            }
        }
    }

    fn hear(&self, heard: Result<DirectoryEvent, broadcast::error::RecvError>) {
        let directory = &self.shared.parts.directory;
        match heard {
            Ok(DirectoryEvent::EndpointChanged(id) | DirectoryEvent::EndpointRemoved(id)) => {
                self.consider(id);
            }
            Ok(DirectoryEvent::KeysChanged(KeyOwner::Endpoint(_, id))) => self.consider(id),
            Ok(DirectoryEvent::KeysChanged(KeyOwner::Consumer(consumer))) => {
                let endpoints = directory.endpoints(Some(&consumer), None, usize::MAX);
                endpoints.iter().for_each(|endpoint| self.consider(endpoint.id));
            }
            Ok(DirectoryEvent::RecoveryChanged(_) | DirectoryEvent::NoticeKept)
            | Err(broadcast::error::RecvError::Closed) => {}
            Err(broadcast::error::RecvError::Lagged(_)) => self.consider_all(),
        }
    }

    fn consider_all(&self) {
        let all = self.shared.parts.directory.endpoints(None, None, usize::MAX);
        all.iter().for_each(|endpoint| self.consider(endpoint.id));
    }

    /// Puts an endpoint on the agenda, or takes it off.
    fn consider(&self, id: EndpointId) {
        let endpoint = self.shared.parts.directory.endpoint(id).filter(|_| self.shared.ownership.have(id));
        let due_at = endpoint.as_deref().and_then(|endpoint| self.due_at(endpoint));
        let waits_no_more = lock(&self.agenda).consider(id, due_at);
        if waits_no_more {
            lock(&self.waits).remove(&id);
        }
    }

    fn due_at(&self, endpoint: &Endpoint) -> Option<Timestamp> {
        let keys = self.shared.parts.directory.key_set_for(endpoint);
        endpoint.verification.due_at(endpoint, keys.as_deref(), self.shared.parts.clock.now())
    }

    /// Begins every attempt whose time has come; says how long there will be none.
    fn begin_what_is_due(self: &Arc<Self>) -> Duration {
        let (directory, now) = (&self.shared.parts.directory, self.shared.parts.clock.now());
        loop {
            let Some(id) = lock(&self.agenda).next(now) else { break };
            let Some(endpoint) = directory.endpoint(id) else { continue };
            if !self.shared.ownership.is_trusted() {
                lock(&self.agenda).put(id, now.saturating_add(CROWDED));
                break;
            }
            let crowded = now.saturating_add(CROWDED);
            if !lock(&self.agenda).begin(id, &endpoint.consumer, crowded) {
                continue;
            }
            self.shared.spawn(Arc::clone(self).attempt(id));
        }
        let next = lock(&self.agenda).next_at();
        next.map_or(LONGEST_SLEEP, |at| at.duration_since(now)).min(LONGEST_SLEEP)
    }

    async fn attempt(self: Arc<Self>, id: EndpointId) {
        lock(&self.waits).remove(&id);
        let asked = match AssertUnwindSafe(self.ask(id)).catch_unwind().await {
            Ok(asked) => asked,
            Err(_) => {
                tracing::error!(endpoint = %id, "asking an endpoint failed inside");
                metrics::counter!("waxseal_engine_panics_total", "what" => "verification").increment(1);
                Asked::Later { at: self.after(LONGEST_SLEEP), because: FAILED_INSIDE }
            }
        };
        let stirred = lock(&self.agenda).end(id);
        match asked {
            Asked::Later { at, because } if !stirred => {
                lock(&self.waits).insert(id, because);
                lock(&self.agenda).put(id, at);
            }
            Asked::Later { .. } | Asked::Noted => self.consider(id),
        }
        self.bell.notify_one();
    }

    fn after(&self, pause: Duration) -> Timestamp {
        self.shared.parts.clock.now().saturating_add(pause)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Nothing that holds one of these locks leaves its content half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What an endpoint waits for whose host was asked enough.
pub const HOST_LIMIT: &str = "verification.host_limit";

/// The code of what an endpoint may wait for that reads so.
pub(super) fn known_wait(code: &str) -> Option<&'static str> {
    let own = [HOST_LIMIT, FAILED_INSIDE].into_iter().find(|known| *known == code);
    own.or_else(|| Hold::from_code(code).map(Hold::code))
}

const FAILED_INSIDE: &str = "verification.failed_inside";

/// Before an endpoint is looked at again whose consumer has enough under way.
const CROWDED: Duration = Duration::from_millis(500);

/// The time of day may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);
