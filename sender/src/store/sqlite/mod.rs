//! The embedded store: one SQLite database, one thread that writes, a few that read.
//!
//! Relies on a local disk whose `fdatasync` means what it says. Guarantees what the [traits](crate::store) promise:
//! every write is acknowledged after a commit with `synchronous = FULL`; commits are shared by the writes that wait
//! together; a write that fails (disk full, I/O error) changes nothing and leaves the store usable.
//!
//! - `open` makes the files, takes the lock and brings the schema up to date;
//! - `writer` is the thread that writes, `session` its connection, `log` its checkpoints; `readers` read;
//! - `accept`, `settle`, `due`, `listing`, `search`, `failures` are the verbs of the outbox, with their SQL; `catalog` and
//!   `keys` are the two small traits, `audit` is the trail that both write; `prune` removes what is old;
//! - `backup` and `restore` copy the store and put a copy in its place; `export` reads it out for another backend; `check` and `damage` notice what is broken;
//! - `values` and `failure` translate columns and errors.

mod accept;
mod audit;
pub mod backup;
mod catalog;
mod check;
mod damage;
mod due;
pub(crate) mod export;
mod failure;
mod failures;
mod forget;
mod keys;
mod listing;
mod log;
mod merge;
mod open;
mod outbox;
mod prune;
mod readers;
mod redate;
pub mod restore;
mod search;
mod session;
mod settle;
mod values;
mod writer;

#[cfg(test)]
mod prune_tests;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use crate::store::StoreError;
use damage::Damage;
use failure::Failure;
use log::Log;
use readers::Readers;
use session::Session;
use writer::{Gauges, Writer};

/// A store in one SQLite database, for one process.
///
/// Dropping it does what [`close`](Self::close) does, and blocks while it does.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Arc<Writer>,
    readers: Arc<Readers>,
    gauges: Arc<Gauges>,
    damage: Arc<Damage>,
}

impl SqliteStore {
    /// Opens the database at `path`, creates it if there is none, and brings an older one up to date. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Locked`] if another process has it open, [`StoreError::NewerSchema`] if a newer program wrote
    /// it, [`StoreError::Moved`] if it was moved, [`StoreError::Corrupt`] if the file is not such a database, [`StoreError::Unavailable`] otherwise.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let path = path.as_ref();
        // First: nothing may touch the files of a store that is in use, not even to close a handle on them.
        let lock = open::lock(path)?;
        let mut connection = open::writer(path)?;
        if let Some(to) = open::moved_to(&connection)? {
            return Err(StoreError::Moved { to });
        }
        let live: i64 = connection
            .query_row("SELECT count(*) FROM delivery_live", [], |row| row.get(0))
            .map_err(Failure::from)?;
        let gauges = Arc::new(Gauges { commits: AtomicU64::new(0), live: AtomicI64::new(live) });
        let damage = Arc::new(Damage::none());
        let readers = Readers::start(path, &damage)?;
        let log = Log::of(&mut connection)?;
        let writer =
            Writer::start(Session::new(connection), log, Arc::clone(&gauges), Arc::clone(&damage), lock)?;
        Ok(Self { writer: Arc::new(writer), readers: Arc::new(readers), gauges, damage })
    }

    /// Finishes what waits, writes the log back into the database and closes the files. Whatever is asked of the
    /// store afterwards is answered with [`StoreError::Closed`].
    pub async fn close(&self) {
        let (writer, readers) = (Arc::clone(&self.writer), Arc::clone(&self.readers));
        // The task only joins threads; it fails if the runtime is shutting down, and then dropping does the rest.
        let _ = tokio::task::spawn_blocking(move || shut(&writer, &readers)).await;
    }

    /// Waits until the files turn out to be damaged; says what was met. Reading and writing go on as far as they can.
    pub async fn damaged(&self) -> &'static str {
        self.damage.wait().await
    }

    /// In what damage was met so far, if it was.
    pub fn damage(&self) -> Option<&'static str> {
        self.damage.found()
    }

    /// How many transactions were committed since the store was opened. Writes share them.
    pub fn commits(&self) -> u64 {
        self.gauges.commits.load(Ordering::Relaxed)
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        shut(&self.writer, &self.readers);
    }
}

/// Readers first: the last checkpoint then finds none in its way.
fn shut(writer: &Writer, readers: &Readers) {
    readers.close();
    writer.close();
}
