//! Which of a consumer's keys a token is sealed to.
//!
//! An endpoint's own set, where there is one, is the only one used for it; else its consumer's. Of a set the admitted
//! key that was first seen most recently is used, ties in document order: who rotates adds a key, and the newest is
//! the one to use. A receiver that answers `invalid_key` gets the next admitted key, once.
//!
//! Relies on the [`Directory`] for the sets, on the guarded client for a `jwks_uri`, and on `remote` for how old a
//! fetched set may be. Guarantees that a key is never used before it is admitted, nor once it has expired (`exp`) or
//! vanished from the set, whatever the receiver answers; and that where no key can be used the answer is a [`Hold`], never plaintext.

pub mod import;
mod remote;

use std::cmp::Reverse;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;
use waxseal_jwks::HttpGet;
use waxseal_keys::{Clock, EncryptionKey, Jwk, Timestamp};

use self::remote::Remotes;
use crate::directory::Directory;
use crate::engine::hold::Hold;
use crate::id::EndpointId;
use crate::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use crate::model::endpoint::Endpoint;

/// Chooses keys, and keeps them parsed.
#[derive(Debug)]
pub struct ConsumerKeys {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    remotes: Remotes,
    choices: Mutex<LruCache<EndpointId, Choice>>,
    /// By the JWK's text: many endpoints share a set, and parsing a key costs more than sealing to it.
    parsed: Mutex<LruCache<String, Arc<EncryptionKey>>>,
}

/// The keys that may be used for an endpoint, and the one that is.
#[derive(Clone, Debug)]
struct Choice {
    /// What it was made from; another one makes another choice.
    set: Arc<EncryptionKeySet>,
    /// Best first, never empty.
    candidates: Arc<[Arc<EncryptionKey>]>,
    /// When the first of them expires, if one does: then it is chosen anew.
    lasts_until: Option<Timestamp>,
    index: usize,
    /// When a receiver's answer last moved it away from a key.
    moved_at: Option<Timestamp>,
}

impl ConsumerKeys {
    /// Chooses from the sets of `directory`; fetches through `http`, which must be the guarded client.
    pub fn new(directory: Arc<Directory>, http: Arc<dyn HttpGet>, clock: Arc<dyn Clock>) -> Self {
        let remotes = Remotes::new(directory.clone(), http, clock.clone());
        Self {
            directory,
            clock,
            remotes,
            choices: Mutex::new(LruCache::new(CHOICES_KEPT)),
            parsed: Mutex::new(LruCache::new(KEYS_KEPT)),
        }
    }

    /// With questions that fail taking so long at least; as it comes, as long as one that is not answered. Less lets
    /// whoever names a `jwks_uri` read off whether anything is there.
    #[must_use]
    pub fn failing_after(mut self, at_least: Duration) -> Self {
        self.remotes.failing_after(at_least);
        self
    }

    /// The key to seal to for `endpoint`. Waits only where a `jwks_uri` has to be asked.
    ///
    /// # Errors
    /// [`Hold`], if there is no key that may be used.
    pub async fn key_for(&self, endpoint: &Endpoint) -> Result<Arc<EncryptionKey>, Hold> {
        let mut set = self.directory.key_set_for(endpoint).ok_or(Hold::NoKeySet)?;
        if let KeySource::Uri { .. } = set.source {
            self.remotes.ensure_current(&set).await?;
            set = self.directory.key_set_for(endpoint).ok_or(Hold::NoKeySet)?;
        }
        if let Some(key) = self.chosen(endpoint, &set) {
            return Ok(key);
        }
        let choice = self.choose(set, self.clock.now())?;
        let key = choice.key();
        lock(&self.choices).put(endpoint.id, choice);
        Ok(key)
    }

    /// Fetches an owner's `jwks_uri` unless that was done a moment ago, so that keys that wait for their admission are
    /// known before the first delivery needs one. A failure shows at that delivery, as its hold.
    pub async fn look_up(&self, owner: &KeyOwner) {
        if let Some(set) = self.directory.key_set(owner)
            && let Err(hold) = self.remotes.ensure_current(&set).await
        {
            tracing::info!(consumer = %owner.consumer(), hold = hold.code(), "a new jwks_uri has no usable key");
        }
    }

