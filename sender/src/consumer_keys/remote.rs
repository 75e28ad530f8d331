//! Sets behind a `jwks_uri`: when they are asked for, and what their answers do to what is known.
//!
//! - A set that was fetched is used without asking for as long as its `max-age` says, at least a minute, at most an
//!   hour. One caller asks, the others wait for its answer. A set that has been emptied since, because it was given
//!   anew, is asked for at once; one that came without keys, after a minute.
//! - An answer is authoritative, also one without keys: a key that is not in it is not used any more. A key that is new
//!   in it is recorded, and admitted if the owner wants that.
//! - Without a usable answer the keys that are known stay in use for 24 hours after the last one, counted from the
//!   start of the process if there was none since; then deliveries are held. It is asked again once a minute.
//!
//! Relies on the [`Directory`] to keep what is known. Guarantees that nothing here admits a key which the owner wanted
//! to be asked about, and that however many sets are due at once, a few are fetched at a time, of one consumer still
//! fewer; that nobody can have us flood a host by giving one `jwks_uri` after the other; and that a failure takes as
//! long as the longest, whatever there is at a `jwks_uri`.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lru::LruCache;
use tokio::time::sleep;
use url::Url;
use waxseal_jwks::{FetchError, HttpGet, HttpResponse, JwkSet, SetLimits};
use waxseal_keys::{Clock, Timestamp};

