//! The sender's signing keys: a [`KeyRing`] that is kept in the store and published.
//!
//! Relies on the ring for the order of states and on [`KeyRecords::save_ring`] being compare-and-set. Guarantees that
//! a change of the ring is on disk before it is seen, that only one of two changes made at once is kept and the other
//! made again on top of it, that a standby's waiting begins only once it is both on disk and published, and that who made
//! a change is on record with it. The ring is encrypted under the key-encryption key.
//!
//! A planned rotation needs nobody: [`SigningKeys::maintain`] does what is due. What was due while no process ran is done at
//! the next start.
//!
//! Where one process has the store to itself, "every node publishes it" is when this one does; where several use it, see
//! [`sharing`].

mod certificate;
pub mod import;
mod kept;
pub mod sharing;

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};
use waxseal_keys::{
    Clock, GenerateError, ImportError, KeyRing, KeyState, RevokeError, RingChange, RingEntry, RingPolicy,
    RingRecordError, RotateError, SignatureAlgorithm, SigningKey, Timestamp, VaultError,
    generate_signing_key,
};

pub use self::certificate::{Certification, X5c};
pub(crate) use self::kept::CONTEXT;
use self::kept::{Kept, create, entries_of, load, save};
use self::sharing::{Passing, Sharing};
use crate::audit::Recorder;
use crate::data_keys::DataKeys;
use crate::store::{Cluster, KeyRecords, StoreError};

/// The signing keys of this sender.
#[derive(Debug)]
pub struct SigningKeys {
    store: Arc<dyn KeyRecords>,
    data_keys: Arc<DataKeys>,
    policy: RingPolicy,
    alg: SignatureAlgorithm,
    clock: Arc<dyn Clock>,
    certification: OnceLock<Certification>,
    /// Where several nodes use the store.
    sharing: Option<Sharing>,
    recorder: Recorder,
    /// What is on disk, as far as we know. Readers take the lock for the length of a clone.
    kept: RwLock<Arc<Kept>>,
    /// Held by whoever changes the ring.
    changing: Mutex<()>,
    /// Counts the changes of the key that signs.
    active_changes: watch::Sender<u64>,
    changed: Notify,
}

/// Why the signing keys were not opened or not changed. Nothing of the change was kept, unless the store says that it
/// does not know.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningKeysError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The record does not open under the key-encryption key that was given.
    #[error("the signing keys in the store do not open with this key-encryption key")]
    Sealed(#[source] VaultError),
    /// The record is not a ring.
    #[error(transparent)]
    Record(#[from] RingRecordError),
    /// No key could be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// There is no standby that may sign.
    #[error(transparent)]
    Rotate(#[from] RotateError),
    /// There is no such key.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// The key cannot be taken in.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Others kept changing the ring.
    #[error("the signing keys are being changed by others; try again")]
    Contended,
    /// The process is ending.
    #[error("interrupted")]
    Interrupted,
}

impl SigningKeysError {
    /// A stable code for logs and problem details.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::Sealed(error) => error.code(),
            Self::Record(error) => error.code(),
            Self::Generate(error) => error.code(),
            Self::Rotate(error) => error.code(),
            Self::Revoke(error) => error.code(),
            Self::Import(error) => error.code(),
            Self::Contended => "signing_keys.contended",
            Self::Interrupted => "signing_keys.interrupted",
        }
    }
}

impl SigningKeys {
    /// Opens the ring in the store; makes one, whose first key signs at once, if there is none. `alg` is of keys that
    /// are made from now on.
    ///
    /// # Errors
    /// If the store fails, or the ring does not open.
    pub async fn open(
        store: Arc<dyn KeyRecords>,
        data_keys: Arc<DataKeys>,
        policy: RingPolicy,
        alg: SignatureAlgorithm,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, SigningKeysError> {
        Self::open_among(store, data_keys, policy, alg, clock, None).await
    }

    /// As [`Self::open`], where several nodes may use the store: with what tells how much time passes.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub async fn open_among(
        store: Arc<dyn KeyRecords>,
        data_keys: Arc<DataKeys>,
        policy: RingPolicy,
        alg: SignatureAlgorithm,
        clock: Arc<dyn Clock>,
        others: Option<(Arc<dyn Cluster>, Arc<dyn Passing>)>,
    ) -> Result<Arc<Self>, SigningKeysError> {
        let sharing = others.map(|(cluster, passing)| Sharing::new(cluster, passing));
        let recorder = Recorder::new(Arc::clone(&data_keys), Arc::clone(&clock));
        let kept = match load(store.as_ref(), &data_keys, policy, clock.now()).await? {
            Some(kept) => kept,
            None => create(store.as_ref(), &data_keys, policy, alg, &recorder, clock.now()).await?,
        };
        let keys = Arc::new(Self {
            store,
            data_keys,
            policy,
            alg,
            clock,
            certification: OnceLock::new(),
            sharing,
            recorder,
            kept: RwLock::new(Arc::new(kept)),
            changing: Mutex::new(()),
            active_changes: watch::Sender::new(0),
            changed: Notify::new(),
        });
        keys.note(&keys.kept().ring);
        keys.advance().await?;
        Ok(keys)
    }

