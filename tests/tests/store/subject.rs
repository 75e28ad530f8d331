//! The stores that the suite is run for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tempfile::TempDir;
use waxseal_keys::{Clock, ManualClock, SystemClock};
use waxseal_sender::database::Database;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{LEASE, Store};
use waxseal_tests::postgres::Postgres as Server;
use waxseal_tests::store_model::StoreModel;
use waxseal_tests::store_suite::Subject;
use waxseal_tests::store_suite::cluster::Shared;

/// The model; reopening finds the same memory.
pub async fn in_memory() -> InMemory {
    InMemory(StoreModel::default())
}

/// The model, as two nodes have it.
pub async fn shared_in_memory() -> SharedInMemory {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let one = StoreModel::shared(Arc::<ManualClock>::clone(&clock));
    let other = one.for_another_node();
    SharedInMemory { stores: [one, other], clock }
}

/// A database in a folder of its own.
pub async fn sqlite() -> Sqlite {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Sqlite { store: SqliteStore::open(&path).unwrap(), path, _folder: folder }
}

/// A database of its own on the server that all tests here share.
pub async fn postgres() -> Postgres {
    let server = Server::shared();
    let settings = settings(&server.dsn(&server.create_database("store")));
    Postgres { store: PostgresStore::open(&settings).await.unwrap(), settings }
}

/// A database of its own on that server, as two nodes have it.
pub async fn shared_postgres() -> SharedPostgres {
    let Postgres { store, settings } = postgres().await;
    SharedPostgres { stores: [store, PostgresStore::open(&settings).await.unwrap()], settings }
}

/// How this database is reached.
pub fn settings(url: &str) -> Database {
    Database::parse(url, Path::new(""), None).unwrap()
}

pub struct InMemory(StoreModel);

pub struct SharedInMemory {
    stores: [StoreModel; 2],
    clock: Arc<ManualClock>,
}

pub struct SharedPostgres {
    pub stores: [PostgresStore; 2],
    pub settings: Database,
}

pub struct Postgres {
    pub store: PostgresStore,
    pub settings: Database,
}

pub struct Sqlite {
    pub store: SqliteStore,
    pub path: PathBuf,
    _folder: TempDir,
}

#[async_trait]
impl Subject for InMemory {
    fn store(&self) -> &dyn Store {
        &self.0
    }

    async fn reopen(&mut self) {}
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = SqliteStore::open(&self.path).unwrap();
    }
}

#[async_trait]
impl Subject for Postgres {
    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reopen(&mut self) {
        self.store.close().await;
        self.store = PostgresStore::open(&self.settings).await.unwrap();
    }
}

#[async_trait]
impl Shared for SharedInMemory {
    fn stores(&self) -> [&dyn Store; 2] {
        let [one, two] = &self.stores;
        [one, two]
    }

    async fn let_leases_run_out(&self) {
        self.clock.advance(LEASE + Duration::from_secs(1));
    }
}

#[async_trait]
impl Shared for SharedPostgres {
    fn stores(&self) -> [&dyn Store; 2] {
        let [one, two] = &self.stores;
        [one, two]
    }

    /// The clock of a database cannot be moved, but what it is compared with.
    async fn let_leases_run_out(&self) {
        let database = self.settings.to_string();
        let database = database.rsplit_once('/').unwrap().1;
        Server::shared().execute(database, "UPDATE nodes SET lease_until = clock_timestamp()");
    }
}
