//! What the shared store reads for an answer: the rows of the answer, and not all that there is. The database counts it.

use std::collections::BTreeMap;

use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::database::Database;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{DuePosition, Outbox};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::fixture::{at, delivery_id, endpoint_id, new_delivery, new_event};

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

    /// How many entries of each index of this table, and rows without one, a new store reads for this.
    pub async fn reads(&self, table: &str, work: impl AsyncFnOnce(&PostgresStore)) -> BTreeMap<String, u64> {
        let before = self.all_reads(table);
        let store = PostgresStore::open(&self.settings).await.unwrap();
        work(&store).await;
        // What a connection has counted is told when it ends, at the latest.
        store.close().await;
        drop(store);
        let mut reads = self.all_reads(table);
        for (what, count) in &mut reads {
            *count -= before.get(what).copied().unwrap_or(0);
        }
        reads.retain(|_, count| *count > 0);
        reads
    }

    fn all_reads(&self, table: &str) -> BTreeMap<String, u64> {
        let others = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        assert_eq!(Postgres::shared().wait_for(&self.name, others, "0"), "0", "connections end");
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
