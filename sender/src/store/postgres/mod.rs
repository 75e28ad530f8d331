//! The shared store: one PostgreSQL database (14 or later, plain SQL) that several nodes use at once.
//!
//! Relies on a database that loses nothing that it has acknowledged: with a synchronous standby that holds when a machine
//! is lost, and [`Cluster::overview`](crate::store::Cluster::overview) says whether there is one. Guarantees what the
//! [traits](crate::store) promise; what it cannot do now it answers with
//! [`StoreError::Unavailable`], and goes on by itself when some host takes writes.
//!
//! - `connect` makes connections to the [database](crate::database), `pool` keeps some;
//! - `schema` makes the tables and brings them up to date, `partition` the days of those that only grow;
//! - `writer`, `queue` and `batch` are the group commits of what comes and of what is settled, `routes` what they remember;
//! - `accept`, `settle`, `due`, `listing`, `search`, `failures` are the verbs of the outbox, with their SQL; `catalog` and
//!   `keys` are the two small traits, `audit` is the trail that both write; `prune` removes what is old;
//! - `import` takes in a store of another backend;
//! - `cluster` is what several nodes need of each other, `withdrawn` what they find of each other's cancelling;
//! - `timeline` tells the lives of a database apart;
//! - `values` and `failure` translate columns and errors.

mod accept;
mod audit;
mod batch;
mod catalog;
mod cluster;
mod connect;
mod due;
mod failure;
mod failures;
mod forget;
pub(crate) mod import;
mod import_sql;
mod keys;
mod listing;
mod merge;
mod outbox;
mod partition;
mod pool;
mod prune;
mod queue;
mod redate;
mod routes;
mod schema;
mod search;
mod settle;
mod timeline;
mod upkeep;
mod values;
mod withdrawn;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::database::Database;
use crate::store::StoreError;
use cluster::PostgresCluster;
use connect::{Connector, Purpose};
use pool::Pool;
use routes::Routes;
use upkeep::Upkeep;
use writer::Writer;

/// A store in a PostgreSQL database, for any number of nodes. It is used within a Tokio runtime.
pub struct PostgresStore {
    writer: Writer,
    /// Writes that share no commit.
    singles: Arc<Pool>,
    readers: Arc<Pool>,
    cluster: Arc<PostgresCluster>,
    routes: Arc<Routes>,
    connector: Arc<Connector>,
    upkeep: Upkeep,
    commits: Arc<AtomicU64>,
}

impl PostgresStore {
    /// Opens the store, creates its tables if there are none, and brings older ones up to date.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] if a newer program has changed the tables in a way that this one cannot work with,
    /// [`StoreError::Moving`] if another store is being moved here, [`StoreError::Unavailable`] if no host takes writes now.
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let connector = Arc::new(Connector::new(database.clone()));
        let session = schema::migrate(&connector).await?;
        schema::refuse_unfinished(&session).await?;
        let (commits, routes) = (Arc::new(AtomicU64::new(0)), Arc::new(Routes::default()));
        let pool = |purpose, size| Pool::new(&connector, purpose, size, &commits);
        Ok(Self {
            writer: Writer::start(&connector, &routes, &commits),
            singles: pool(Purpose::Write, SINGLES)?,
            readers: pool(Purpose::Read, READERS)?,
            cluster: Arc::new(PostgresCluster::start(
                &connector,
                pool(Purpose::Write, TENDING)?,
                pool(Purpose::Read, READERS)?,
            )),
            routes,
            connector: Arc::clone(&connector),
            upkeep: Upkeep::start(&connector),
            commits,
        })
    }

    /// Creates the tables, or brings older ones up to date, and does nothing else.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn migrate(database: &Database) -> Result<(), StoreError> {
        schema::migrate(&Connector::new(database.clone())).await?;
        Ok(())
    }

    /// Finishes what waits and closes the connections. Whatever is asked of the store afterwards is answered with
    /// [`StoreError::Closed`].
    pub async fn close(&self) {
        self.writer.close().await;
        self.upkeep.stop();
        self.singles.close().await;
        self.readers.close().await;
        self.cluster.close().await;
    }

    /// How many transactions were committed since the store was opened. Writes share them.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("commits", &self.commits()).finish_non_exhaustive()
    }
}

/// Connections for writes that share no commit: changes of what is configured wait for each other anyway.
const SINGLES: usize = 3;

/// Connections for queries, of the outbox and of the cluster each.
const READERS: usize = 6;

/// Connections for leases, which are to wait for nothing else.
const TENDING: usize = 2;