    /// To be asked when a receiver of `endpoint` could not open what was sealed to the key `used_kid`: looks the set up
    /// again, at most once a minute for each host. `true`: [`Self::key_for`] now has another key, and the token may be
    /// sealed to it and posted at once, once.
    pub async fn refresh_after_invalid_key(&self, endpoint: &Endpoint, used_kid: &str) -> bool {
        let Ok(before) = self.key_for(endpoint).await else { return false };
        if before.kid() != used_kid {
            return true;
        }
        if let Some(set) = self.directory.key_set_for(endpoint) {
            self.remotes.refresh(&set).await;
        }
        match self.key_for(endpoint).await {
            Err(_) => false,
            Ok(after) if after.jwk() != before.jwk() => true,
            Ok(_) => {
                let mut choices = lock(&self.choices);
                let now = self.clock.now(); // under the lock, see `has_passed`
                choices.get_mut(&endpoint.id).is_some_and(|choice| choice.move_on(now))
            }
        }
    }

    /// What was chosen of `set` before, as long as it may be used.
    fn chosen(&self, endpoint: &Endpoint, set: &Arc<EncryptionKeySet>) -> Option<Arc<EncryptionKey>> {
        let mut choices = lock(&self.choices);
        let now = self.clock.now(); // under the lock, see `has_passed`
        let choice = choices.get_mut(&endpoint.id).filter(|choice| Arc::ptr_eq(&choice.set, set))?;
        if choice.lasts_until.is_some_and(|end| now >= end) {
            return None;
        }
        choice.return_after_detour(now);
        Some(choice.key())
    }

    fn choose(&self, set: Arc<EncryptionKeySet>, now: Timestamp) -> Result<Choice, Hold> {
        // What its owner says it has put away is not there.
        let lasting: Vec<&KnownKey> =
            set.keys.iter().filter(|key| key.expires_at().is_none_or(|end| now < end)).collect();
        let mut admitted: Vec<&KnownKey> =
            lasting.iter().filter(|key| key.admitted_at.is_some()).copied().collect();
        let lasts_until = admitted.iter().filter_map(|key| key.expires_at()).min();
        // Stable: keys first seen together stay in document order.
        admitted.sort_by_key(|key| Reverse(key.first_seen));
        let candidates: Vec<_> = admitted.into_iter().filter_map(|key| self.parse(key)).collect();
        if !candidates.is_empty() {
            let candidates = candidates.into();
            return Ok(Choice { set, candidates, lasts_until, index: 0, moved_at: None });
        }
        let waiting = lasting.iter().any(|key| key.admitted_at.is_none());
        Err(if waiting { Hold::KeyNotAdmitted } else { Hold::NoUsableKey })
    }

    fn parse(&self, known: &KnownKey) -> Option<Arc<EncryptionKey>> {
        let text = known.jwk.to_string();
        if let Some(key) = lock(&self.parsed).get(&text) {
            return Some(key.clone());
        }
        let key = Jwk::from_value(&known.jwk).and_then(|jwk| EncryptionKey::from_jwk(&jwk)).ok()?;
        let key = Arc::new(key);
        lock(&self.parsed).put(text, key.clone());
        Some(key)
    }
}

impl Choice {
    fn key(&self) -> Arc<EncryptionKey> {
        self.candidates[self.index].clone()
    }

    /// Goes on to the next candidate, after the last one to the first; not again within a minute, so that a receiver
    /// that refuses every key gets no more than it would otherwise.
    fn move_on(&mut self, now: Timestamp) -> bool {
        let rested = self.moved_at.is_none_or(|at| has_passed(MOVE_EVERY, at, now));
        if self.candidates.len() < 2 || !rested {
            return false;
        }
        self.index = (self.index + 1) % self.candidates.len();
        self.moved_at = Some(now);
        true
    }

    /// The rule is the newest key. Another one is used for as long as the consumer may need to put that right.
    fn return_after_detour(&mut self, now: Timestamp) {
        if self.index != 0 && self.moved_at.is_none_or(|at| has_passed(DETOUR, at, now)) {
            self.index = 0;
        }
    }
}

/// Whether so much time has gone by. It has, too, if `since` is yet to come: the clock was set back, and what it dated
/// before must not make us wait until it is where it was. `now` is to be read under the lock that `since` is kept under:
/// read before, it may be behind what another has noted meanwhile, which looks the same.
fn has_passed(pause: Duration, since: Timestamp, now: Timestamp) -> bool {
    since > now || now.duration_since(since) >= pause
}

/// Nothing that holds one of these locks leaves its content half-written.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CHOICES_KEPT: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");
const KEYS_KEPT: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
const MOVE_EVERY: Duration = Duration::from_secs(60);
const DETOUR: Duration = Duration::from_secs(60 * 60);
