//! What the shared store reads for an answer: the rows of the answer, and not all that there is. The database counts it.

use std::collections::BTreeMap;
use std::time::Duration;

use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::database::Database;
use waxseal_sender::id::DeliveryId;
use waxseal_sender::model::delivery::LiveDelivery;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{DuePosition, Kept, NewDelivery, Outbox};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::aging::prune_all;
use waxseal_tests::store_suite::fixture::{at, delivery_id, endpoint_id, new_delivery, new_event};

use crate::schema::{accept, deliver, exists, make_day, name};
use crate::subject;

/// A database whose reads are counted.
pub struct Counted {
    settings: Database,
    pub name: String,
}

impl Counted {
    /// Of a new store.
    pub async fn new() -> (PostgresStore, Self) {
        let subject::Postgres { store, settings } = subject::postgres().await;
        let name = settings.to_string().rsplit_once('/').unwrap().1.to_owned();
        (store, Self { settings, name })
    }

    pub fn run(&self, sql: &str) -> String {
        Postgres::shared().execute(&self.name, sql)
    }

    /// How many blocks of this table are looked at for this, by a new store.
    pub async fn blocks(&self, table: &str, work: impl AsyncFnOnce(&PostgresStore)) -> u64 {
        let blocks = || {
            let sql = "SELECT coalesce(sum(heap_blks_read + heap_blks_hit), 0) FROM pg_statio_user_tables";
            self.run(&format!("{sql} WHERE relname = '{table}'")).parse::<u64>().unwrap()
        };
        self.others_end();
        let before = blocks();
        self.work(work).await;
        blocks() - before
    }

    /// How many entries of each index of this table, and rows without one, a new store reads for this.
    pub async fn reads(&self, table: &str, work: impl AsyncFnOnce(&PostgresStore)) -> BTreeMap<String, u64> {
        let before = self.all_reads(table);
        self.work(work).await;
        let mut reads = self.all_reads(table);
        for (what, count) in &mut reads {
            *count -= before.get(what).copied().unwrap_or(0);
        }
        reads.retain(|_, count| *count > 0);
        reads
    }

    async fn work(&self, work: impl AsyncFnOnce(&PostgresStore)) {
        let store = PostgresStore::open(&self.settings).await.unwrap();
        work(&store).await;
        store.close().await;
        drop(store);
        self.others_end();
    }

    /// What a connection has counted is told when it ends, at the latest.
    fn others_end(&self) {
        let others = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        assert_eq!(Postgres::shared().wait_for(&self.name, others, "0"), "0", "connections end");
    }

    fn all_reads(&self, table: &str) -> BTreeMap<String, u64> {
        self.others_end();
        let rows = self.run(&format!(
            "SELECT indexrelname, idx_tup_read FROM pg_stat_user_indexes WHERE relname = '{table}'
             UNION ALL SELECT 'no index', seq_tup_read FROM pg_stat_user_tables WHERE relname = '{table}'"
        ));
        let read = |row: &str| {
            let (what, count) = row.split_once('|').unwrap();
            (what.to_owned(), count.parse().unwrap())
        };
        rows.lines().map(read).collect()
    }
}

/// One endpoint's backlog is long and not due, and its shard has others.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_long_backlog_what_is_due_is_read_and_nothing_else() {
    const DUE: u32 = 20;
    const CALLS: u64 = 12;
    let (store, counted) = Counted::new().await;
    // Both are of one shard.
    let (one, other) = (1, 0x101);
    for number in 1..=DUE {
        let deliveries = vec![
            new_delivery(number, one, at(i64::from(number))),
            new_delivery(1_000 + number, other, at(i64::from(number))),
        ];
        store.accept(new_event(number, at(0), deliveries)).await.unwrap();
    }
    store.close().await;
    counted.run(
        "INSERT INTO delivery_live
             SELECT shard, endpoint, gen_random_uuid(), event, due_at + 1000000 + n, 0, NULL
                 FROM delivery_live, generate_series(1, 1000) AS n",
    );
    // With what the database knows of a table that has grown since, and of this one.
    for known in ["SELECT", "ANALYZE delivery_live"] {
        counted.run(known);
        let from = |number: u32| Some(DuePosition { due_at: at(i64::from(number)), id: delivery_id(number) });
        let reads = counted.reads("delivery_live", async |store| {
            for _ in 0..CALLS {
                let due = store.due(endpoint_id(one), None, at(1_000), 100).await.unwrap();
                assert_eq!(due.len(), 20);
                let due = store.due(endpoint_id(one), from(5), at(1_000), 7).await.unwrap();
                assert_eq!(due.len(), 7);
                assert_eq!(store.due(endpoint_id(one), from(DUE), at(1_000), 7).await.unwrap(), []);
            }
        });
        let expected = BTreeMap::from([("delivery_live_due".to_owned(), 27 * CALLS)]);
        assert_eq!(reads.await, expected, "after {known}");
        let reads = counted.reads("delivery_live", async |store| {
            for _ in 0..CALLS {
                assert_eq!(store.in_order(endpoint_id(one), None, 9).await.unwrap().len(), 9);
            }
        });
        let expected = BTreeMap::from([("delivery_live_pkey".to_owned(), 9 * CALLS)]);
        assert_eq!(reads.await, expected, "after {known}");
    }
}

