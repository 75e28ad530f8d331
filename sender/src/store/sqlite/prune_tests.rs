//! That no slice holds the writer for long, whatever there is to be removed.

use std::time::Duration;

use waxseal_keys::{Clock, SystemClock, Timestamp};

use super::SqliteStore;
use super::prune;
use crate::store::{Forgotten, Kept, Outbox, Removed, Slice};

/// A slice takes some milliseconds; this is for a disk that many share.
const BOUND: Duration = Duration::from_millis(500);

/// Prunes everything; returns what was removed and the longest time that a slice has held the writer.
async fn prune_all(store: &SqliteStore, kept: Kept) -> (Removed, Duration) {
    let (mut all, mut longest) = (Removed::default(), Duration::ZERO);
    loop {
        let slice = Slice { kept, until: Timestamp::MAX, after: all.next, limit: 256 };
        let found = store.readers.read(move |connection| prune::find(connection, &slice)).await.unwrap();
        // From the first statement to the end of the commit: what a write that comes just then waits for.
        let (removed, begun) = store
            .writer
            .write(move |session| {
                let begun = SystemClock.now();
                Ok((prune::remove(session, &slice, &found)?, begun))
            })
            .await
            .unwrap();
        longest = longest.max(SystemClock.now().duration_since(begun));
        all.events += removed.events;
        all.deliveries += removed.deliveries;
        all.next = removed.next;
        if all.next.is_none() {
            return (all, longest);
        }
    }
}

async fn fill(store: &SqliteStore, sql: &'static str) {
    store.writer.write(move |session| Ok(session.connection().execute_batch(sql)?)).await.unwrap();
}

#[tokio::test]
async fn no_slice_holds_the_writer_for_long() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("store.db")).unwrap();
    // 4,000 events of 1 KiB, 100 of 128 KiB, and one that went to 20,000 endpoints; each delivery with four attempts.
    fill(
        &store,
        "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 19999)
             INSERT INTO routes SELECT n + 1, randomblob(16), 'consumer-' || n FROM n;
         WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 4100)
             INSERT INTO events (no, id, accepted_at, event_type, sealed)
                 SELECT n + 1, unhex(printf('%032X', n)), n, 'order.created',
                        randomblob(CASE WHEN n % 40 = 7 THEN 131072 ELSE 1024 END) FROM n;
         INSERT INTO event_keys SELECT id, 'consumer-1', randomblob(60) FROM events;
         INSERT INTO deliveries SELECT id, id, no FROM events WHERE no > 1;
         INSERT INTO deliveries SELECT unhex(printf('%032X', no + 100000)), (SELECT id FROM events WHERE no = 1), no FROM routes;
         WITH RECURSIVE a (a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM a WHERE a < 4)
             INSERT INTO attempts (delivery, number, route, state, recorded_at, excerpt)
                 SELECT d.id, a, d.route, CASE a WHEN 4 THEN 2 END, 5, randomblob(200) FROM deliveries d, a;",
    )
    .await;
    let (removed, longest) = prune_all(&store, Kept::Contents).await;
    assert_eq!(removed.events, 4_101);
    println!("contents: the longest slice took {longest:?}");
    assert!(longest < BOUND, "{longest:?}");
    let (removed, longest) = prune_all(&store, Kept::Records).await;
    println!("records: the longest slice took {longest:?}");
    assert_eq!((removed.events, removed.deliveries), (4_101, 24_100));
    assert!(longest < BOUND, "{longest:?}");
    let left: i64 = store
        .readers
        .read(|connection| {
            let all = "SELECT (SELECT count(*) FROM attempts) + (SELECT count(*) FROM event_keys)";
            Ok(connection.query_row(all, [], |row| row.get(0))?)
        })
        .await
        .unwrap();
    assert_eq!(left, 0);

    // Nothing says whose the endpoints were, once nothing is kept of them.
    let forgotten = store.forget_endpoints(None, 30_000).await.unwrap();
    assert_eq!(forgotten, Forgotten { endpoints: 20_000, next: None });
    let left: i64 = store
        .readers
        .read(|connection| Ok(connection.query_row("SELECT count(*) FROM routes", [], |row| row.get(0))?))
        .await
        .unwrap();
    assert_eq!(left, 0);
}
