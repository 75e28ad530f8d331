//! The embedded store's files: who may open them, what is refused, what they hold after a key is destroyed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{
    Catalog, DataKeyRecord, Kept, KeyRecords, NewDelivery, NewEvent, Outbox, RewrappedKeys, RingRecord,
    Shards, StoreError,
};
use waxseal_tests::store_suite::aging::prune_all;
use waxseal_tests::store_suite::fixture::{
    at, consumer, delivery_id, endpoint_id, event_id, new_delivery, new_event,
};

use crate::subject;

#[tokio::test]
async fn one_process_at_a_time_has_the_store() {
    let subject = subject::sqlite().await;
    let refused = SqliteStore::open(&subject.path).unwrap_err();
    assert!(
        matches!(&refused, StoreError::Locked { path } if subject.path.ends_with(path.rsplit('/').next().unwrap()))
    );
    let child = Command::new(env!("CARGO_BIN_EXE_store-crash-child")).arg(&subject.path).output().unwrap();
    assert!(!child.status.success());
    assert_eq!(String::from_utf8(child.stdout).unwrap(), "refused store.locked\n");

    // The refusals have not disturbed the owner, and the lock ends with it.
    subject.store.accept(new_event(1, at(0), vec![])).await.unwrap();
    subject.store.close().await;
    let next = SqliteStore::open(&subject.path).unwrap();
    assert!(next.event(event_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_dropped_store_has_kept_everything_and_can_be_opened() {
    let subject = subject::sqlite().await;
    subject.store.accept(new_event(1, at(0), vec![])).await.unwrap();
    let path = subject.path.clone();
    drop(subject.store);
    let next = SqliteStore::open(path).unwrap();
    assert!(next.event(event_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_closed_store_says_so_and_leaves_no_log() {
    let subject = subject::sqlite().await;
    subject.store.accept(new_event(1, at(0), vec![])).await.unwrap();
    subject.store.close().await;
    subject.store.close().await;
    assert!(matches!(subject.store.accept(new_event(2, at(0), vec![])).await, Err(StoreError::Closed)));
    assert!(matches!(subject.store.records().await, Err(StoreError::Closed)));
    let log = subject.path.with_extension("db-wal");
    assert!(fs::metadata(log).map_or(true, |log| log.len() == 0));
}

#[tokio::test]
async fn only_the_owner_may_read_the_files() {
    let subject = subject::sqlite().await;
    subject.store.accept(new_event(1, at(0), vec![])).await.unwrap();
    for suffix in ["", ".lock", "-wal", "-shm"] {
        let file = format!("{}{suffix}", subject.path.display());
        assert_eq!(mode(Path::new(&file)), 0o600, "{file}");
    }
    subject.store.close().await;
    fs::set_permissions(&subject.path, fs::Permissions::from_mode(0o644)).unwrap();
    let _store = SqliteStore::open(&subject.path).unwrap();
    assert_eq!(mode(&subject.path), 0o600);
}

#[tokio::test]
async fn a_log_that_others_may_read_is_tightened_before_it_is_used() {
    let subject = subject::sqlite().await;
    subject.store.close().await;
    let beside = |suffix: &str| Path::new(&format!("{}{suffix}", subject.path.display())).to_owned();
    // What a killed process leaves, as a restored copy or a careless umask may have it.
    for suffix in ["-wal", "-shm"] {
        fs::write(beside(suffix), "").unwrap();
        fs::set_permissions(beside(suffix), fs::Permissions::from_mode(0o644)).unwrap();
    }
    let _store = SqliteStore::open(&subject.path).unwrap();
    for suffix in ["-wal", "-shm"] {
        assert_eq!(mode(&beside(suffix)), 0o600, "{suffix}");
    }
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let subject = subject::sqlite().await;
    subject.store.close().await;
    let database = rusqlite::Connection::open(&subject.path).unwrap();
    database.pragma_update(None, "user_version", 77).unwrap();
    drop(database);
    let refused = SqliteStore::open(&subject.path).unwrap_err();
    assert!(matches!(refused, StoreError::NewerSchema { found: 77, known } if known < 77), "{refused:?}");
    let database = rusqlite::Connection::open(&subject.path).unwrap();
    let version: u32 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 77);
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_to_date_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database.execute_batch(include_str!("../../../sender/src/store/sqlite/schema/0001_init.sql")).unwrap();
    let (event, endpoint) = (event_id(1), endpoint_id(1));
    let (live, ended) = (delivery_id(1), delivery_id(2));
    database
        .execute_batch(
            "PRAGMA user_version = 1;
             INSERT INTO routes VALUES (1, randomblob(16), 'consumer-1');",
        )
        .unwrap();
    database.execute("UPDATE routes SET endpoint = ?1", [endpoint.as_bytes()]).unwrap();
    database
        .execute(
            "INSERT INTO events VALUES (1, ?1, 1800000000000, 'order.created', x'5A')",
            [event.as_bytes()],
        )
        .unwrap();
    database.execute("INSERT INTO event_keys VALUES (?1, 'consumer-1', x'A5')", [event.as_bytes()]).unwrap();
    for delivery in [live, ended] {
        database
            .execute("INSERT INTO deliveries VALUES (?1, ?2, 1)", [delivery.as_bytes(), event.as_bytes()])
            .unwrap();
    }
    database
        .execute(
            "INSERT INTO delivery_live VALUES (1, 1800000000005, ?1, ?2, 3)",
            [live.as_bytes(), event.as_bytes()],
        )
        .unwrap();
    database
        .execute(
            "INSERT INTO attempts (delivery, number, route, state, recorded_at) VALUES (?1, 0, 1, 5, 1800000000009)",
            [ended.as_bytes()],
        )
        .unwrap();
    drop(database);

    let store = SqliteStore::open(&path).unwrap();
    let summary = store.event(event).await.unwrap().unwrap();
    assert_eq!((summary.expires_at, summary.consumers), (None, vec![consumer(1)]));
    let due = store.due(endpoint, None, at(5), 9).await.unwrap();
    assert_eq!(
        due.iter().map(|live| (live.id, live.attempts_made, live.expires_at)).collect::<Vec<_>>(),
        [(live, 3, None)]
    );
    let ended = store.delivery(ended).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.ended_at), (DeliveryState::Cancelled, Some(at(9))));
    let expiring = NewDelivery { expires_at: Some(at(7)), ..new_delivery(3, 1, at(0)) };
    store.accept(new_event(2, at(0), vec![expiring])).await.unwrap();
    store.close().await;
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.expired(Shards::ALL, at(7), 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_no_store_is_reported_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    let content = "no database, but as long as the beginning of one must be. ".repeat(100);
    fs::write(&text, &content).unwrap();
    let refused = SqliteStore::open(&text).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { what: "database file" }), "{refused:?}");
    assert_eq!(fs::read_to_string(&text).unwrap(), content);

    let foreign = folder.path().join("foreign.db");
    rusqlite::Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE events (other INTEGER)")
        .unwrap();
    let refused = SqliteStore::open(&foreign).unwrap_err();
    assert!(matches!(refused, StoreError::Corrupt { .. }), "{refused:?}");
}

#[tokio::test]
async fn damage_is_reported_and_not_answered() {
    let subject = subject::sqlite().await;
    for number in 0..200 {
        subject.store.accept(new_event(number, at(0), vec![])).await.unwrap();
    }
    subject.store.close().await;
    let mut bytes = fs::read(&subject.path).unwrap();
    // All pages but the first, which holds the schema.
    bytes[4096..].fill(0x5A);
    fs::write(&subject.path, bytes).unwrap();
    let error = match SqliteStore::open(&subject.path) {
        Err(error) => error,
        Ok(store) => store.event(event_id(1)).await.unwrap_err(),
    };
    assert_eq!(error.code(), "store.corrupt");
}

#[tokio::test]
async fn a_destroyed_data_key_is_in_no_file() {
    let subject = subject::sqlite().await;
    let wrapped = b"these bytes are the wrapped data key".to_vec();
    // So many that pages of the table split, and rows move, after the one in question was written.
    let others = 400;
    for n in 0..=others {
        let (owner, wrapped) = match n {
            20 => (others / 2, wrapped.clone()),
            _ => (if n == others / 2 { others } else { n * 7 % others }, vec![7; 36]),
        };
        let key = DataKeyRecord { consumer: Some(consumer(owner)), kek_id: "kek".to_owned(), wrapped };
        subject.store.keep_data_key(key).await.unwrap();
    }
    let kept = subject.store.data_keys().await.unwrap().len();
    let folder = subject.path.parent().unwrap();
    assert!(holds(folder, &wrapped));
    subject.store.destroy_data_key(consumer(others / 2)).await.unwrap();
    assert!(!holds(folder, &wrapped));
    assert_eq!(subject.store.data_keys().await.unwrap().len(), kept - 1);
}

/// A backup reads for minutes; the log is emptied as soon as nobody reads any more, without another write.
#[tokio::test]
async fn a_reader_in_the_way_of_an_erasure_delays_it_and_no_more() {
    let subject = subject::sqlite().await;
    let wrapped = b"these bytes are the wrapped data key".to_vec();
    let key =
        DataKeyRecord { consumer: Some(consumer(1)), kek_id: "kek".to_owned(), wrapped: wrapped.clone() };
    subject.store.keep_data_key(key).await.unwrap();
    let reader = rusqlite::Connection::open(&subject.path).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM data_keys;").unwrap();
    subject.store.destroy_data_key(consumer(1)).await.unwrap();
    let folder = subject.path.parent().unwrap();
    assert!(holds(folder, &wrapped), "the reader still sees it");
    reader.execute_batch("COMMIT").unwrap();
    for _ in 0..200 {
        if !holds(folder, &wrapped) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    panic!("it is still there");
}

/// A process that is being started has all files of this one until it is another program. With many arguments that takes a
/// while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_was_closed_can_be_opened_while_other_processes_are_being_started() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let ended = Arc::new(AtomicBool::new(false));
    let starting: Vec<_> = (0..2)
        .map(|_| {
            let ended = Arc::clone(&ended);
            std::thread::spawn(move || {
                let mut started = 0;
                while !ended.load(Ordering::Relaxed) {
                    let all = Command::new("true").args(vec!["x".repeat(100_000); 15]).status();
                    assert!(all.unwrap().success());
                    started += 1;
                }
                started
            })
        })
        .collect();
    for round in 0..60 {
        let store = SqliteStore::open(&path).unwrap_or_else(|error| panic!("round {round}: {error}"));
        store.close().await;
    }
    ended.store(true, Ordering::Relaxed);
    assert!(starting.into_iter().all(|starting| starting.join().unwrap() > 0));
}

/// Rings that were written over, some of them long, and the last forms under the old key-encryption key.
#[tokio::test]
async fn what_an_old_key_encryption_key_opens_is_in_no_file() {
    let subject = subject::sqlite().await;
    let (ring, wrapped) = (b"this is the ring under the old key".to_vec(), b"so is this data key".to_vec());
    let folder = subject.path.parent().unwrap();
    let owners = (1..300).map(|n| Some(consumer(n))).chain([None]);
    let key = |consumer, kek_id: &str, wrapped: &[u8]| DataKeyRecord {
        consumer,
        kek_id: kek_id.to_owned(),
        wrapped: wrapped.to_vec(),
    };
    for owner in owners.clone() {
        subject.store.keep_data_key(key(owner, "old", &wrapped)).await.unwrap();
    }
    for version in 0..20 {
        let sealed = ring.repeat(if version % 2 == 0 { 300 } else { 1 });
        let before = subject.store.ring().await.unwrap();
        assert!(subject.store.save_ring(before, sealed, Vec::new()).await.unwrap());
    }
    let (before, later) = (subject.store.ring().await.unwrap(), b"a later ring under the old key".to_vec());
    assert!(subject.store.save_ring(before, later, Vec::new()).await.unwrap());
    assert!(!holds(folder, &ring), "a retired private key is not left behind");
    assert!(holds(folder, b"a later ring") && holds(folder, &wrapped));
    let rewrapped = RewrappedKeys {
        ring: Some(RingRecord { version: 21, sealed: b"new".to_vec() }),
        data_keys: owners.map(|owner| key(owner, "new", &[7; 60])).collect(),
        changes: Vec::new(),
    };
    assert!(subject.store.rewrap(rewrapped).await.unwrap());
    assert!(!holds(folder, b"a later ring") && !holds(folder, &wrapped));
}

#[tokio::test]
async fn a_content_that_was_removed_is_in_no_file() {
    let subject = subject::sqlite().await;
    let (large, small) =
        (b"these bytes are a large content ".repeat(1_000), b"a small content, and its key".to_vec());
    let mut pieces = Vec::new();
    for (number, content) in [(1, &large), (2, &small)] {
        let wrapped = format!("these bytes are the key of {number}").into_bytes();
        let wrapped_keys = vec![(consumer(1), wrapped.clone())];
        let event = NewEvent { sealed: content.clone(), wrapped_keys, ..new_event(number, at(0), vec![]) };
        subject.store.accept(event).await.unwrap();
        pieces.extend([content[..28].to_vec(), wrapped]);
    }
    let folder = subject.path.parent().unwrap().to_owned();
    assert!(pieces.iter().all(|piece| holds(&folder, piece)));
    prune_all(&subject.store, Kept::Contents, at(0), 100).await;
    subject.store.close().await;
    for piece in &pieces {
        assert!(!holds(&folder, piece), "{}", String::from_utf8_lossy(piece));
    }
}

fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let mut files = fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    files.any(|content| content.windows(bytes.len()).any(|window| window == bytes))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
