//! What changes a ring: time, the operator, and the news that every node publishes a key.

use crate::ring::{KeyRing, KeyState, RingEntry};
use crate::signing::SigningKey;
use crate::time::Timestamp;

/// A key has come into a state.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct RingChange {
    /// Which key.
    pub kid: String,
    /// The state it is in now.
    pub state: KeyState,
}

/// Why the operator's rotation was refused. All keys are as they were.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RotateError {
    /// No standby has been published for long enough.
    #[error("no standby key is ready to sign yet")]
    NotReady {
        /// When it will be; `None` while not every node publishes it.
        ready_at: Option<Timestamp>,
    },
    /// The ring has no such key.
    #[error("there is no signing key with this kid")]
    UnknownKey,
    /// The key that was named does not stand by.
    #[error("this signing key is not one that stands by")]
    NotPending {
        /// Where it is instead.
        state: KeyState,
    },
}

/// Why a revocation was refused. All keys are as they were.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The ring has no such key.
    #[error("there is no signing key with this kid")]
    UnknownKey,
}

impl RotateError {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotReady { .. } => "ring.not_ready",
            Self::UnknownKey => "ring.unknown_key",
            Self::NotPending { .. } => "ring.not_pending",
        }
    }
}

impl RevokeError {
    /// A stable code for logs and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownKey => "ring.unknown_key",
        }
    }
}

impl KeyRing {
    /// Does what is due at `now`: retires, activates, rotates, and makes a standby where there is none. To
    /// be called often; [`KeyRing::next_change_at`] says when it has something to do. If `generate` fails
    /// the ring is as it was. A key that the ring knows already is not taken again.
    ///
    /// After it, persist the ring, publish, and report each new standby with [`KeyRing::mark_published`]
    /// once every node publishes it.
    pub fn roll<E>(
        &mut self,
        now: Timestamp,
        generate: &mut dyn FnMut() -> Result<SigningKey, E>,
    ) -> Result<Vec<RingChange>, E> {
        let mut next = self.clone();
        let now = next.see(now);
        let mut changes = next.retire(now);
        if next.active_index().is_none() || next.active_is_due(now) {
            changes.extend(next.activate_standby(now).unwrap_or_default());
        }
        if next.standby().is_none() {
            let key = generate()?;
            if next.entries.iter().all(|entry| entry.kid != key.kid()) {
                changes.push(RingChange { kid: key.kid().to_owned(), state: KeyState::Pending });
                next.entries.push(RingEntry::pending(key, now));
            }
        }
        next.forget_oldest();
        *self = next;
        Ok(changes)
    }

    /// Makes the standby sign now, at the operator's wish. Call [`KeyRing::roll`] afterwards: it makes the
    /// next standby.
    pub fn rotate(&mut self, now: Timestamp) -> Result<Vec<RingChange>, RotateError> {
        let now = self.see(now);
        self.activate_standby(now).ok_or_else(|| RotateError::NotReady {
            ready_at: self.standby().and_then(|standby| self.ready_at(standby)),
        })
    }

    /// As [`KeyRing::rotate`], for one of several keys that stand by.
    pub fn rotate_to(&mut self, kid: &str, now: Timestamp) -> Result<Vec<RingChange>, RotateError> {
        let now = self.see(now);
        let entry = self.entries.iter().find(|entry| entry.kid == kid).ok_or(RotateError::UnknownKey)?;
        if entry.state != KeyState::Pending {
            return Err(RotateError::NotPending { state: entry.state });
        }
        if !entry.is_ready(&self.policy, now) {
            return Err(RotateError::NotReady { ready_at: self.ready_at(entry) });
        }
        Ok(self.activate(kid, now))
    }

