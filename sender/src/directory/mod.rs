//! All that is configured, in memory: consumers, groups, event types, endpoints, consumers' keys, API tokens; and the
//! recoveries that somebody asked for, and what the operator is to be told.
//!
//! Publishing and the engine ask it many times for each event, so reads take a short lock, never wait for a store
//! and hand out shared values. A change is validated against the present state, persisted, and only then visible;
//! changes are made one at a time. In the store each thing is one record, encrypted under its consumer's data key.
//!
//! Where several nodes use the store, each has all of it in memory, and [catches up](Directory::catch_up) with the others.

mod change;
mod consumers;
mod error;
mod fit;
mod health;
mod item;
mod load;
mod names;
mod operator;
mod others;
mod pause;
mod read;
mod record;
mod recovery;
mod state;
mod telling;
mod trust;
mod turn;
mod verification;

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Mutex, broadcast};
use waxseal_keys::Clock;

pub use self::error::ChangeError;
pub use self::health::HealthEdit;
use self::item::Edit;
pub use self::operator::News;
use self::others::Others;
pub use self::pause::PauseEdit;
pub use self::read::To;
pub use self::recovery::RecoveryStep;
use self::state::State;
use self::telling::Telling;
pub use self::trust::KeysGivenBy;
use self::turn::Changing;
use crate::audit::Recorder;
use crate::carried_out::CarriedOut;
use crate::data_keys::DataKeys;
use crate::id::{EndpointId, RecoveryId};
use crate::model::encryption_keys::KeyOwner;
use crate::store::{RecordChange, Store, Version};

/// All that is configured.
#[derive(Debug)]
pub struct Directory {
    store: Arc<dyn Store>,
    keys: Arc<DataKeys>,
    state: Arc<RwLock<State>>,
    changing: Arc<Mutex<()>>,
    others: Option<Others>,
    clock: Arc<dyn Clock>,
    recorder: Recorder,
    telling: std::sync::Mutex<Telling>,
    events: broadcast::Sender<DirectoryEvent>,
}

/// What changed, for those who keep something that depends on it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum DirectoryEvent {
    /// An endpoint was created, changed, paused or resumed.
    EndpointChanged(EndpointId),
    /// An endpoint is gone.
    EndpointRemoved(EndpointId),
    /// A recovery was begun, has come further, or has ended.
    RecoveryChanged(RecoveryId),
    /// There is something to tell the operator.
    NoticeKept,
    /// Somebody's encryption keys changed.
    KeysChanged(KeyOwner),
}

impl Directory {
    /// Tells of changes from now on. A subscriber that falls behind must look at everything anew.
    pub fn subscribe(&self) -> broadcast::Receiver<DirectoryEvent> {
        self.events.subscribe()
    }

    fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What makes and reads entries of the audit trail.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Persists these edits as one transaction, with who made them, then shows them. Once begun it is carried out, also
    /// if the caller goes away: what is shown is what is kept.
    async fn commit(&self, changing: Changing, edits: Vec<Edit>) -> Result<(), ChangeError> {
        self.commit_each(changing, vec![edits]).await
    }

    /// As [`Self::commit`], with an entry on record for each of these groups of edits.
    async fn commit_each(&self, changing: Changing, groups: Vec<Vec<Edit>>) -> Result<(), ChangeError> {
        CarriedOut::new(self.committed(changing, groups)?).await.map(drop)
    }

    /// The work of [`Self::commit_each`], which must not be dropped half done. Gives the turn back.
    fn committed(
        &self,
        changing: Changing,
        groups: Vec<Vec<Edit>>,
    ) -> Result<impl Future<Output = Result<Changing, ChangeError>> + Send + use<>, ChangeError> {
        let mut changes = Vec::new();
        for edits in &groups {
            changes.extend(self.seal(edits)?);
            changes.extend(self.record(edits));
        }
        let changes = changing.fenced(changes);
        let (store, state, events) = (Arc::clone(&self.store), Arc::clone(&self.state), self.events.clone());
        let mut changing = changing;
        Ok(async move {
            store.change(changes).await?;
            show(&state, &events, groups.into_iter().flatten().collect(), changing.made());
            changing.tell();
            Ok(changing)
        })
    }

    fn seal(&self, edits: &[Edit]) -> Result<Vec<RecordChange>, ChangeError> {
        edits.iter().map(|edit| edit.seal(&self.keys)).collect()
    }

    /// Shows what somebody has written in this turn.
    fn show(&self, edits: Vec<Edit>, changing: &mut Changing) {
        self.show_at(edits, changing.made());
        changing.tell();
    }

    fn show_at(&self, edits: Vec<Edit>, version: Option<Version>) {
        show(&self.state, &self.events, edits, version);
    }
}

fn show(
    state: &RwLock<State>,
    events: &broadcast::Sender<DirectoryEvent>,
    edits: Vec<Edit>,
    version: Option<Version>,
) {
    let news: Vec<_> = edits.iter().filter_map(Edit::event).collect();
    let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
    state.version = version.unwrap_or(state.version);
    for edit in edits {
        match edit {
            Edit::Put(item) => state.put(item),
            Edit::Remove(name) => state.remove(&name),
        }
    }
    drop(state);
    for event in news {
        // An error only says that nobody listens.
        let _ = events.send(event);
    }
}