    /// The key that signs now. `None`: it was revoked and no standby is ready, or what other nodes have made of the ring
    /// is not known.
    pub fn active(&self) -> Option<SigningKey> {
        if !self.are_trusted() {
            return None;
        }
        self.kept().ring.active_at(self.clock.now()).cloned()
    }

    /// Every key that is remembered, oldest first.
    pub fn entries(&self) -> Vec<RingEntry> {
        self.kept().ring.entries().to_vec()
    }

    /// Counts up whenever another key, or none, is the one that signs.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.active_changes.subscribe()
    }

    /// Lets the standby sign from now on.
    ///
    /// # Errors
    /// [`SigningKeysError::Rotate`] if no standby has been published for long enough.
    pub async fn rotate(&self) -> Result<(), SigningKeysError> {
        self.change(|ring, now| Ok(!ring.rotate(now)?.is_empty())).await?;
        self.follow_up().await;
        Ok(())
    }

    /// As [`SigningKeys::rotate`], for one of several keys that stand by.
    ///
    /// # Errors
    /// [`SigningKeysError::Rotate`] if this one is none of them, or not ready.
    pub async fn rotate_to(&self, kid: &str) -> Result<(), SigningKeysError> {
        self.change(|ring, now| Ok(!ring.rotate_to(kid, now)?.is_empty())).await?;
        self.follow_up().await;
        Ok(())
    }

    /// Withdraws a key at once. If it is the one that signs and no standby is ready, nothing signs until one is.
    ///
    /// # Errors
    /// [`SigningKeysError::Revoke`] if there is no such key.
    pub async fn revoke(&self, kid: &str) -> Result<(), SigningKeysError> {
        self.revoke_unpublished(kid).await?;
        self.follow_up().await;
        Ok(())
    }

    /// Withdraws a key of a ring that nobody publishes: no standby is made, and none begins to wait.
    ///
    /// # Errors
    /// As of [`Self::revoke`].
    pub async fn revoke_unpublished(&self, kid: &str) -> Result<(), SigningKeysError> {
        self.change(|ring, now| Ok(!ring.revoke(kid, now)?.is_empty())).await
    }

    /// Does what is due: activates, retires, makes a standby, and begins its waiting.
    ///
    /// # Errors
    /// If the store or the making of a key fails. It is safe to call again.
    pub async fn advance(&self) -> Result<(), SigningKeysError> {
        self.roll().await?;
        // What the lines above have shown is on disk and in every answer of the JWKS from here on: in this node's at once.
        let spread = |kid: &str| self.sharing.as_ref().is_none_or(|sharing| sharing.is_spread(kid));
        self.change(|ring, now| {
            let waiting = |entry: &&RingEntry| {
                let is_new = entry.state() == KeyState::Pending && entry.published_since().is_none();
                is_new && spread(entry.kid())
            };
            let kids: Vec<_> =
                ring.entries().iter().filter(waiting).map(|entry| entry.kid().to_owned()).collect();
            let mut changed = false;
            for kid in kids {
                changed |= ring.mark_published(&kid, now);
            }
            Ok(changed)
        })
        .await
    }

    /// Keeps the ring going until `stop` says so: rotates on schedule, retires, makes standbys and certificates.
    pub async fn maintain(self: Arc<Self>, stop: watch::Receiver<bool>) {
        self.maintain_by(stop, tokio::time::sleep).await;
    }

    /// As [`SigningKeys::maintain`], where `sleep` lets the time pass between two looks at the ring.
    pub async fn maintain_by<S: Future<Output = ()>>(
        self: Arc<Self>,
        mut stop: watch::Receiver<bool>,
        sleep: impl Fn(Duration) -> S,
    ) {
        loop {
            let pause = match self.advance().await {
                Ok(()) => self.until_next_change(),
                Err(error) => {
                    tracing::warn!(code = error.code(), %error, "the signing keys could not be maintained");
                    AFTER_FAILURE
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.changed.notified() => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// What a change by hand leaves to be done. The change itself stands whether this succeeds or not.
    async fn follow_up(&self) {
        if let Err(error) = self.advance().await {
            tracing::warn!(code = error.code(), %error, "no standby signing key could be made yet");
        }
        self.changed.notify_one();
    }

    /// Rolls the ring on a thread that may be kept busy: making an RSA key takes seconds.
    async fn roll(&self) -> Result<(), SigningKeysError> {
        let _changing = self.changing.lock().await;
        for _ in 0..ROUNDS {
            let (kept, now, alg) = (self.kept(), self.clock.now(), self.alg);
            let (mut ring, certification) = (kept.ring.clone(), self.certification.get().cloned());
            let rolled = tokio::task::spawn_blocking(move || {
                let changes = ring.roll(now, &mut || generate_signing_key(alg))?;
                // In the same write, so that no key is published before its certificate.
                let certified = certification.is_some_and(|all| all.certify(&mut ring, now));
                Ok::<_, GenerateError>((ring, changes, certified))
            });
            let (ring, changes, certified) = rolled.await.map_err(|_| SigningKeysError::Interrupted)??;
            if changes.is_empty() && !certified {
                return Ok(());
            }
            if self.keep(&kept, ring).await? {
                report(&changes);
                return Ok(());
            }
        }
        Err(SigningKeysError::Contended)
    }

    /// Makes a change on top of what is on disk. `edit` says whether it changed anything.
    async fn change(
        &self,
        edit: impl Fn(&mut KeyRing, Timestamp) -> Result<bool, SigningKeysError>,
    ) -> Result<(), SigningKeysError> {
        let _changing = self.changing.lock().await;
        for _ in 0..ROUNDS {
            let kept = self.kept();
            let mut ring = kept.ring.clone();
            if !edit(&mut ring, self.clock.now())? || self.keep(&kept, ring).await? {
                return Ok(());
            }
        }
        Err(SigningKeysError::Contended)
    }

    /// Writes the ring in place of the one that it was made of, and shows it; or, if somebody else was faster, shows theirs
    /// and says no.
    async fn keep(&self, before: &Arc<Kept>, ring: KeyRing) -> Result<bool, SigningKeysError> {
        let mut changes = entries_of(&self.recorder, before.ring.entries(), &ring);
        changes.extend(self.counted(&before.ring, &ring));
        let saved = save(self.store.as_ref(), &self.data_keys, Some(&before.record), &ring, changes).await?;
        if let Some(record) = saved {
            self.show(before, Kept::at(self.clock.now(), record, ring));
            if let Some(sharing) = &self.sharing {
                sharing.tell();
            }
            return Ok(true);
        }
        let now = self.clock.now();
        if let Some(theirs) = load(self.store.as_ref(), &self.data_keys, self.policy, now).await? {
            self.show(before, theirs);
        }
        Ok(false)
    }

    /// Shows what is on disk in place of what was shown before; unless that is shown no more: somebody has shown something
    /// else since, which is `false`.
    fn show(&self, before: &Arc<Kept>, kept: Kept) -> bool {
        let is_other = {
            let mut shown = self.kept.write().unwrap_or_else(PoisonError::into_inner);
            if !Arc::ptr_eq(&*shown, before) {
                return false;
            }
            self.note(&kept.ring);
            let is_other = shown.active_kid != kept.active_kid;
            *shown = Arc::new(kept);
            is_other
        };
        if is_other {
            self.active_changes.send_modify(|count| *count += 1);
        }
        true
    }

    fn kept(&self) -> Arc<Kept> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn until_next_change(&self) -> Duration {
        let next = self.kept().ring.next_change_at();
        let pause = next.map_or(LONGEST_PAUSE, |at| at.duration_since(self.clock.now()));
        let spread = self.sharing.as_ref().and_then(Sharing::until_spread);
        pause.min(spread.unwrap_or(LONGEST_PAUSE)).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
    }
}

/// Planned changes happen while nobody looks; they are to be found afterwards.
fn report(changes: &[RingChange]) {
    for RingChange { kid, state, .. } in changes {
        tracing::info!(kid, ?state, "a signing key has come into another state");
    }
}

/// How often a change is made again on top of somebody else's before its caller is told.
const ROUNDS: usize = 8;

const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Waits for a clock that is behind do not become a busy loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// A wall clock can be put forward while we sleep.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