    /// Withdraws a key at once, whatever its state. If it was the one that signs, a ready standby takes
    /// over; with none ready nothing signs until one is. Revoking a revoked key changes nothing.
    pub fn revoke(&mut self, kid: &str, now: Timestamp) -> Result<Vec<RingChange>, RevokeError> {
        let now = self.see(now);
        let entry = self.entries.iter_mut().find(|entry| entry.kid == kid).ok_or(RevokeError::UnknownKey)?;
        if entry.state == KeyState::Revoked {
            return Ok(Vec::new());
        }
        if entry.state == KeyState::Active {
            entry.left_active = Some(now);
        }
        entry.revoked = Some(now);
        let mut changes = vec![entry.enter(KeyState::Revoked)];
        if self.active_index().is_none() {
            changes.extend(self.activate_standby(now).unwrap_or_default());
        }
        Ok(changes)
    }

    /// Notes that from `at` on **every** node publishes the key: its waiting begins. The first report of a
    /// Pending key counts; others change nothing. Tells whether this one did.
    pub fn mark_published(&mut self, kid: &str, at: Timestamp) -> bool {
        let at = self.see(at);
        let waiting = |entry: &&mut RingEntry| {
            entry.kid == kid && entry.state == KeyState::Pending && entry.published_since.is_none()
        };
        let entry = self.entries.iter_mut().find(waiting);
        entry.map(|entry| entry.published_since = Some(at)).is_some()
    }

    /// Raises the mark, and reads an earlier time as the mark.
    pub(super) fn see(&mut self, now: Timestamp) -> Timestamp {
        self.seen = self.not_before_seen(now);
        self.seen
    }

    fn active_index(&self) -> Option<usize> {
        self.entries.iter().position(|entry| entry.state == KeyState::Active)
    }

    fn active_is_due(&self, now: Timestamp) -> bool {
        let activated = self.active_index().and_then(|active| self.entries[active].activated);
        activated
            .zip(self.policy.rotate_every)
            .is_some_and(|(since, every)| now.duration_since(since) >= every)
    }

    fn retire(&mut self, now: Timestamp) -> Vec<RingChange> {
        let policy = self.policy;
        let over = self.entries.iter_mut().filter(|entry| entry.is_over(&policy, now));
        over.map(|entry| {
            entry.retired = Some(now);
            entry.enter(KeyState::Retired)
        })
        .collect()
    }

    /// Lets a ready standby take over; `None`, and nothing changed, if there is none.
    fn activate_standby(&mut self, now: Timestamp) -> Option<Vec<RingChange>> {
        let kid = self.ready_standby(now)?.kid.clone();
        Some(self.activate(&kid, now))
    }

    /// Lets a Pending key sign from now on, in place of the one that does.
    fn activate(&mut self, kid: &str, now: Timestamp) -> Vec<RingChange> {
        let mut changes = Vec::new();
        if let Some(active) = self.active_index() {
            let entry = &mut self.entries[active];
            entry.left_active = Some(now);
            changes.push(entry.enter(KeyState::Retiring));
        }
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.kid == kid) {
            entry.activated = Some(now);
            changes.push(entry.enter(KeyState::Active));
        }
        changes
    }

    /// Keeps the history of the last keys, so that a record does not grow for ever. Revoked ones stay: whoever has one
    /// may bring it back.
    fn forget_oldest(&mut self) {
        let ended = |entry: &RingEntry| entry.key.is_none() && entry.state != KeyState::Revoked;
        let mut surplus =
            self.entries.iter().filter(|entry| ended(entry)).count().saturating_sub(MAX_HISTORY);
        self.entries.retain(|entry| {
            let forget = surplus > 0 && ended(entry);
            surplus -= usize::from(forget);
            !forget
        });
    }
}

impl RingEntry {
    pub(super) fn pending(key: SigningKey, now: Timestamp) -> Self {
        Self {
            kid: key.kid().to_owned(),
            alg: key.alg(),
            state: KeyState::Pending,
            created: now,
            published_since: None,
            activated: None,
            left_active: None,
            retired: None,
            revoked: None,
            key: Some(key),
            certificate: None,
        }
    }

    /// Changes the state; with the end of publication the private half goes.
    fn enter(&mut self, state: KeyState) -> RingChange {
        self.state = state;
        if matches!(state, KeyState::Retired | KeyState::Revoked) {
            self.key = None;
            self.certificate = None;
        }
        RingChange { kid: self.kid.clone(), state }
    }
}

/// How many ended keys a ring remembers.
const MAX_HISTORY: usize = 64;
