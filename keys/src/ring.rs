//! [`KeyRing`]: one's own signing keys over time.
//!
//! ```text
//!  Pending ──► Active ──► Retiring ──► Retired        published: Pending, Active, Retiring
//!     └───────────┴───────────┴──────────┴──► Revoked  signs: Active alone
//! ```
//!
//! | state | NIST SP 800-57 part 1 | |
//! | --- | --- | --- |
//! | `Pending` | pre-activation | receivers can already know it |
//! | `Active` | active | signs |
//! | `Retiring` | deactivated | what it signed may still be on its way |
//! | `Retired` | destroyed | the private half is gone |
//! | `Revoked` | compromised | gone from the published set at once |
//!
//! Relies on nothing but the times it is given; reads no clock and no file. Guarantees, for any clock and
//! any order of calls, over any number of restarts through [`RingRecord`]:
//!
//! - a key signs only when every node has published it for [`RingPolicy::pending_for`], so that no receiver
//!   is surprised by it; except the very first, which no receiver can have been waiting for;
//! - a key stays published for [`RingPolicy::retiring_for`] after it stopped signing;
//! - after every [`KeyRing::roll`] a standby exists;
//! - a revoked key never signs and is never published again.
//!
//! **Clocks that go backwards.** The ring remembers the latest time that any changing call was given
//! (`seen`, part of the record) and reads every earlier time as that one. So a wait that was begun while
//! the clock was behind does not end early when the clock is put right, and no wait is ever shortened by
//! going back. The price: after a clock ran far ahead and was set back, nothing falls due until it has caught
//! up. The active key goes on signing meanwhile; [`KeyRing::clock_lag`] tells how far behind the clock is,
//! and a new ring is the remedy where that is too long.

#[cfg(feature = "josekit")]
mod certify;
mod import;
mod life;
mod record;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::alg::SignatureAlgorithm;
use crate::certificate::Certificate;
use crate::jwk::Jwk;
use crate::signing::SigningKey;
use crate::time::Timestamp;

pub use import::ImportError;
pub use life::{RevokeError, RingChange, RotateError};
pub use record::{RingRecord, RingRecordError};

/// How long keys stay in their states.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RingPolicy {
    /// How long every node must have published a key before it signs.
    pub pending_for: Duration,
    /// How long a key stays published after it stopped signing.
    pub retiring_for: Duration,
    /// How long a key signs before [`KeyRing::roll`] replaces it; `None`: until the operator does.
    pub rotate_every: Option<Duration>,
}

impl RingPolicy {
    /// The standard policy where the published set may be cached for `max_age`: pending for a day or twice
    /// that time, whichever is longer.
    pub fn for_max_age(max_age: Duration) -> Self {
        Self { pending_for: DAY.max(max_age.saturating_mul(2)), ..Self::default() }
    }

    /// How long a key is published if all goes as planned: it waits as the standby while the one before it signs,
    /// signs as long itself, and retires. Where the operator rotates, two years of each.
    pub fn planned_life(&self) -> Duration {
        let turn = self.rotate_every.unwrap_or(UNPLANNED_TURN).max(self.pending_for);
        turn.saturating_mul(2).saturating_add(self.retiring_for)
    }
}

impl Default for RingPolicy {
    /// A day of waiting on either side, and rotation by the operator.
    fn default() -> Self {
        Self { pending_for: DAY, retiring_for: DAY, rotate_every: None }
    }
}

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// Published, not yet used.
    Pending,
    /// Published, signs.
    Active,
    /// Published, no longer used.
    Retiring,
    /// Not published any more.
    Retired,
    /// Withdrawn at once.
    Revoked,
}

/// One key of a ring, with the dates of its life. `published_since` is when **every** node had it published.
#[derive(Clone, Debug)]
pub struct RingEntry {
    kid: String,
    alg: SignatureAlgorithm,
    state: KeyState,
    created: Timestamp,
    published_since: Option<Timestamp>,
    activated: Option<Timestamp>,
    left_active: Option<Timestamp>,
    retired: Option<Timestamp>,
    revoked: Option<Timestamp>,
    /// Present while the key is published.
    key: Option<SigningKey>,
    /// The key as a certificate, if one was made; gone with the key.
    certificate: Option<Certificate>,
}

impl RingEntry {
    /// The key's `kid`.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key's algorithm.
    pub fn alg(&self) -> SignatureAlgorithm {
        self.alg
    }

    /// The recorded state.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// When it was made.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// Since when every node publishes it.
    pub fn published_since(&self) -> Option<Timestamp> {
        self.published_since
    }

    /// When it began to sign.
    pub fn activated(&self) -> Option<Timestamp> {
        self.activated
    }

    /// When it stopped signing.
    pub fn left_active(&self) -> Option<Timestamp> {
        self.left_active
    }

    /// When it was taken out of the published set.
    pub fn retired(&self) -> Option<Timestamp> {
        self.retired
    }

    /// When it was revoked.
    pub fn revoked(&self) -> Option<Timestamp> {
        self.revoked
    }

    /// Its certificate, while it is published and if one was made.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Whether a Pending key may sign at `now` (a time no earlier than the ring's mark).
    fn is_ready(&self, policy: &RingPolicy, now: Timestamp) -> bool {
        self.state == KeyState::Pending
            && self.published_since.is_some_and(|since| now.duration_since(since) >= policy.pending_for)
    }

