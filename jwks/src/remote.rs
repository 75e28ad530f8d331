//! [`RemoteJwks`]: the set behind a URL, cached, fetched by one task at a time.
//!
//! States: what is loaded and how old it is ([`History`]), and whether a fetch is in flight. All of it is
//! behind one mutex that is never held across an `.await`. The fetch is a task of its own, so a caller
//! that goes away neither cancels nor repeats it; callers wait for the task to drop its end of a channel,
//! which also happens when it panics or the runtime stops. Then they look once more and take what is there:
//! no caller starts a second fetch for the same question.
//!
//! Relies on [`HttpGet`] for the network and on `Clock` for the time. Guarantees: the set is replaced
//! whole, never merged; no fetch begins within the cooldown of the one before; nothing is used beyond
//! [`MAX_CACHED`](crate::freshness::MAX_CACHED).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use url::Url;
use waxseal_keys::{Clock, Timestamp, VerifyingKey};

use crate::{
    FetchError, HttpGet, HttpResponse, JwkSet, JwksError, SetLimits,
    freshness::{Freshness, History, RemotePolicy},
    is_secure_url,
};

/// A JWK Set that somebody else publishes at a URL. Cheap to clone; clones share the cache.
#[derive(Clone)]
pub struct RemoteJwks {
    shared: Arc<Shared>,
}

impl RemoteJwks {
    /// The set at `url`; nothing is fetched yet. Ages in `policy` beyond
    /// [`MAX_CACHED`](crate::freshness::MAX_CACHED) are cut to it.
    pub fn new(url: Url, http: Arc<dyn HttpGet>, clock: Arc<dyn Clock>, policy: RemotePolicy) -> Self {
        let state = Mutex::new(State::default());
        Self { shared: Arc::new(Shared { url, http, clock, policy: policy.capped(), state }) }
    }

    /// The key for checking signatures that answers to `kid`.
    ///
    /// An unknown `kid` causes a fetch if the last one is longer ago than the cooldown. Must be called
    /// within a tokio runtime.
    pub async fn verifying_key(&self, kid: &str) -> Result<Arc<VerifyingKey>, JwksError> {
        self.look_up(|loaded| loaded.verifying.get(kid).cloned()).await
    }

    /// The whole set, fetched first if what is cached is too old. Must be called within a tokio runtime.
    pub async fn set(&self) -> Result<Arc<JwkSet>, JwksError> {
        self.look_up(|loaded| Some(Arc::clone(&loaded.set))).await
    }

    /// Fetches the set although the cached one may be fresh, unless the last fetch is too recent. Joins a
    /// fetch that is in flight. Must be called within a tokio runtime.
    pub async fn refresh(&self) -> Result<Arc<JwkSet>, JwksError> {
        let mut landed = self.join_or_launch(&mut self.shared.lock())?;
        // An error means that the task dropped its end: this is how it says that it is done.
        let _ = landed.changed().await;
        let state = self.shared.lock();
        match &state.loaded {
            Some(loaded) if state.history.last_attempt_succeeded() => Ok(Arc::clone(&loaded.set)),
            _ => Err(JwksError::Unavailable { retry_after: self.shared.retry_after(&state) }),
        }
    }

    /// Why the last fetch failed; `None` if it succeeded or there was none.
    pub fn last_error(&self) -> Option<Arc<FetchError>> {
        self.shared.lock().last_error.clone()
    }

    /// Takes what `pick` finds in the cached set; else waits for a fetch, if there may be one, and looks again.
    async fn look_up<T>(&self, pick: impl Fn(&Loaded) -> Option<T>) -> Result<T, JwksError> {
        let mut landed = {
            // Under one lock: a fetch that landed in between would be overlooked, and hold off the next one.
            let mut state = self.shared.lock();
            if let Some(found) = self.shared.usable(&state, &pick) {
                return Ok(found);
            }
            self.join_or_launch(&mut state)?
        };
        let _ = landed.changed().await;
        let state = self.shared.lock();
        if state.history.last_attempt_succeeded() {
            return state.loaded.as_ref().and_then(pick).ok_or(JwksError::UnknownKey);
        }
        let unavailable = JwksError::Unavailable { retry_after: self.shared.retry_after(&state) };
        self.shared.usable(&state, pick).ok_or(unavailable)
    }

