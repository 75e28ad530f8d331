//! Other nodes on the same store: what they have changed is read and shown here, and what was changed here is awaited there.
//!
//! Relies on the store to count changes, and on whoever [follows](crate::following) to call. Guarantees that what others
//! changed is shown like a change of one's own, with the same events, as a whole and in order; and that it is readable: a
//! consumer's data key comes before what is encrypted under it, and goes with the consumer.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::item::{Edit, Item, Name};
use super::state::State;
use super::{ChangeError, Directory};
use crate::clock_watch::this_instant;
use crate::id::NodeId;
use crate::store::{Cluster, Configured, LEASE, Record, RecordKind, StoreError, TRUSTED_FOR, Version};

/// What there is beside the state where several nodes use the store.
#[derive(Debug)]
pub(super) struct Others {
    pub(super) cluster: Arc<dyn Cluster>,
    /// Held by whoever reads changes and shows them, and by whoever makes one.
    pub(super) applying: Arc<tokio::sync::Mutex<()>>,
    node: OnceLock<NodeId>,
    /// When it was last begun to read changes, of the times that this succeeded.
    read_at: std::sync::Mutex<Option<Instant>>,
    /// Every live node was seen to work by this version.
    everywhere: std::sync::Mutex<Version>,
    /// The store has lost changes that are still shown here: what is known has to be read anew as a whole.
    lost: AtomicBool,
}

impl Others {
    pub(super) fn new(cluster: Arc<dyn Cluster>) -> Self {
        Self {
            cluster,
            applying: Arc::default(),
            node: OnceLock::new(),
            read_at: std::sync::Mutex::default(),
            everywhere: std::sync::Mutex::default(),
            lost: AtomicBool::new(false),
        }
    }

    /// Whether what is shown has to be read anew as a whole: until that has succeeded, however often it is begun.
    fn has_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    /// Whether another node that may be at work does not work by this version yet.
    async fn lag(&self, version: Version) -> Result<bool, StoreError> {
        let nodes = self.cluster.overview().await?.nodes;
        let mut others = nodes.iter().filter(|state| self.node.get() != Some(&state.node.id));
        Ok(others.any(|state| !state.lease_left.is_zero() && state.works_by < version))
    }
}

impl Directory {
    /// The version of what is configured, where several nodes use the store.
    pub fn version(&self) -> Version {
        self.read(|state| state.version)
    }