use super::import::{carried_over, usable};
use super::{has_passed, lock};
use crate::directory::{ChangeError, Directory};
use crate::engine::hold::Hold;
use crate::host_limits::{HostLimits, Hosts};
use crate::known_late::known_late;
use crate::model::encryption_keys::{Admission, EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use crate::quota::Quota;

/// Every `jwks_uri` that was asked, with when and how that went.
#[derive(Debug)]
pub(super) struct Remotes {
    directory: Arc<Directory>,
    http: Arc<dyn HttpGet>,
    clock: Arc<dyn Clock>,
    fetches: Quota,
    known: Mutex<LruCache<KeyOwner, Arc<Remote>>>,
    /// When a host was last asked because of a receiver's answer. By host, not by owner: whoever registers many sets
    /// must not be able to turn answers of his receivers into a flood of requests to somebody else's host.
    refreshed: Mutex<LruCache<String, Timestamp>>,
    /// Who was asked for the first time, for whom.
    first_asked: Mutex<Hosts>,
    /// How long an answer without keys, or none, takes at least.
    failing_after: Duration,
}

#[derive(Debug)]
struct Remote {
    jwks_uri: Url,
    history: Mutex<History>,
    /// Held by whoever asks.
    flight: tokio::sync::Mutex<()>,
}

#[derive(Clone, Copy, Debug)]
struct History {
    asked: u64,
    asked_at: Option<Timestamp>,
    last_succeeded: bool,
    /// Whether the last usable answer had keys.
    brought_keys: bool,
    /// When the last usable answer came, or when this process first needed one.
    good_at: Timestamp,
    /// Not to be asked again before this; `None`: at once.
    due_at: Option<Timestamp>,
}

/// What an answer was like.
struct Fetched {
    fresh_for: Duration,
    has_keys: bool,
}

/// Why an answer was not used.
#[derive(Debug, thiserror::Error)]
enum RemoteError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl Remotes {
    pub(super) fn new(directory: Arc<Directory>, http: Arc<dyn HttpGet>, clock: Arc<dyn Clock>) -> Self {
        let (known, refreshed) = (LruCache::new(REMOTES_KEPT), LruCache::new(REMOTES_KEPT));
        let (known, refreshed) = (Mutex::new(known), Mutex::new(refreshed));
        let first_asked = Mutex::new(Hosts::new(FIRST_ASKED));
        let fetches = Quota::new(FETCHES, FETCHES_OF_ONE);
        Self { directory, http, clock, fetches, known, refreshed, first_asked, failing_after: TIMEOUT }
    }

    pub(super) fn failing_after(&mut self, at_least: Duration) {
        self.failing_after = at_least;
    }

    /// Sees to it that the directory has what the `jwks_uri` of `set` says, or something not too old.
    pub(super) async fn ensure_current(&self, set: &EncryptionKeySet) -> Result<(), Hold> {
        let KeySource::Uri { jwks_uri, .. } = &set.source else { return Ok(()) };
        let remote = self.of(&set.owner, jwks_uri);
        if self.is_due(set, &remote) {
            let may_ask = || self.is_due(set, &remote) && self.may_ask(set, jwks_uri, &remote);
            self.ask(&set.owner, &remote, may_ask).await;
        }
        let known = self.directory.key_set(&set.owner).is_some_and(|set| !set.keys.is_empty());
        let (history, now) = remote.history_now(self.clock.as_ref());
        let lasts = known && now.duration_since(history.good_at) < LONGEST_STALE;
        if history.last_succeeded || lasts { Ok(()) } else { Err(Hold::KeySetUnreachable) }
    }

    /// Asks although what is known is fresh, unless the host was asked for that reason within the last minute.
    pub(super) async fn refresh(&self, set: &EncryptionKeySet) {
        let KeySource::Uri { jwks_uri, .. } = &set.source else { return };
        let remote = self.of(&set.owner, jwks_uri);
        if self.may_refresh(jwks_uri) {
            self.ask(&set.owner, &remote, || true).await;
        } else {
            // An answer may be on its way to somebody else.
            drop(remote.flight.lock().await);
        }
    }

    fn of(&self, owner: &KeyOwner, jwks_uri: &Url) -> Arc<Remote> {
        let mut known = lock(&self.known);
        if let Some(remote) = known.get(owner)
            && remote.jwks_uri == *jwks_uri
        {
            return remote.clone();
        }
        let history = History {
            asked: 0,
            asked_at: None,
            last_succeeded: false,
            brought_keys: false,
            good_at: self.clock.now(),
            due_at: None,
        };
        let remote = Arc::new(Remote {
            jwks_uri: jwks_uri.clone(),
            history: Mutex::new(history),
            flight: tokio::sync::Mutex::new(()),
        });
        known.put(owner.clone(), remote.clone());
        remote
    }

    fn is_due(&self, set: &EncryptionKeySet, remote: &Remote) -> bool {
        let (history, now) = remote.history_now(self.clock.as_ref());
        history.is_due(set, now)
    }

    /// A source that has brought keys is asked when it is due, also by the next process; of those that have not, one
    /// consumer can name only so many within an hour.
    fn may_ask(&self, set: &EncryptionKeySet, jwks_uri: &Url, remote: &Remote) -> bool {
        if remote.history().asked > 0 || !set.keys.is_empty() {
            return true;
        }
        match lock(&self.first_asked).reserve(jwks_uri, set.owner.consumer(), self.clock.as_ref()) {
            Ok(()) => true,
            Err(later) => {
                lock(&remote.history).due_at = Some(later);
                tracing::warn!(owner = ?set.owner, "a new jwks_uri has to wait: its host is named too often");
                false
            }
        }
    }

    fn may_refresh(&self, jwks_uri: &Url) -> bool {
        let host = jwks_uri.host_str().unwrap_or_default();
        let mut refreshed = lock(&self.refreshed);
        // Under the lock: read before, it may be behind what another has noted meanwhile.
        let now = self.clock.now();
        let rested = refreshed.get(host).is_none_or(|at| has_passed(REFRESH_EVERY, *at, now));
        if rested {
            refreshed.put(host.to_owned(), now);
        }
        rested
    }

    /// Asks if it may, or waits for the answer that another caller has asked for meanwhile. However many callers there
    /// are, one of them finds out whether it may, and uses up what that costs.
    async fn ask(&self, owner: &KeyOwner, remote: &Remote, may_ask: impl FnOnce() -> bool) {
        let asked = remote.history().asked;
        let _flight = remote.flight.lock().await;
        if remote.history().asked != asked || !may_ask() {
            return;
        }
        let brought_none =
            |outcome: &Result<Fetched, _>| !outcome.as_ref().is_ok_and(|fetched| fetched.has_keys);
        let outcome = known_late(sleep(self.failing_after), self.fetch(owner, remote), brought_none).await;
        let now = self.clock.now();
        let mut history = lock(&remote.history);
        history.asked += 1;
        history.asked_at = Some(now);
        history.last_succeeded = outcome.is_ok();
        match outcome {
            Ok(Fetched { fresh_for, has_keys }) => {
                history.brought_keys = has_keys;
                history.good_at = now;
                history.due_at = Some(now.saturating_add(fresh_for));
            }
            Err(error) => {
                history.due_at = Some(now.saturating_add(SHORTEST_FRESH));
                tracing::warn!(?owner, code = error.code(), %error, "a consumer's key set could not be fetched");
            }
        }
    }

    /// Fetches and records.
    async fn fetch(&self, owner: &KeyOwner, remote: &Remote) -> Result<Fetched, RemoteError> {
        let limits = SetLimits::default();
        let _place = self.fetches.place(owner.consumer().as_str()).await;
        let response = self.http.get(&remote.jwks_uri, limits.bytes, TIMEOUT).await?;
        let fetched = usable(&parse(&response, &limits)?, self.clock.now());
        let has_keys = !fetched.is_empty();
        self.record(owner, &remote.jwks_uri, fetched).await?;
        let fresh_for = response.max_age.unwrap_or(DEFAULT_FRESH).clamp(SHORTEST_FRESH, LONGEST_FRESH);
        Ok(Fetched { fresh_for: if has_keys { fresh_for } else { SHORTEST_FRESH }, has_keys })
    }

    async fn record(&self, owner: &KeyOwner, from: &Url, fetched: Vec<KnownKey>) -> Result<(), ChangeError> {
        let now = self.clock.now();
        let changed = |set: &EncryptionKeySet| {
            let after = after(set, from, fetched.clone(), now)?;
            (after != set.keys).then_some(after)
        };
        // Most answers say what is known: nothing is written for them.
        if self.directory.key_set(owner).is_none_or(|set| changed(&set).is_none()) {
            return Ok(());
        }
        let recorded = self.directory.update_key_set(owner, |set| {
            if let Some(keys) = changed(set) {
                set.keys = keys;
            }
            Ok(())
        });
        recorded.await.map(drop)
    }
}

impl Remote {
    fn history(&self) -> History {
        *lock(&self.history)
    }

    /// The history as it can be believed: what a clock has dated that was set back since says nothing about now. The
    /// set is due then, and what is known lasts for another day at most. With it the time that it was judged by, which
    /// is read under the lock: read before, it may be behind what another has noted meanwhile.
    fn history_now(&self, clock: &dyn Clock) -> (History, Timestamp) {
        let mut history = lock(&self.history);
        let now = clock.now();
        if history.good_at > now {
            history.good_at = now;
        }
        if history.asked_at.is_some_and(|at| at > now) {
            history.due_at = None;
        }
        (*history, now)
    }
}

impl History {
    fn is_due(&self, set: &EncryptionKeySet, now: Timestamp) -> bool {
        // Somebody has removed what was found: the set was given anew.
        let emptied = self.brought_keys && set.keys.is_empty();
        emptied || self.due_at.is_none_or(|due_at| now >= due_at)
    }
}

impl RemoteError {
    fn code(&self) -> &'static str {
        match self {
            Self::Fetch(error) => error.code(),
            Self::Change(error) => error.code(),
        }
    }
}

