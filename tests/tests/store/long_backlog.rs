//! What the shared store reads to answer: what concerns a page or one delivery costs no more for a long backlog, whatever
//! the planner thinks of the table.
//!
//! Time says nothing on a busy machine, so it is counted what the database reads: pages, by statement.

use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{Catalog, Outbox, Outcome, Settled, Shard, Shards};
use waxseal_tests::postgres::{Postgres as Server, PostgresSetup};
use waxseal_tests::store_suite::fixture::{
    at, delivery_id, endpoint_id, live, new_delivery, new_event, settlement,
};

use crate::subject;

/// Deliveries of one endpoint, before and after those that something is done with.
const BACKLOG: u32 = 20_000;

/// As many are read at once, or cancelled.
const SOME: u32 = 50;

/// What a statement may touch for so many; it touches the indexes of each once or twice.
const MOST: u64 = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_or_a_settlement_costs_no_more_for_a_long_backlog() {
    let settings = [("shared_preload_libraries", "pg_stat_statements"), ("autovacuum", "off")];
    let server = Server::start_with(&PostgresSetup { settings: &settings, ..PostgresSetup::default() });
    let database = server.create_database("plans");
    server.execute(&database, "CREATE EXTENSION pg_stat_statements");
    let store = PostgresStore::open(&subject::settings(&server.dsn(&database))).await.unwrap();
    // Each statement is prepared, and its plan is one for a table that was empty when it was looked at last.
    for number in 1..=8 {
        store.accept(new_event(number, at(0), vec![new_delivery(number, 1, at(0))])).await.unwrap();
        use_all(&store, number).await;
    }
    server.execute(&database, "VACUUM (ANALYZE) delivery_live");
    lengthen(&server, &database);
    server.execute(&database, "SELECT pg_stat_statements_reset()");
    for number in 9..=12 {
        store.accept(new_event(number, at(0), vec![new_delivery(number, 1, at(0))])).await.unwrap();
        use_all(&store, number).await;
    }
    let read = server.execute(&database, READ);
    assert_eq!(read.lines().count(), 7, "each of the statements is judged:\n{read}");
    for line in read.lines() {
        let (pages, statement) = line.split_once('|').unwrap();
        assert!(pages.parse::<u64>().unwrap() <= MOST, "{pages} pages for each run of {statement}");
    }
}

/// Uses each statement that is to look at some of what is live; the delivery with this number is settled.
async fn use_all(store: &PostgresStore, number: u32) {
    let endpoint = endpoint_id(1);
    let everywhere = Shards::ALL.iter().map(|shard| (shard, delivery_id(0))).collect();
    store.cluster().unwrap().arrivals(everywhere, SOME).await.unwrap();
    store.due(endpoint, None, at(1_000_000), SOME).await.unwrap();
    store.in_order(endpoint, None, SOME).await.unwrap();
    store.expired([Shard::of(endpoint)].into_iter().collect(), at(90), SOME).await.unwrap();
    store.endpoints_with_work(Shards::ALL).await.unwrap();
    let again = settlement(live(number, number, 1, at(0), 0), Outcome::Again { due_at: at(5) }, at(1));
    assert_eq!(store.settle(again).await.unwrap(), Settled::Recorded);
    let end = Outcome::Final(DeliveryState::Delivered);
    let end = settlement(live(number, number, 1, at(5), 1), end, at(2));
    assert_eq!(store.settle(end).await.unwrap(), Settled::Recorded);
    store.cancel(vec![endpoint], SOME, at(3)).await.unwrap();
}

/// Adds the backlog: to the same endpoint, with ids and times on both sides of the others.
fn lengthen(server: &Server, database: &str) {
    for first in ["00000000", "ffffffff"] {
        let endpoint = uuid(endpoint_id(1).as_bytes());
        let shard = Shard::of(endpoint_id(1)).number();
        let add = format!(
            "INSERT INTO delivery_live SELECT {shard}, '{endpoint}',
                 ('{first}-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, '{endpoint}', {due} + n, 0, 1
                 FROM generate_series(1, {BACKLOG}) AS n",
            due = if first == "00000000" { 0 } else { at(10).as_millis() },
        );
        server.execute(database, &add);
    }
}

fn uuid(bytes: &[u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const READ: &str =
    "SELECT (shared_blks_hit + shared_blks_read) / calls, left(regexp_replace(query, '\\s+', ' ', 'g'), 80)
    FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
    WHERE d.datname = current_database() AND query LIKE '%delivery_live%' AND query NOT LIKE 'INSERT %'
        AND query NOT LIKE '%INSERT INTO events%' AND query NOT LIKE '%pg_stat_statements%'";