    /// Whether a Retiring key may be taken out of the published set at `now`.
    fn is_over(&self, policy: &RingPolicy, now: Timestamp) -> bool {
        self.state == KeyState::Retiring
            && self.left_active.is_some_and(|since| now.duration_since(since) >= policy.retiring_for)
    }
}

/// The signing keys of one issuer.
///
/// ```
/// use std::time::Duration;
/// use waxseal_keys::{KeyRing, PrivateJwk, RingPolicy, SigningKey, Timestamp};
///
/// let jwk = PrivateJwk::parse(br#"{"kty":"OKP","crv":"Ed25519",
///     "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
///     "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
/// let now = Timestamp::from_seconds(1_795_293_600);
/// let ring = KeyRing::new(RingPolicy::default(), SigningKey::from_jwk(&jwk)?, now);
/// assert_eq!(ring.active_at(now).map(SigningKey::kid), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
/// assert_eq!(ring.published_at(now).len(), 1);
/// # Ok::<(), waxseal_keys::JwkError>(())
/// ```
#[derive(Clone, Debug)]
pub struct KeyRing {
    policy: RingPolicy,
    /// In the order in which they were made.
    entries: Vec<RingEntry>,
    /// The latest time that a changing call was given: see the module's text.
    seen: Timestamp,
}

impl KeyRing {
    /// A ring of one key, which signs at once: no receiver can have been waiting for another.
    pub fn new(policy: RingPolicy, first: SigningKey, now: Timestamp) -> Self {
        let entry = RingEntry {
            state: KeyState::Active,
            published_since: Some(now),
            activated: Some(now),
            ..RingEntry::pending(first, now)
        };
        Self { policy, entries: vec![entry], seen: now }
    }

    /// The key that signs at `now`. `None`: the active key was revoked and no standby is ready, so whatever
    /// is to be signed must wait.
    pub fn active_at(&self, now: Timestamp) -> Option<&SigningKey> {
        let now = self.not_before_seen(now);
        let active = self.entries.iter().find(|entry| entry.state == KeyState::Active);
        active.or_else(|| self.ready_standby(now)).and_then(|entry| entry.key.as_ref())
    }

    /// The public keys to publish at `now`, oldest first.
    pub fn published_at(&self, now: Timestamp) -> Vec<Jwk> {
        let now = self.not_before_seen(now);
        let published = self.entries.iter().filter(|entry| !entry.is_over(&self.policy, now));
        published.filter_map(|entry| entry.key.as_ref()).map(SigningKey::public_jwk).collect()
    }

    /// The certificate of a key that is published at `now`.
    pub fn certificate_at(&self, kid: &str, now: Timestamp) -> Option<&Certificate> {
        let now = self.not_before_seen(now);
        let entry = self.entries.iter().find(|entry| entry.kid == kid)?;
        if entry.is_over(&self.policy, now) { None } else { entry.certificate() }
    }

    /// Every key that the ring remembers, oldest first.
    pub fn entries(&self) -> &[RingEntry] {
        &self.entries
    }

    /// The policy.
    pub fn policy(&self) -> &RingPolicy {
        &self.policy
    }

    /// When [`KeyRing::roll`] will next have something to do: a time in the past if it has already; `None`
    /// while nothing will change by itself.
    pub fn next_change_at(&self) -> Option<Timestamp> {
        let mut due: Vec<Timestamp> = self
            .entries
            .iter()
            .filter(|entry| entry.state == KeyState::Retiring)
            .filter_map(|entry| Some(entry.left_active?.saturating_add(self.policy.retiring_for)))
            .collect();
        match self.standby() {
            None => due.push(self.seen),
            Some(standby) => due.extend(self.standby_due_at(standby)),
        }
        due.into_iter().min()
    }

    /// How far `now` is behind the latest time that the ring has seen; zero for a clock in order. Worth a
    /// warning: nothing falls due before the clock has caught up.
    pub fn clock_lag(&self, now: Timestamp) -> Duration {
        self.seen.duration_since(now)
    }

    /// When roll will activate the standby: as soon as it is ready if nothing signs, else when the
    /// active key has signed for long enough.
    fn standby_due_at(&self, standby: &RingEntry) -> Option<Timestamp> {
        let ready_at = self.ready_at(standby)?;
        let Some(active) = self.entries.iter().find(|entry| entry.state == KeyState::Active) else {
            return Some(ready_at);
        };
        Some(active.activated?.saturating_add(self.policy.rotate_every?).max(ready_at))
    }

    fn ready_at(&self, standby: &RingEntry) -> Option<Timestamp> {
        Some(standby.published_since?.saturating_add(self.policy.pending_for))
    }

    /// The Pending key that is next, ready or not.
    fn standby(&self) -> Option<&RingEntry> {
        let pending = || self.entries.iter().filter(|entry| entry.state == KeyState::Pending);
        let longest_published = pending().filter(|entry| entry.published_since.is_some());
        longest_published.min_by_key(|entry| entry.published_since).or_else(|| pending().next())
    }

    fn ready_standby(&self, now: Timestamp) -> Option<&RingEntry> {
        self.standby().filter(|entry| entry.is_ready(&self.policy, now))
    }

    fn not_before_seen(&self, now: Timestamp) -> Timestamp {
        now.max(self.seen)
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What is assumed where nobody has planned anything.
const UNPLANNED_TURN: Duration = Duration::from_secs(2 * 365 * 24 * 60 * 60);
