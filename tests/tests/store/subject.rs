//! The stores that the suite is run for.

use std::path::PathBuf;

use async_trait::async_trait;
use tempfile::TempDir;
use waxseal_sender::store::Store;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_tests::store_model::StoreModel;
use waxseal_tests::store_suite::Subject;

/// The model; reopening finds the same memory.
pub async fn in_memory() -> InMemory {
    InMemory(StoreModel::default())
}

/// A database in a folder of its own.
pub async fn sqlite() -> Sqlite {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    Sqlite { store: SqliteStore::open(&path).unwrap(), path, _folder: folder }
}

pub struct InMemory(StoreModel);

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