/// However much is live, and somebody still waits for one content of that day or for none.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_live_is_not_walked_over_for_a_day_of_contents() {
    let (store, counted) = Counted::new().await;
    let (now, old) = (SystemClock.now(), ago(10));
    make_day(&counted.name, old);
    let (first, today) = (accept(&store, old, 1).await, accept(&store, now, 2).await);
    deliver(&store, &first, ago(9)).await;
    counted.run(
        "INSERT INTO delivery_live
             SELECT shard, endpoint, gen_random_uuid(), event, due_at + n, 0, NULL
                 FROM delivery_live, generate_series(1, 20000) AS n; ANALYZE delivery_live",
    );
    let again = LiveDelivery { id: DeliveryId::generate(now), due_at: now, ..first.clone() };
    let LiveDelivery { id, endpoint, consumer, due_at, .. } = again.clone();
    let new = NewDelivery { id, endpoint, consumer, due_at, expires_at: None };
    store.redeliver(vec![(new, again.event)], Vec::new()).await.unwrap();
    store.close().await;
    for waits in [true, false] {
        let reads = counted.reads("delivery_live", async |store| {
            prune_all(store, Kept::Contents, ago(5), 100).await;
        });
        let reads: u64 = reads.await.values().sum();
        assert!(reads < 20, "{reads} of what is live");
        assert_eq!(exists(&counted.name, "contents", old), waits);
        counted
            .reads("delivery_live", async |store| {
                let kept = store.event(today.event).await.unwrap().unwrap().content_kept;
                assert!(kept && store.event(first.event).await.unwrap().unwrap().content_kept == waits);
                if waits {
                    deliver(store, &again, now).await;
                }
            })
            .await;
    }
}

/// Of many attempts one is too young, or none is.
#[tokio::test(flavor = "multi_thread")]
async fn attempts_are_not_walked_over_for_a_day_of_records() {
    let (store, counted) = Counted::new().await;
    let old = ago(10);
    make_day(&counted.name, old);
    deliver(&store, &accept(&store, old, 1).await, ago(9)).await;
    prune_all(&store, Kept::Contents, ago(5), 100).await;
    store.close().await;
    let (attempts, deliveries) = (format!("attempts_{}", name(old)), format!("deliveries_{}", name(old)));
    let other = |id: &str| format!("(left({id}::text, 24) || lpad(to_hex(n), 12, '0'))::uuid");
    let (attempted, made, of) = (other("delivery"), other("id"), other("event"));
    let add = |count: u32, recorded: &str| {
        counted.run(&format!(
            "INSERT INTO {attempts} (delivery, number, endpoint, state, recorded_at)
                 SELECT {attempted}, 1, endpoint, 1, {recorded} FROM (SELECT * FROM {attempts} LIMIT 1) AS one,
                     generate_series({count}, 2 * {count} - 1) AS n"
        ));
    };
    add(60_000, "recorded_at + n");
    counted.run(&format!(
        "INSERT INTO {deliveries} SELECT {made}, {of}, endpoint FROM {deliveries}, generate_series(1, 20000) AS n"
    ));
    add(1, &SystemClock.now().as_millis().to_string());
    counted.run(&format!("VACUUM (ANALYZE) {attempts}; VACUUM (ANALYZE) {deliveries}"));
    let all: u64 = counted.run(&format!("SELECT pg_relation_size('{attempts}') / 8192")).parse().unwrap();

    let prune = async |store: &PostgresStore| {
        prune_all(store, Kept::Records, ago(5), 100).await;
    };
    let blocks = counted.blocks(&attempts, prune).await;
    assert!(exists(&counted.name, "attempts", old), "one of them is too young");
    assert!(all > 500 && blocks < 200, "{blocks} of {all} blocks");
    let reads: u64 = counted.reads(&deliveries, prune).await.values().sum();
    assert!(reads < 100, "{reads} of 20000 deliveries");
    counted.run(&format!("DELETE FROM {attempts} WHERE recorded_at > {}", ago(5).as_millis()));
    counted.reads(&deliveries, prune).await;
    assert!(!exists(&counted.name, "attempts", old));
}

fn ago(days: u32) -> Timestamp {
    SystemClock.now().saturating_sub(Duration::from_secs(86_400) * days)
}
