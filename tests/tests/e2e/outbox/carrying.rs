//! What was committed arrives once, whatever becomes of relays and of the sender.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::sender::SenderFolder;

use super::Shop;
use crate::support::{TYPE, endpoint, register};

const PRODUCERS: u64 = 3;
const KILLS: usize = 12;

/// Publishes with its own rows, and commits or rolls back, until it is told to stop; returns what it committed.
async fn produce(shop: Arc<Shop>, first: u64, stop: Arc<AtomicBool>) -> Vec<u64> {
    let mut client = shop.connect().await;
    let (mut committed, mut next) = (Vec::new(), first);
    while !stop.load(Ordering::SeqCst) {
        let transaction = client.transaction().await.unwrap();
        let mut made = Vec::new();
        // Looks like chance, and is the same every time.
        let chance = next.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        for _ in 0..=chance % 4 {
            let n = i64::try_from(next).unwrap();
            transaction.execute("INSERT INTO orders VALUES ($1)", &[&n]).await.unwrap();
            let publish =
                "SELECT waxseal_outbox.publish($1, jsonb_build_object('n', $2::bigint), consumer => 'acme')";
            transaction.execute(publish, &[&TYPE, &n]).await.unwrap();
            made.push(next);
            next += PRODUCERS;
        }
        if chance % 3 == 0 {
            sleep(Duration::from_millis(chance % 40)).await;
        }
        if chance % 5 < 2 {
            transaction.rollback().await.unwrap();
        } else {
            transaction.commit().await.unwrap();
            committed.extend(made);
        }
    }
    committed
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_what_was_committed_arrives_however_often_relays_and_the_sender_are_killed() {
    let shop = Arc::new(Shop::open("carrying"));
    let folder = SenderFolder::init("", None);
    let mut sender = folder.start().await;
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["orders"],
        protection: "signed",
        keys: &[],
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    });
    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &consumer.url("orders"), "signed", None).await;

    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|first| tokio::spawn(produce(Arc::clone(&shop), first, Arc::clone(&stop))))
        .collect();
    let mut relays = [shop.relay(&folder), shop.relay(&folder)];
    for kill in 0..KILLS {
        // Differs from round to round, so that the kill meets other moments.
        sleep(Duration::from_millis(150 + 37 * u64::try_from(kill).unwrap())).await;
        if kill % 4 == 3 {
            sender.process.kill();
            sender = folder.start().await;
        }
        relays[kill % 2].kill();
        relays[kill % 2] = shop.relay(&folder);
    }
    stop.store(true, Ordering::SeqCst);
    let mut committed = BTreeSet::new();
    for producer in producers {
        committed.extend(producer.await.unwrap());
    }
    assert!(committed.len() > 50, "only {} events were committed", committed.len());
    assert_eq!(shop.sql("SELECT count(*) FROM orders"), committed.len().to_string());

    let taken = consumer.until_taken(committed.len()).await;
    let left = shop.server.wait_for(&shop.database, "SELECT count(*) FROM waxseal_outbox.outbox", "0");
    assert_eq!((left.as_str(), shop.rows("refused")), ("0", 0));
    for relay in relays {
        assert!(relay.stop().success(), "a relay that is asked to stop ends well");
    }
    // Nothing came twice: a second event of the same row would have an id of its own, and be taken too.
    sender.api.until("/v1/deliveries?state=pending,retrying&limit=1", |page| page["data"] == json!([])).await;
    let all = consumer.taken();
    assert!(all.len() >= taken.len());
    let numbers: Vec<u64> = all
        .iter()
        .map(|taken| serde_json::from_str::<Value>(&taken.data).unwrap()["n"].as_u64().unwrap())
        .collect();
    let arrived: BTreeSet<_> = numbers.iter().copied().collect();
    assert_eq!(arrived, committed);
    assert_eq!(numbers.len(), committed.len(), "something was accepted twice");
}
