//! What only the inside can provoke: a full disk, a panicking command, statements that must use an index.

use std::task::Poll;

use futures_util::future::join_all;
use rusqlite::params_from_iter;
use tempfile::TempDir;
use waxseal_keys::Timestamp;

use super::SqliteStore;
use super::failure::Failure;
use super::forget::LOOK_AT;
use super::merge::Range;
use super::prune::OLDEST;
use super::search::{MOST_LOOKED_AT, MOST_RANGES};
use crate::id::{ConsumerId, DeliveryId, EndpointId, EventId};
use crate::model::delivery::DeliveryState;
use crate::store::{
    Accepted, DeliveryFilter, DeliveryPage, Idempotency, NewDelivery, NewEvent, Order, Outbox, Outcome,
    Settlement, StoreError,
};

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
        changes: Vec::new(),
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
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
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
async fn a_disk_that_becomes_read_only_is_named_and_nothing_is_lost() {
    let (store, _folder) = store();
    let (before, after) = (event(100), event(100));
    store.accept(before.clone()).await.unwrap();
    // What SQLite answers where a file may not be written any more.
    let refused = store.writer.write(|session| {
        session.connection().pragma_update(None, "query_only", "ON")?;
        let written = session.prepare("DELETE FROM events")?.execute([]);
        session.connection().pragma_update(None, "query_only", "OFF")?;
        Ok(written?)
    });
    let refused = refused.await;
    assert!(matches!(refused, Err(StoreError::ReadOnly)), "{refused:?}");
    assert!(store.event(before.id).await.unwrap().is_some());
    assert_eq!(store.accept(after).await.unwrap(), Accepted::New);
    assert_eq!(store.damage(), None);
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
        "SELECT id, event, due_at, attempts_made FROM delivery_live INDEXED BY delivery_live_by_id
             WHERE route = 1 AND id > x'00' ORDER BY id LIMIT 3",
        "SELECT (SELECT min(route) FROM delivery_live WHERE route > 1)",
        "DELETE FROM delivery_live WHERE route = 1 AND id = x'00' AND attempts_made = 2",
        "SELECT l.id FROM delivery_live l CROSS JOIN routes r ON r.no = l.route
             WHERE l.expires_at IS NOT NULL AND l.expires_at <= 5 ORDER BY l.expires_at LIMIT 3",
        OLDEST,
        LOOK_AT,
    ];
    let lists = [
        Range::All,
        Range::OfEvent(EventId::from_bytes([1; 16])),
        Range::Live { route: 1 },
        Range::Ended { route: 1, state: 2 },
        Range::Failed { state: 2 },
    ];
    let queries: Vec<_> = queries.into_iter().chain(lists.into_iter().flat_map(Range::sql)).collect();
    let plans: Vec<String> = store
        .readers
        .read(move |connection| {
            let mut plans = Vec::new();
            for query in queries {
                let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}"))?;
                let unbound = vec![None::<i64>; plan.parameter_count()];
                let steps = plan
                    .query_map(params_from_iter(unbound), |row| row.get::<_, String>(3))?
                    .collect::<Result<Vec<_>, _>>()?;
                plans.push(steps.join("; "));
            }
            Ok::<_, Failure>(plans)
        })
        .await
        .unwrap();
    for plan in &plans {
        assert!(!plan.contains("SCAN delivery_live") && !plan.contains("SCAN attempts"), "{plan}");
        assert!(!plan.contains("SCAN events"), "{plan}");
        assert!(!plan.contains("SCAN deliveries") && !plan.contains("TEMP B-TREE"), "{plan}");
    }
}

