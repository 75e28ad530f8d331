//! What only the inside can provoke: a full disk, a panicking command, statements that must use an index.

use std::task::Poll;

use futures_util::future::join_all;
use tempfile::TempDir;
use waxseal_keys::Timestamp;

use super::SqliteStore;
use super::failure::Failure;
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::store::{Accepted, Idempotency, NewDelivery, NewEvent, Outbox, StoreError};

const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

fn store() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(folder.path().join("store.db")).unwrap(), folder)
}

fn event(bytes: usize) -> NewEvent {
    let consumer = ConsumerId::parse("acme").unwrap();
    let endpoint = EndpointId::from_bytes([7; 16]);
    let id = DeliveryId::generate(NOW);
    NewEvent {
        id: EventId::generate(NOW),
        accepted_at: NOW,
        expires_at: None,
        event_type: "order.created".to_owned(),
        sealed: vec![0x5A; bytes],
        wrapped_keys: vec![(consumer.clone(), vec![1; 60])],
        deliveries: vec![NewDelivery { id, endpoint, consumer, due_at: NOW, expires_at: None }],
        idempotency: None,
    }
}

/// Lets the database grow by so many pages and no more.
async fn room_for(store: &SqliteStore, pages: u32) {
    store
        .writer
        .write(move |session| {
            let used: u32 = session.connection().query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let limit = format!("PRAGMA max_page_count = {}", used + pages);
            session.connection().query_row(&limit, [], |_| Ok(()))?;
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_else() {
    let (store, _folder) = store();
    room_for(&store, 20).await;
    let (large, small) = (event(200_000), event(100));
    let (large_id, small_id) = (large.id, small.id);
    let (refused, accepted) = tokio::join!(store.accept(large.clone()), store.accept(small));
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(accepted.unwrap(), Accepted::New);
    assert_eq!(store.event(large_id).await.unwrap(), None);
    assert_eq!(store.delivery(large.deliveries[0].id).await.unwrap(), None);
    assert!(store.event(small_id).await.unwrap().is_some());
    assert_eq!(store.backlog().await.unwrap().live, 1);

    room_for(&store, 1_000).await;
    assert_eq!(store.accept(large).await.unwrap(), Accepted::New);
    assert_eq!(store.backlog().await.unwrap().live, 2);
}

#[tokio::test]
async fn a_panicking_command_is_undone_and_answered() {
    let (store, _folder) = store();
    let kept = event(10);
    let id = kept.id;
    let panicking = store.writer.write::<(), _>(move |session| {
        session.prepare("DELETE FROM events")?.execute([])?;
        panic!("on purpose")
    });
    let (before, panicked) = tokio::join!(store.accept(kept), panicking);
    before.unwrap();
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
    assert!(store.event(id).await.unwrap().is_some());
    let panicked = store.readers.read::<(), _>(|_| panic!("on purpose")).await;
    assert!(matches!(panicked, Err(StoreError::Unavailable(_))), "{panicked:?}");
    assert!(store.event(id).await.unwrap().is_some());
}

#[tokio::test]
async fn a_dropped_caller_does_not_take_its_command_back() {
    let (store, _folder) = store();
    let dropped = event(10);
    let id = dropped.id;
    let mut accept = Box::pin(store.accept(dropped));
    // One poll queues the command; its answer is not there yet or never looked at.
    std::future::poll_fn(|context| Poll::Ready(accept.as_mut().poll(context).is_ready())).await;
    drop(accept);
    assert_eq!(store.accept(event(10)).await.unwrap(), Accepted::New);
    assert!(store.event(id).await.unwrap().is_some());
}

#[tokio::test]
async fn expired_idempotency_keys_are_swept_by_new_ones() {
    let (store, _folder) = store();
    let keyed = |number: u64, seconds| {
        let mut key = [0; 32];
        // Spread evenly, as keyed fingerprints are.
        key[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
        let idempotency =
            Idempotency { key, content: [1; 32], expires_at: Timestamp::from_seconds(seconds + 60) };
        NewEvent {
            accepted_at: Timestamp::from_seconds(seconds),
            deliveries: Vec::new(),
            idempotency: Some(idempotency),
            ..event(1)
        }
    };
    join_all((0..400).map(|number| store.accept(keyed(number, 0)))).await;
    join_all((400..1_200).map(|number| store.accept(keyed(number, 100)))).await;
    let (expired, fresh): (u32, u32) = store
        .readers
        .read(|connection| {
            let sql = "SELECT count(*) FILTER (WHERE expires_at = 60000), count(*) FILTER (WHERE expires_at > 60000)
                           FROM idempotency";
            Ok(connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
        .await
        .unwrap();
    assert!(expired < 40, "{expired} of 400 expired keys are still there");
    assert_eq!(fresh, 800);
}

#[tokio::test]
async fn what_the_engine_and_people_ask_for_is_found_by_index() {
    let (store, _folder) = store();
    let queries = [
        "SELECT id, event, due_at, attempts_made, expires_at FROM delivery_live
             WHERE route = 1 AND (due_at, id) > (1, x'00') AND due_at <= 2 ORDER BY due_at, id LIMIT 3",
        "SELECT (SELECT min(route) FROM delivery_live WHERE route > 1)",
        "SELECT id FROM delivery_live WHERE route = 1 AND id < x'00' ORDER BY id DESC LIMIT 1",
        "SELECT delivery FROM attempts WHERE state IS NOT NULL AND route = 1 AND state = 2 AND delivery < x'00'
             ORDER BY delivery DESC LIMIT 1",
        "SELECT id FROM deliveries WHERE event = x'00' AND id < x'01' ORDER BY id DESC",
        "DELETE FROM delivery_live WHERE route = 1 AND id = x'00' AND attempts_made = 2",
        "SELECT l.id FROM delivery_live l CROSS JOIN routes r ON r.no = l.route
             WHERE l.expires_at IS NOT NULL AND l.expires_at <= 5 ORDER BY l.expires_at LIMIT 3",
    ];
    let plans: Vec<String> = store
        .readers
        .read(move |connection| {
            let mut plans = Vec::new();
            for query in queries {
                let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                let steps =
                    plan.query_map([], |row| row.get::<_, String>(3))?.collect::<Result<Vec<_>, _>>()?;
                plans.push(steps.join("; "));
            }
            Ok::<_, Failure>(plans)
        })
        .await
        .unwrap();
    for plan in &plans {
        assert!(!plan.contains("SCAN delivery_live") && !plan.contains("SCAN attempts"), "{plan}");
        assert!(!plan.contains("SCAN deliveries") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}
