//! What is not begun, and what is said then; and what a rehearsal leaves behind: nothing.

use std::path::Path;

use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::database::Database;
use waxseal_sender::id::{ConsumerId, NodeId};
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{Catalog, DataKeyRecord, KeyRecords, Node, NodeRole, StoreError};
use waxseal_tests::postgres::Postgres;

use super::{empty, filled, move_store, open};

#[tokio::test(flavor = "multi_thread")]
async fn a_rehearsal_counts_everything_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path(), 100).await;
    let before = std::fs::read(&store).unwrap();
    let (url, database) = empty();
    let (status, said) = move_store(&store, &url, &["--dry-run"]);
    assert_eq!(status, 0, "{said}");
    for expected in
        ["would be moved to postgres://127.0.0.1/", "Nothing was written", "partitions for 3 days"]
    {
        assert!(said.contains(expected), "{said}");
    }
    let line = |kind: &str| said.lines().find(|line| line.trim_start().starts_with(kind)).unwrap().to_owned();
    assert!(line("events").contains(" 100 ") && line("live deliveries").contains(" 50 "), "{said}");
    let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
    assert_eq!(Postgres::shared().execute(&database, tables), "0");
    assert_eq!(std::fs::read(&store).unwrap(), before);
    SqliteStore::open(&store).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_in_use_or_damaged_is_not_moved() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), 200).await;
    let (url, _) = empty();
    let store = SqliteStore::open(&path).unwrap();
    let (status, said) = move_store(&path, &url, &[]);
    assert!(status == 1 && said.contains("is in use by another process"), "{status} {said}");
    store.close().await;
    drop(store);

    let (status, said) = move_store(&folder.path().join("nowhere.db"), &url, &[]);
    assert!(status == 2 && said.contains("there is no store"), "{status} {said}");

    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8_192].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let (status, said) = move_store(&path, &url, &[]);
    assert!(status == 65 && said.contains("is damaged"), "{status} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_used_or_newer_is_no_target() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), 10).await;
    let (url, database) = empty();
    let store = open(&url).await;
    let node = Node {
        id: NodeId::generate(SystemClock.now()),
        name: "north".to_owned(),
        role: NodeRole::Api,
        program: "test".to_owned(),
        started_at: SystemClock.now(),
    };
    let cluster = store.cluster().unwrap();
    cluster.tend(&node).await.unwrap();
    for more in [&[][..], &["--dry-run"]] {
        let (status, said) = move_store(&path, &url, more);
        assert!(status == 1 && said.contains("senders work on the database: north"), "{status} {said}");
    }
    cluster.leave(node.id).await.unwrap();

    let key = DataKeyRecord { consumer: None, kek_id: "kek".to_owned(), wrapped: vec![1; 60] };
    store.keep_data_key(key).await.unwrap();
    let (status, said) = move_store(&path, &url, &[]);
    assert!(status == 1 && said.contains("not empty, it has data keys"), "{status} {said}");

    Postgres::shared().execute(&database, "UPDATE schema_version SET version = 9, usable_from = 9");
    let (status, said) = move_store(&path, &url, &[]);
    assert!(status == 1 && said.contains("schema version 9"), "{status} {said}");
    store.close().await;
    // The source is as it was after all of this.
    SqliteStore::open(&path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_works_on_what_is_only_half_moved_nor_on_what_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let path = filled(folder.path(), 300).await;
    let (url, database) = empty();
    let before = open(&url).await;
    // A value that is not what it was is found by comparing.
    let server = Postgres::shared();
    server.execute(
        &database,
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.due_at := NEW.due_at + 1; RETURN NEW; END$$;
         CREATE TRIGGER spoil BEFORE INSERT ON delivery_live FOR EACH ROW EXECUTE FUNCTION spoil()",
    );
    let (status, said) = move_store(&path, &url, &[]);
    assert!(
        status == 1 && said.contains("live deliveries differ: 150 in the source, 150"),
        "{status} {said}"
    );

    let database_settings = Database::parse(&url, Path::new(""), None).unwrap();
    let refused = PostgresStore::open(&database_settings).await.unwrap_err();
    assert!(matches!(refused, StoreError::Moving { .. }), "{refused:?}");
    let node = Node {
        id: NodeId::generate(SystemClock.now()),
        name: "early".to_owned(),
        role: NodeRole::All,
        program: "test".to_owned(),
        started_at: SystemClock.now(),
    };
    // One that was open before is not let in either.
    let refused = before.cluster().unwrap().tend(&node).await.unwrap_err();
    assert!(matches!(refused, StoreError::Moving { .. }), "{refused:?}");
    before.close().await;

    // The source may be used on. Then it is not what the move began with.
    let source = SqliteStore::open(&path).unwrap();
    let key = DataKeyRecord { consumer: None, kek_id: "other".to_owned(), wrapped: vec![9; 60] };
    source.destroy_data_key(ConsumerId::parse("consumer-1").unwrap()).await.unwrap();
    source.keep_data_key(key).await.unwrap();
    source.close().await;
    drop(source);
    let (status, said) = move_store(&path, &url, &[]);
    assert!(status == 1 && said.contains("was begun and is not finished"), "{status} {said}");

    let (url, _) = empty();
    let (status, said) = move_store(&path, &url, &[]);
    assert_eq!(status, 0, "{said}");
    let refused = SqliteStore::open(&path).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Moved { to } if to.starts_with("postgres://127.0.0.1/")),
        "{refused:?}"
    );
    let (elsewhere, _) = empty();
    let (status, said) = move_store(&path, &elsewhere, &[]);
    assert!(status == 1 && said.contains("already"), "{status} {said}");
}