/// 100,000 deliveries of 100 endpoints, all but ten delivered, written past the writer's verbs to save time.
async fn a_long_history(store: &SqliteStore) {
    store
        .writer
        .write(|session| {
            session.connection().execute_batch(
                "WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99)
                     INSERT INTO routes SELECT n + 1, randomblob(16), 'consumer-' || (n / 10) FROM n;
                 WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 99999)
                     INSERT INTO events (no, id, accepted_at, event_type, sealed)
                         SELECT n + 1, unhex(printf('%032X', n)), n, 'order.created', x'' FROM n;
                 UPDATE events SET event_type = 'order.rare' WHERE no % 20000 = 7;
                 INSERT INTO deliveries SELECT id, id, no % 100 + 1 FROM events;
                 INSERT INTO attempts (delivery, number, route, state, recorded_at)
                     SELECT id, 1, no % 100 + 1, CASE WHEN no % 10000 = 7 THEN 2 ELSE 1 END, no FROM events;",
            )?;
            Ok(())
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_page_of_a_long_history_costs_a_bounded_effort_and_all_pages_find_all() {
    let (store, _folder) = store();
    a_long_history(&store).await;
    let rare =
        DeliveryFilter { event_types: vec!["order.rare".to_owned()], limit: 50, ..DeliveryFilter::default() };
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let mut rest = DeliveryFilter { order, ..rare.clone() };
        let (mut found, mut pages) = (0, 1);
        loop {
            let page = store.deliveries(rest.clone()).await.unwrap();
            found += page.deliveries.len();
            let Some(reached) = page.reached else { break };
            rest = rest.behind(reached);
            pages += 1;
        }
        assert_eq!((found, pages), (5, 100_000 / MOST_LOOKED_AT + 1));
    }
    // What there is an index for is found at once: the few that failed, among all and of one consumer.
    for consumer in [None, Some(ConsumerId::parse("consumer-0").unwrap())] {
        let states = vec![DeliveryState::Exhausted, DeliveryState::Refused];
        let failed = DeliveryFilter { consumer, states, limit: 50, ..DeliveryFilter::default() };
        let page = store.deliveries(failed).await.unwrap();
        assert_eq!((page.deliveries.len(), page.reached), (10, None));
    }
    let nobody = ConsumerId::parse("nobody").unwrap();
    let nothing = DeliveryFilter { consumer: Some(nobody), limit: 50, ..DeliveryFilter::default() };
    assert_eq!(store.deliveries(nothing).await.unwrap(), DeliveryPage::default());
}

#[tokio::test]
async fn a_consumer_with_more_endpoints_than_can_be_merged_is_searched_one_by_one() {
    let (store, _folder) = store();
    let consumer = ConsumerId::parse("acme").unwrap();
    let count = u32::try_from(MOST_RANGES).unwrap() + 1;
    let deliveries = (0..count).map(|n| {
        let mut endpoint = [9; 16];
        endpoint[..4].copy_from_slice(&n.to_be_bytes());
        let (id, endpoint) = (DeliveryId::generate(NOW), EndpointId::from_bytes(endpoint));
        NewDelivery { id, endpoint, consumer: consumer.clone(), due_at: NOW, expires_at: None }
    });
    let event = NewEvent { deliveries: deliveries.collect(), ..event(10) };
    store.accept(event.clone()).await.unwrap();
    let first = &event.deliveries[0];
    let live = store.delivery(first.id).await.unwrap().unwrap().live().unwrap();
    let outcome = Outcome::Final(DeliveryState::Cancelled);
    store
        .settle(Settlement { delivery: live, attempt: None, outcome, at: NOW, changes: Vec::new() })
        .await
        .unwrap();
    for (states, expected) in [(vec![DeliveryState::Cancelled], 1), (vec![DeliveryState::Pending], count - 1)]
    {
        let limit = count * 2;
        for consumer in [None, Some(consumer.clone())] {
            let filter =
                DeliveryFilter { consumer, states: states.clone(), limit, ..DeliveryFilter::default() };
            let page = store.deliveries(filter).await.unwrap();
            assert_eq!(page.deliveries.len(), usize::try_from(expected).unwrap());
        }
    }
}
