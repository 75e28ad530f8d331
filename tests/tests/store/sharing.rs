//! Writes that share commits, callers that go away, and more callers than the queue has room for.

use std::sync::Arc;

use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{Accepted, Outbox};
use waxseal_tests::store_suite::fixture::{at, event_id, new_delivery, new_event};

use crate::subject;

#[tokio::test]
async fn writes_that_wait_together_share_commits() {
    const WRITES: u32 = 2_000;
    let subject = subject::sqlite().await;
    let before = subject.store.commits();
    accept_together(Arc::new(subject.store), WRITES, before).await;
}

async fn accept_together(store: Arc<SqliteStore>, writes: u32, before: u64) {
    let callers: Vec<_> = (0..writes)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.accept(new_event(number, at(0), vec![])).await.unwrap() })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), Accepted::New);
    }
    // At most 256 share one; waiting callers must not be served one by one either.
    let commits = store.commits() - before;
    assert!(commits >= u64::from(writes / 256) && commits <= u64::from(writes / 4), "{commits} commits");
}

#[tokio::test]
async fn a_lone_write_commits_at_once() {
    let subject = subject::sqlite().await;
    let before = subject.store.commits();
    for number in 0..5 {
        subject.store.accept(new_event(number, at(0), vec![])).await.unwrap();
    }
    assert_eq!(subject.store.commits() - before, 5);
}

#[tokio::test]
async fn one_failing_write_fails_alone() {
    let subject = subject::sqlite().await;
    subject.store.accept(new_event(5, at(0), vec![])).await.unwrap();
    // The second event with an id that is taken cannot be kept; it has written its delivery's rows by then.
    let store = Arc::new(subject.store);
    let callers: Vec<_> = (0..40)
        .map(|number| {
            let event = new_event(number, at(0), vec![new_delivery(number, 1, at(0))]);
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.accept(event).await })
        })
        .collect();
    let mut failed = Vec::new();
    for (number, caller) in (0..).zip(callers) {
        if let Err(error) = caller.await.unwrap() {
            failed.push((number, error.code()));
        }
    }
    assert_eq!(failed, [(5, "store.unavailable")]);
    assert_eq!(store.backlog().await.unwrap().live, 39);
}

#[tokio::test]
async fn callers_that_go_away_stop_nothing() {
    let subject = subject::sqlite().await;
    let store = Arc::new(subject.store);
    // More than the queue has room for; each caller is dropped wherever it is by then.
    let callers: Vec<_> = (0..6_000)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.accept(new_event(number, at(0), vec![])).await })
        })
        .collect();
    tokio::task::yield_now().await;
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    assert_eq!(store.accept(new_event(9_000, at(0), vec![])).await.unwrap(), Accepted::New);
    assert!(store.event(event_id(9_000)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_waits_is_finished_before_closing() {
    let subject = subject::sqlite().await;
    let path = subject.path.clone();
    let store = Arc::new(subject.store);
    let callers: Vec<_> = (0..500)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(
                async move { (number, store.accept(new_event(number, at(0), vec![])).await.is_ok()) },
            )
        })
        .collect();
    tokio::task::yield_now().await;
    store.close().await;
    let mut acknowledged = Vec::new();
    for caller in callers {
        if let (number, true) = caller.await.unwrap() {
            acknowledged.push(number);
        }
    }
    drop(store);
    let store = SqliteStore::open(path).unwrap();
    for number in acknowledged {
        assert!(store.event(event_id(number)).await.unwrap().is_some(), "{number} was acknowledged");
    }
}
