//! A snapshot that somebody holds open while deliveries settle: what is settled cannot be removed, and must not be read
//! again and again.
//!
//! Time says nothing on a busy machine, so it is counted what the database reads: pages, by statement and delivery. The
//! same as a measurement of time: `cargo run --release -p waxseal-tests --bin snapshot-bench`.

use std::time::Duration;

use waxseal_tests::postgres::Postgres;

use crate::fleet::{Fleet, Start, hold_snapshot, server, until, with_endpoints};
use crate::load::Load;
use crate::receiver::Receiver;

const CONSUMERS: usize = 2;

/// How many deliveries are settled before it is counted anew.
const STRETCH: usize = 600;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_for_a_delivery_does_not_grow_while_a_snapshot_is_held_open() {
    let server = server(&[("shared_preload_libraries", "pg_stat_statements")]);
    let database = server.create_database("snapshot");
    server.execute(&database, "CREATE EXTENSION pg_stat_statements");
    let fleet = Fleet::init(&server.dsn(&database), "");
    // Whoever delivers is told by nobody what came: it reads everything from the database.
    let api = fleet.start_with("api", Start { role: Some("api"), ..Start::default() }).await;
    let engine = fleet.start_with("engine", Start { role: Some("engine"), ..Start::default() }).await;
    let receiver = Receiver::start(Duration::ZERO).await;
    receiver.trust(&fleet, &api.origin).await;
    with_endpoints(&api.api, &receiver, CONSUMERS).await;
    until("it delivers", async || engine.shards().await == 256).await;
    let mut load = Load::start(&fleet, &[api.origin.as_str(); 16], CONSUMERS, Duration::from_millis(2));
    load.more(100).await;

    let free = stretch(&server, &database, &receiver).await;
    let holder = hold_snapshot(&server.dsn(&database)).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(stretch(&server, &database, &receiver).await);
    }
    holder.batch_execute("COMMIT").await.unwrap();
    load.stop().await;
    println!("pages for a delivery: {free:.1} before, {held:.1?} while a snapshot is held");
    let last = *held.last().unwrap();
    assert!(
        last < 2.0 * free + 5.0,
        "{last:.1} pages for a delivery, and {free:.1} without the snapshot: {held:.1?}"
    );
}

/// The pages that are touched for a delivery, by the statements that look at what is live.
async fn stretch(server: &Postgres, database: &str, receiver: &Receiver) -> f64 {
    server.execute(database, "SELECT pg_stat_statements_reset()");
    let before = receiver.count();
    until("more is delivered", async || receiver.count() >= before + STRETCH).await;
    let delivered = u32::try_from(receiver.count() - before).unwrap();
    let shown = server.execute(database, &format!("{MOST_READ} {OF_LIVE} ORDER BY 2 DESC LIMIT 4"));
    println!("{delivered} deliveries; calls, pages, rows:\n{shown}");
    let pages = server.execute(database, &format!("{ALL_READ} {OF_LIVE}"));
    pages.parse::<f64>().unwrap() / f64::from(delivered)
}

const MOST_READ: &str = "SELECT calls, shared_blks_hit + shared_blks_read, rows, left(regexp_replace(query, '\\s+', ' ', 'g'), 80)";

const ALL_READ: &str = "SELECT sum(shared_blks_hit + shared_blks_read)::float8";

const OF_LIVE: &str = "FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid \
    WHERE d.datname = current_database() AND query LIKE '%delivery_live%' AND query NOT LIKE '%pg_stat_statements%'";