    /// Says which node this is, and to the others that it works by this version.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn report_as(&self, node: NodeId, version: Version) -> Result<(), StoreError> {
        let Some(others) = &self.others else { return Ok(()) };
        others.cluster.works_by(*others.node.get_or_init(|| node), version).await
    }

    /// Whether what other nodes have configured can be believed to be known here: it was looked for not long ago. A node
    /// that cannot do that must not work by what it knows.
    pub fn is_up_to_date(&self) -> bool {
        let Some(others) = &self.others else { return true };
        let read_at = *others.read_at.lock().unwrap_or_else(PoisonError::into_inner);
        read_at.is_some_and(|at| this_instant().saturating_duration_since(at) < TRUSTED_FOR)
    }

    /// Reads what other nodes have changed, and shows it.
    ///
    /// # Errors
    /// If the store fails or a record does not decrypt; then everything is as it was.
    pub async fn catch_up(&self) -> Result<(), ChangeError> {
        let Some(others) = &self.others else { return Ok(()) };
        let _applying = others.applying.lock().await;
        self.read_on(others).await
    }

    /// Waits until every node whose lease lasts works by what this one has shown so far; at most for a lease: whoever has
    /// not renewed its own by then has stopped working.
    pub async fn everywhere(&self) {
        let Some(others) = &self.others else { return };
        let version = self.version();
        let reached = || *others.everywhere.lock().unwrap_or_else(PoisonError::into_inner) >= version;
        let (begun, mut pause) = (this_instant(), FIRST_PAUSE);
        while !reached() {
            match others.lag(version).await {
                Ok(false) => {
                    let mut everywhere = others.everywhere.lock().unwrap_or_else(PoisonError::into_inner);
                    *everywhere = version.max(*everywhere);
                    return;
                }
                Ok(true) => {}
                Err(error) => tracing::warn!(code = error.code(), "the other nodes cannot be looked at"),
            }
            if this_instant().saturating_duration_since(begun) >= LEASE {
                tracing::warn!(version, "a node does not work by the present configuration yet");
                return;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// The work of [`Self::catch_up`], by whoever may apply changes.
    pub(super) async fn read_on(&self, others: &Others) -> Result<(), ChangeError> {
        let begun = this_instant();
        let mut configured = others.cluster.configured_after(self.version()).await?;
        for _ in 0..ROUNDS {
            if configured.version < self.version() || (others.has_lost() && !configured.everything) {
                configured = self.all_anew(others).await?;
            }
            match self.opened(&configured).await {
                Ok(items) => {
                    self.adopt(configured, items);
                    others.lost.store(false, Ordering::SeqCst);
                    *others.read_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(begun);
                    return Ok(());
                }
                // Its consumer may have been erased since that was read, and made anew: that was counted before the key
                // was destroyed. If nothing was counted, it is damaged.
                Err(error @ ChangeError::Store(StoreError::Corrupt { .. })) => {
                    let shown = if others.has_lost() { 0 } else { self.version() };
                    let since = others.cluster.configured_after(shown).await?;
                    if since.version == configured.version {
                        return Err(error);
                    }
                    configured = since;
                }
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Superseded.into())
    }

    /// Everything, to be shown in place of what is known: the store has lost changes that were shown.
    async fn all_anew(&self, others: &Others) -> Result<Configured, StoreError> {
        tracing::error!(version = self.version(), "the store has lost changes; everything is read anew");
        others.lost.store(true, Ordering::SeqCst);
        // What was everywhere has been taken back, and its version stands for something else from now on.
        *others.everywhere.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        others.cluster.configured_after(0).await
    }

    /// Decrypts what was read. Keys that are not known, or not right, are looked up first.
    async fn opened(&self, configured: &Configured) -> Result<Vec<Item>, ChangeError> {
        let owners = configured.put.iter().filter_map(|record| record.consumer.as_ref());
        let mut unknown: BTreeSet<_> = owners.filter(|id| self.keys.of(id).is_none()).cloned().collect();
        let mut last = false;
        loop {
            if !unknown.is_empty() {
                self.keys.fetch(unknown.into_iter().collect()).await?;
            }
            unknown = BTreeSet::new();
            let mut items = Vec::with_capacity(configured.put.len());
            for record in &configured.put {
                match (Item::open(record, &self.keys), &record.consumer) {
                    (Ok(item), _) => items.push(item),
                    (Err(_), Some(consumer)) if !last => drop(unknown.insert(consumer.clone())),
                    (Err(error), _) => return Err(error),
                }
            }
            if unknown.is_empty() {
                return Ok(items);
            }
            last = true;
        }
    }

    fn adopt(&self, configured: Configured, items: Vec<Item>) {
        let removed =
            if configured.everything { self.not_among(&configured.put) } else { configured.removed };
        let version = configured.version;
        if version == self.version() && removed.is_empty() && items.is_empty() {
            return;
        }
        let names = self.read(|state| {
            let known = |(kind, id): &(RecordKind, String)| state.name(*kind, id);
            removed.iter().filter_map(known).collect::<Vec<_>>()
        });
        let erased: Vec<_> = names.iter().filter_map(Name::consumer).cloned().collect();
        let gone = names.into_iter().flat_map(|name| match name {
            Name::Endpoint(id) => vec![Edit::Remove(name), Edit::Remove(Name::Health(id))],
            name => vec![Edit::Remove(name)],
        });
        let put = items.into_iter().flat_map(|item| {
            // As where it was done: whoever resumes an endpoint wants to see it tried.
            let resumed = self.resumed_by(&item).map(|id| Edit::Remove(Name::Health(id)));
            resumed.into_iter().chain([Edit::Put(item)])
        });
        self.show_at(gone.chain(put).collect(), Some(version));
        erased.iter().for_each(|consumer| self.keys.forget(consumer));
    }

    /// What is known and not among these.
    fn not_among(&self, records: &[Record]) -> Vec<(RecordKind, String)> {
        let there: BTreeSet<_> = records.iter().map(|record| (record.kind, record.id.as_str())).collect();
        let known = self.read(State::names);
        known.into_iter().filter(|(kind, id)| !there.contains(&(*kind, id.as_str()))).collect()
    }

    fn resumed_by(&self, item: &Item) -> Option<crate::id::EndpointId> {
        let Item::Endpoint(after) = item else { return None };
        let before = self.endpoint(after.id)?;
        (after.is_active() && !before.is_active()).then_some(after.id)
    }
}

/// How often it is read again what others keep changing.
const ROUNDS: usize = 8;

/// A node that hears of a change has it within some milliseconds.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
