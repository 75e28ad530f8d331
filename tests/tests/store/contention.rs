//! The shared store while its parts are in each other's way: locks that are wanted at the same time in different order, and
//! nodes that stop while they hold one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{Catalog, NodeRole, Outbox, Outcome, Shards};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::cluster::node;
use waxseal_tests::store_suite::fixture::{
    at, endpoint_id, event_id, live, new_delivery, new_event, owner_of, settlement,
};

use crate::subject;

const PATIENCE: Duration = Duration::from_secs(120);

/// Two who lock the same deliveries in different order would wait for each other until the server ends one of them.
#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_cancelled_while_they_are_settled() {
    let subject = subject::postgres().await;
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let store = Arc::new(subject.store);
    const EACH: u32 = 200;
    for round in 0..40 {
        let ids = round * EACH..(round + 1) * EACH;
        let deliveries = ids.clone().map(|id| new_delivery(id, 1, at(0))).collect();
        store.accept(new_event(round, at(0), deliveries)).await.unwrap();
        let settle = |id: u32| {
            let again = Outcome::Again { due_at: at(9) };
            let outcome = if id.is_multiple_of(3) { again } else { Outcome::Final(DeliveryState::Delivered) };
            let (store, live) = (Arc::clone(&store), live(id, round, 1, at(0), 0));
            tokio::spawn(async move { store.settle(settlement(live, outcome, at(1))).await.map(drop) })
        };
        let settled: Vec<JoinHandle<_>> = ids.rev().map(settle).collect();
        tokio::task::yield_now().await;
        let mut cancelled = Vec::new();
        for _ in 0..4 {
            let store = Arc::clone(&store);
            cancelled.push(tokio::spawn(async move { store.cancel(vec![endpoint_id(1)], 60, at(2)).await }));
        }
        for settled in settled {
            settled.await.unwrap().unwrap();
        }
        for cancelled in cancelled {
            cancelled.await.unwrap().unwrap();
        }
    }
    let deadlocks = format!("SELECT deadlocks FROM pg_stat_database WHERE datname = '{database}'");
    // What a connection has counted is told when it ends, at the latest.
    store.close().await;
    assert_eq!(Postgres::shared().wait_for("postgres", &deadlocks, "0"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_made_while_payloads_are_read() {
    let subject = subject::postgres().await;
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let store = Arc::new(subject.store);
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    for _ in 0..6 {
        let last = "SELECT max(right(relname, 8)) FROM pg_class WHERE relname ~ '^attempts_[0-9]{8}$'";
        let last = Postgres::shared().execute(&database, last);
        for table in ["events", "contents", "event_keys", "deliveries", "attempts"] {
            Postgres::shared().execute(&database, &format!("DROP TABLE {table}_{last}"));
        }
        let ended = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..6)
            .map(|_| {
                let (store, ended) = (Arc::clone(&store), Arc::clone(&ended));
                tokio::spawn(async move {
                    while !ended.load(Ordering::Relaxed) {
                        store.payloads(vec![(event_id(1), owner_of(1))]).await.unwrap();
                    }
                })
            })
            .collect();
        PostgresStore::migrate(&subject.settings).await.unwrap();
        let made = format!("SELECT to_regclass('attempts_{last}') IS NOT NULL");
        let made = Postgres::shared().execute(&database, &made);
        ended.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.await.unwrap();
        }
        assert_eq!(made, "t", "readers keep nobody from it for long");
    }
}

/// Whoever renews holds a lock that all others want: one that is gone in the middle must not take all leases with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_in_the_middle_of_renewing_keeps_no_other_from_it_for_long() {
    let server = Postgres::shared();
    let database = server.create_database("renewing");
    let other = PostgresStore::open(&subject::settings(&server.dsn(&database))).await.unwrap();
    let port = frozen_at(server.port(), b"INSERT INTO nodes").await;
    let url = format!("postgres://postgres@127.0.0.1:{port}/{database}");
    let store = PostgresStore::open(&subject::settings(&url)).await.unwrap();
    let cluster = store.cluster().unwrap();
    let stops = tokio::spawn(async move { cluster.tend(&node(1, NodeRole::All)).await });
    let held = "SELECT count(*) > 0 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE l.locktype = 'advisory' AND l.granted AND d.datname = ";
    let held = format!("{held}'{database}'");
    let held = tokio::task::block_in_place(|| server.wait_for(&database, &held, "t"));
    assert_eq!(held, "t", "it has stopped in the middle");
    let cluster = other.cluster().unwrap();
    let tenure = timeout(Duration::from_secs(11), cluster.tend(&node(2, NodeRole::All))).await;
    assert_eq!(tenure.expect("it is taken from it").unwrap().owned(), Shards::ALL);
    stops.abort();
}

/// A lease by a clock that was put back since lasts no longer than any other from now on.
#[tokio::test]
async fn no_lease_lasts_longer_than_it_should_because_the_clock_of_the_database_was_put_back() {
    let shared = subject::shared_postgres().await;
    let database = shared.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let [one, two] = shared.stores.each_ref().map(|store| store.cluster().unwrap());
    one.tend(&node(1, NodeRole::All)).await.unwrap();
    Postgres::shared().execute(&database, "UPDATE nodes SET lease_until = lease_until + interval '1 hour'");
    two.tend(&node(2, NodeRole::All)).await.unwrap();
    let nodes = two.overview().await.unwrap().nodes;
    assert!(nodes.iter().all(|state| state.lease_left <= waxseal_sender::store::LEASE), "{nodes:?}");
}

/// Each connection that is refused takes its time; a batch is refused once, not command by command.
#[tokio::test]
async fn a_server_that_refuses_connections_is_not_asked_for_each_command() {
    let subject = subject::postgres().await;
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let server = Postgres::shared();
    subject.store.accept(new_event(1, at(0), vec![])).await.unwrap();
    server.execute("postgres", &format!("ALTER DATABASE \"{database}\" WITH ALLOW_CONNECTIONS false"));
    let cut = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
    server.execute("postgres", &cut);
    let store = Arc::new(subject.store);
    let callers: Vec<_> = (2..902)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.accept(new_event(number, at(0), vec![])).await })
        })
        .collect();
    let all = async {
        for caller in callers {
            assert!(caller.await.unwrap().is_err());
        }
    };
    timeout(Duration::from_secs(15), all).await.expect("all are answered soon");
}

/// The address of a server by a way on which nothing goes on to it as soon as these words are said.
async fn frozen_at(port: u16, words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let ((mut said, mut hears), (mut answered, mut told)) =
                (client.into_split(), server.into_split());
            tokio::spawn(async move { copy(&mut answered, &mut hears).await });
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = said.read(&mut bytes).await {
                    if bytes[..count].windows(words.len()).any(|window| window == words) {
                        // As from a machine that is gone: it says nothing, and closes nothing.
                        sleep(PATIENCE).await;
                        return;
                    }
                    if told.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address.port()
}