/// The keys of `set` after this answer; `None` if the answer is of a source that `set` does not have any more.
fn after(
    set: &EncryptionKeySet,
    from: &Url,
    fetched: Vec<KnownKey>,
    now: Timestamp,
) -> Option<Vec<KnownKey>> {
    let KeySource::Uri { jwks_uri, admission } = &set.source else { return None };
    if jwks_uri != from {
        return None;
    }
    let mut keys = carried_over(&set.keys, fetched);
    match admission {
        Admission::Approve => {}
        Admission::Automatic => {
            for key in &mut keys {
                key.admitted_at = key.admitted_at.or(Some(now));
            }
        }
    }
    Some(keys)
}

fn parse(response: &HttpResponse, limits: &SetLimits) -> Result<JwkSet, FetchError> {
    if response.status != 200 {
        return Err(FetchError::Status { status: response.status });
    }
    let content_type = response.content_type.as_deref().unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if !matches!(essence.as_str(), "application/jwk-set+json" | "application/json") {
        return Err(FetchError::ContentType);
    }
    Ok(JwkSet::parse(&response.body, limits)?.set)
}

const REMOTES_KEPT: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
const TIMEOUT: Duration = Duration::from_secs(5);

/// Sets that are fetched at once. One change may make thousands of them due.
const FETCHES: usize = 16;
const FETCHES_OF_ONE: usize = 4;

/// An endpoint can have a set of its own, so a consumer may well give some at once.
const FIRST_ASKED: HostLimits =
    HostLimits { apart: Duration::ZERO, an_hour: 600, an_hour_for_consumer: 100, an_hour_everywhere: 200 };

/// Of an answer that does not say how long it is fresh.
const DEFAULT_FRESH: Duration = Duration::from_secs(10 * 60);
const SHORTEST_FRESH: Duration = Duration::from_secs(60);
const LONGEST_FRESH: Duration = Duration::from_secs(60 * 60);
const LONGEST_STALE: Duration = Duration::from_secs(24 * 60 * 60);
const REFRESH_EVERY: Duration = Duration::from_secs(60);
