//! That no slice holds the writer for long, whatever there is to be removed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use waxseal_keys::Timestamp;

use super::session::Session;
use super::{SqliteStore, open, prune};
use crate::store::{Forgotten, Kept, Outbox, Removed, Slice};

/// What the largest slice did.
#[derive(Debug, Default)]
struct Largest {
    /// Instructions of SQLite's virtual machine, in hundreds: how long it takes, on whatever machine.
    hundreds: u64,
    /// Bytes that its commit wrote.
    bytes: u64,
}

/// The writer's connection, with a count of what it does.
struct Counted {
    session: Session,
    hundreds: Arc<AtomicU64>,
    /// Nobody writes it back here.
    log: PathBuf,
}

impl Counted {
    fn open(path: &Path) -> Self {
        let mut connection = open::writer(path).unwrap();
        let hundreds = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&hundreds);
        let count = move || {
            counter.fetch_add(1, Ordering::Relaxed);
            false
        };
        connection.progress_handler(100, Some(count)).unwrap();
        Self { session: Session::new(connection), hundreds, log: open::beside(path, "-wal") }
    }

    /// Prunes everything; returns what was removed and what the largest slice did in the writer.
    fn prune_all(&mut self, kept: Kept) -> (Removed, Largest) {
        let (mut all, mut largest) = (Removed::default(), Largest::default());
        loop {
            let slice = Slice { kept, until: Timestamp::MAX, after: all.next, limit: 256 };
            let found = prune::find(self.session.connection(), &slice).unwrap();
            let (hundreds, bytes) = self.done();
            self.session.begin().unwrap();
            let removed = prune::remove(&mut self.session, &slice, &found).unwrap();
            self.session.commit().unwrap();
            let (more_hundreds, more_bytes) = self.done();
            largest.hundreds = largest.hundreds.max(more_hundreds - hundreds);
            largest.bytes = largest.bytes.max(more_bytes - bytes);
            all.events += removed.events;
            all.deliveries += removed.deliveries;
            all.next = removed.next;
            if all.next.is_none() {
                return (all, largest);
            }
        }
    }

    /// What it has done until now: hundreds of instructions, bytes of log.
    fn done(&self) -> (u64, u64) {
        (self.hundreds.load(Ordering::Relaxed), std::fs::metadata(&self.log).unwrap().len())
    }
}

#[tokio::test]
async fn no_slice_holds_the_writer_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut counted = Counted::open(&path);
    counted.session.connection().execute_batch(HISTORY).unwrap();
    let (removed, largest) = counted.prune_all(Kept::Contents);
    println!("contents: {largest:?}");
    assert_eq!(removed.events, 4_101);
    // The most is that each delivery of the one event is looked at: some milliseconds.
    assert!(largest.bytes < (1 << 20) + 131_072 && largest.hundreds < 5_000, "{largest:?}");
    let (removed, largest) = counted.prune_all(Kept::Records);
    println!("records: {largest:?}");
    assert_eq!((removed.events, removed.deliveries), (4_101, 24_100));
    assert!(largest.bytes < 500_000 && largest.hundreds < 500, "{largest:?}");
    let left = "SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM event_keys)";
    let left: i64 = counted.session.connection().query_row(left, [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
    drop(counted);

    // Nothing says whose the endpoints were, once nothing is kept of them.
    let store = SqliteStore::open(&path).unwrap();
    let forgotten = store.forget_endpoints(None, 30_000).await.unwrap();
    assert_eq!(forgotten, Forgotten { endpoints: 20_000, next: None });
    let left: i64 = store
        .readers
        .read(|connection| Ok(connection.query_row("SELECT count(*) FROM routes", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(left, 0);
}

/// 4,000 events of 1 KiB, 100 of 128 KiB, and one that went to 20,000 endpoints; each delivery with four attempts.
const HISTORY: &str = "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 19999)
         INSERT INTO routes SELECT n + 1, randomblob(16), 'consumer-' || n FROM n;
     WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 4100)
         INSERT INTO events (no, id, accepted_at, event_type, sealed)
             SELECT n + 1, unhex(printf('%032X', n)), n, 'order.created',
                    randomblob(CASE WHEN n < 400 AND n % 4 = 3 THEN 131072 ELSE 1024 END) FROM n;
     INSERT INTO event_keys SELECT id, 'consumer-1', randomblob(60) FROM events;
     INSERT INTO deliveries SELECT id, id, no FROM events WHERE no > 1;
     INSERT INTO deliveries SELECT unhex(printf('%032X', no + 100000)), (SELECT id FROM events WHERE no = 1), no FROM routes;
     WITH RECURSIVE a (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM a WHERE a < 4)
         INSERT INTO attempts (delivery, number, route, state, recorded_at, excerpt)
             SELECT d.id, a, d.route, CASE a WHEN 4 THEN 2 END, 5, randomblob(200) FROM deliveries d, a;";