    fn join_or_launch(&self, state: &mut State) -> Result<watch::Receiver<()>, JwksError> {
        if let Some(flight) = state.flight() {
            return Ok(flight);
        }
        let now = self.shared.clock.now();
        if let Some(retry_after) = state.history.held_off(now, &self.shared.policy) {
            return Err(match state.history.at(now, &self.shared.policy) {
                Freshness::Fresh | Freshness::StaleUsable => JwksError::CoolingDown { retry_after },
                Freshness::CoolingDown { .. } | Freshness::MustFetch => {
                    JwksError::Unavailable { retry_after }
                }
            });
        }
        state.history.attempt(now);
        let (landing, landed) = watch::channel(());
        state.flight = Some(landed.clone());
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            // Dropped last, on every way out: waiters must find the new state.
            let _landing = landing;
            let outcome = shared.load().await;
            shared.store(outcome, now);
        });
        Ok(landed)
    }
}

impl fmt::Debug for RemoteJwks {
    /// The host only: path and query of a URL may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJwks")
            .field("host", &self.shared.url.host_str())
            .field("policy", &self.shared.policy)
            .finish_non_exhaustive()
    }
}

struct Shared {
    url: Url,
    http: Arc<dyn HttpGet>,
    clock: Arc<dyn Clock>,
    policy: RemotePolicy,
    state: Mutex<State>,
}

impl Shared {
    /// Nothing that holds the lock leaves the state half-written, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What `pick` finds, if the cached set may be used now without fetching.
    fn usable<T>(&self, state: &State, pick: impl Fn(&Loaded) -> Option<T>) -> Option<T> {
        match state.history.at(self.clock.now(), &self.policy) {
            Freshness::Fresh | Freshness::StaleUsable => state.loaded.as_ref().and_then(pick),
            Freshness::CoolingDown { .. } | Freshness::MustFetch => None,
        }
    }

    fn retry_after(&self, state: &State) -> Duration {
        state.history.held_off(self.clock.now(), &self.policy).unwrap_or_default()
    }

    async fn load(&self) -> Result<(Loaded, Option<Duration>), FetchError> {
        if !is_secure_url(&self.url) {
            return Err(FetchError::InsecureUrl);
        }
        let limits = SetLimits::default();
        let exchange = self.http.get(&self.url, limits.bytes, self.policy.timeout);
        let response =
            tokio::time::timeout(self.policy.timeout, exchange).await.map_err(|_| FetchError::Timeout)??;
        let max_age = response.max_age;
        Ok((Loaded::from_response(&response, &limits)?, max_age))
    }

    fn store(&self, outcome: Result<(Loaded, Option<Duration>), FetchError>, began: Timestamp) {
        let mut state = self.lock();
        match outcome {
            Ok((loaded, max_age)) => {
                state.history.success(began, max_age);
                state.loaded = Some(loaded);
                state.last_error = None;
            }
            Err(error) => {
                tracing::warn!(
                    code = error.code(),
                    host = self.url.host_str(),
                    "JWK Set not fetched: {error}"
                );
                state.last_error = Some(Arc::new(error));
            }
        }
    }
}

#[derive(Default)]
struct State {
    loaded: Option<Loaded>,
    history: History,
    flight: Option<watch::Receiver<()>>,
    last_error: Option<Arc<FetchError>>,
}

impl State {
    /// The fetch in flight: its task still holds the other end.
    fn flight(&self) -> Option<watch::Receiver<()>> {
        self.flight.as_ref().filter(|landed| landed.has_changed().is_ok()).cloned()
    }
}

struct Loaded {
    set: Arc<JwkSet>,
    verifying: HashMap<String, Arc<VerifyingKey>>,
}

impl Loaded {
    fn from_response(response: &HttpResponse, limits: &SetLimits) -> Result<Self, FetchError> {
        if response.status != 200 {
            return Err(FetchError::Status { status: response.status });
        }
        if !response.content_type.as_deref().is_some_and(is_accepted) {
            return Err(FetchError::ContentType);
        }
        let parsed = JwkSet::parse(&response.body, limits)?;
        for (index, reason) in &parsed.ignored {
            tracing::debug!(index, code = reason.code(), "key of a fetched JWK Set ignored: {reason}");
        }
        // Keys for encryption are part of the set, but verify nothing.
        let verifying = parsed.set.keys().iter().filter_map(|jwk| VerifyingKey::from_jwk(jwk).ok());
        let verifying = verifying.map(|key| (key.kid().to_owned(), Arc::new(key))).collect();
        Ok(Self { set: Arc::new(parsed.set), verifying })
    }
}

/// The media type of RFC 7517 §8.5.1, or plain JSON; parameters do not matter.
fn is_accepted(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    ["application/jwk-set+json", "application/json"]
        .iter()
        .any(|accepted| essence.eq_ignore_ascii_case(accepted))
}
