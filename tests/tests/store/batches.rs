//! What shares a commit in the shared store, and what does not: each command is answered on its own.

use std::sync::Arc;

use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::postgres::PostgresStore;
use waxseal_sender::store::{Accepted, NewEvent, Outbox, Outcome, Settled};
use waxseal_tests::store_suite::fixture::{
    at, delivery_id, end_without_attempt, event_id, idempotency, live, new_delivery, new_event, settlement,
};

use crate::subject;

const DELIVERED: Outcome = Outcome::Final(DeliveryState::Delivered);

async fn accept_all(
    store: &Arc<PostgresStore>,
    events: impl Iterator<Item = NewEvent>,
) -> Vec<Result<Accepted, &'static str>> {
    let accept = |event| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.accept(event).await.map_err(|error| error.code()) })
    };
    let callers: Vec<_> = events.map(accept).collect();
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn writes_that_wait_together_share_commits() {
    let store = Arc::new(subject::postgres().await.store);
    let before = store.commits();
    let answers = accept_all(&store, (0..2_000).map(|number| new_event(number, at(0), vec![]))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(Accepted::New)));
    let commits = store.commits() - before;
    assert!((7..=500).contains(&commits), "{commits} commits");
    let before = store.commits();
    for number in 2_000..2_003 {
        store.accept(new_event(number, at(0), vec![])).await.unwrap();
    }
    assert_eq!(store.commits() - before, 3, "a lone write waits for nobody");
}

#[tokio::test]
async fn one_failing_write_fails_alone() {
    let store = Arc::new(subject::postgres().await.store);
    store.accept(new_event(5, at(0), vec![])).await.unwrap();
    let events = (0..40).map(|number| new_event(number, at(0), vec![new_delivery(number, 1, at(0))]));
    let answers = accept_all(&store, events).await;
    for (number, answer) in (0..).zip(answers) {
        let expected = if number == 5 { Err("store.unavailable") } else { Ok(Accepted::New) };
        assert_eq!(answer, expected, "{number}");
    }
    assert_eq!(store.backlog().await.unwrap().live, 39);
}

#[tokio::test]
async fn of_equal_keys_in_one_batch_the_first_is_new() {
    let store = Arc::new(subject::postgres().await.store);
    let events = (0..60).map(|number| NewEvent {
        idempotency: Some(idempotency(u8::try_from(number % 3).unwrap(), u8::from(number >= 50), at(99))),
        ..new_event(number, at(0), vec![new_delivery(number, number % 7, at(0))])
    });
    let answers = accept_all(&store, events).await;
    let new: Vec<_> = (0..).zip(&answers).filter(|(_, answer)| **answer == Ok(Accepted::New)).collect();
    assert_eq!(new.len(), 3, "{answers:?}");
    let first = |key: u32| event_id(new.iter().find(|(number, _)| number % 3 == key).unwrap().0);
    for (number, answer) in (0..60).zip(&answers) {
        let is_first = event_id(number) == first(number % 3);
        let expected = match (is_first, number >= 50) {
            (true, _) => Accepted::New,
            (false, false) => Accepted::Replayed(first(number % 3)),
            (false, true) => Accepted::Conflict(first(number % 3)),
        };
        assert_eq!(*answer, Ok(expected), "{number}");
    }
    assert_eq!(store.backlog().await.unwrap().live, 3);
}

#[tokio::test]
async fn each_settlement_of_a_batch_has_its_own_fence() {
    let store = Arc::new(subject::postgres().await.store);
    let events =
        (0..90).map(|number| new_event(number, at(0), vec![new_delivery(number, number % 9, at(0))]));
    accept_all(&store, events).await;
    let settle = |number: u32, known: u32, outcome| {
        let store = Arc::clone(&store);
        let settlement = settlement(live(number, number, number % 9, at(0), known), outcome, at(1));
        tokio::spawn(async move { store.settle(settlement).await.unwrap() })
    };
    // A third is stale, a third is settled twice at once.
    let callers: Vec<_> = (0..90)
        .map(|number| {
            let again = Outcome::Again { due_at: at(50) };
            let second = (number % 3 == 1).then(|| settle(number, 0, again));
            (number, settle(number, u32::from(number % 3 == 0), DELIVERED), second)
        })
        .collect();
    for (number, first, second) in callers {
        let first = first.await.unwrap();
        match second {
            None if number % 3 == 0 => assert_eq!(first, Settled::Stale, "{number}"),
            None => assert_eq!(first, Settled::Recorded, "{number}"),
            Some(second) => assert_ne!(first, second.await.unwrap(), "{number}"),
        }
        let attempts = store.attempts(delivery_id(number)).await.unwrap();
        assert_eq!(attempts.len(), usize::from(number % 3 != 0), "{number}");
    }
    let end = end_without_attempt(live(0, 0, 0, at(0), 0), DELIVERED, at(2));
    assert_eq!(store.settle(end).await.unwrap(), Settled::Recorded);
}

#[tokio::test]
async fn what_waits_is_finished_before_closing() {
    let subject::Postgres { store, settings } = subject::postgres().await;
    let store = Arc::new(store);
    let callers: Vec<_> = (0..500)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { (number, store.accept(new_event(number, at(0), vec![])).await) })
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let mut acknowledged = Vec::new();
    for caller in callers {
        match caller.await.unwrap() {
            (number, Ok(_)) => acknowledged.push(number),
            (_, Err(error)) => assert_eq!(error.code(), "store.closed"),
        }
    }
    assert!(!acknowledged.is_empty());
    assert_eq!(store.backlog().await.unwrap_err().code(), "store.closed");
    let store = PostgresStore::open(&settings).await.unwrap();
    for number in acknowledged {
        assert!(store.event(event_id(number)).await.unwrap().is_some(), "{number} was acknowledged");
    }
}
