//! Attempts from the inbox: again and later if they fail, safe while they are at work, cancelled if they hang.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{Semaphore, oneshot};
use waxseal_receiver::Received;

use crate::setup::{End, Order, Script, Setup, retry};

#[tokio::test]
async fn what_fails_or_panics_is_tried_again_later_and_later() {
    let setup = Setup::new();
    setup.take(&["evt_1"]).await;
    let script = Script::new(&[End::Failure, End::Panic, End::Failure]);
    for (attempt, wait) in [(1, 1), (2, 2), (3, 4)] {
        setup.work(&script, retry(9), async || script.seen().len() == attempt).await;
        assert_eq!(setup.backlog().await, (1, 0));
        setup.clock.advance(Duration::from_millis(wait * 1000 - 1));
        let before = script.seen().len();
        // Another event comes through meanwhile, so the worker has looked and left the first alone.
        let other = format!("evt_between_{attempt}");
        let early = Script::default();
        setup.take(&[&other]).await;
        setup.work(&early, retry(9), async || setup.backlog().await == (1, 0)).await;
        assert_eq!((early.seen(), script.seen().len()), (vec![other], before));
        setup.clock.advance(Duration::from_millis(1));
    }
    setup.work(&script, retry(9), async || setup.backlog().await == (0, 0)).await;
    assert_eq!(script.seen(), ["evt_1"; 4]);
}

#[tokio::test]
async fn an_attempt_at_work_is_nobody_elses_until_its_lease_has_run_out() {
    let setup = Setup::new();
    setup.take(&["evt_1"]).await;
    let gate = Arc::new(Semaphore::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let slow = {
        let (gate, begun) = (gate.clone(), begun.clone());
        setup.inbox.worker(move |_: Received<Order>| {
            let gate = gate.clone();
            begun.fetch_add(1, Ordering::SeqCst);
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, &str>(())
            }
        })
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let slow = tokio::spawn(slow.run(async { drop(stopped.await) }));
    let script = Script::default();
    setup.work(&script, retry(3), async || begun.load(Ordering::SeqCst) == 1).await;
    setup.clock.advance(Duration::from_secs(59));
    setup.take(&["evt_2"]).await;
    setup.work(&script, retry(3), async || setup.backlog().await == (1, 0)).await;
    assert_eq!(script.seen(), ["evt_2"]);
    setup.clock.advance(Duration::from_secs(1));
    // Taken over, the event is not the first one's to end: it succeeds, and nothing is deleted.
    let second = Script::new(&[End::Failure]);
    setup.work(&second, retry(3), async || second.seen().len() == 1).await;
    gate.add_permits(1);
    drop(stop);
    slow.await.unwrap();
    assert_eq!(setup.backlog().await, (1, 0));
    setup.clock.advance(Duration::from_secs(2));
    setup.work(&second, retry(3), async || setup.backlog().await == (0, 0)).await;
    assert_eq!(second.seen(), ["evt_1", "evt_1"]);
}

#[tokio::test]
async fn shutting_down_finishes_what_was_begun() {
    let setup = Setup::new();
    setup.take(&["evt_1", "evt_2"]).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let stop = std::sync::Mutex::new(Some(stop));
    let worker = setup.inbox.worker(move |_: Received<Order>| {
        drop(stop.lock().unwrap().take());
        async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok::<_, &str>(())
        }
    });
    let worker = worker.concurrency(1);
    worker.run(async { drop(stopped.await) }).await;
    assert_eq!(setup.backlog().await, (1, 0), "the one at work is done, the other was not begun");
}

#[tokio::test]
async fn a_handler_that_hangs_is_cancelled_and_counts_as_failed() {
    let setup = Setup::new();
    setup.take(&["evt_1"]).await;
    let hung = setup.inbox.worker(|_: Received<Order>| std::future::pending::<Result<(), &str>>());
    let (stop, stopped) = oneshot::channel::<()>();
    let hung = hung.handler_timeout(Duration::from_millis(10)).lease(Duration::from_secs(1)).retry(retry(3));
    let hung = tokio::spawn(hung.run(async { drop(stopped.await) }));
    let counted = async {
        while setup.backlog().await != (1, 0) || !reason_is(&setup, "receive.handler_slow") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), counted).await.unwrap();
    drop(stop);
    hung.await.unwrap();
}

fn reason_is(setup: &Setup, reason: &str) -> bool {
    let database = rusqlite::Connection::open(setup.path()).unwrap();
    let found: Option<String> = database.query_row("SELECT reason FROM inbox", [], |row| row.get(0)).unwrap();
    found.as_deref() == Some(reason)
}

#[tokio::test]
async fn several_at_work_and_several_workers_process_each_event_once() {
    let setup = Setup::new();
    let ids: Vec<_> = (0..60).map(|number| format!("evt_{number}")).collect();
    for id in &ids {
        setup.take(&[id]).await;
    }
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let most = Arc::new(AtomicUsize::new(0));
    let now = Arc::new(AtomicUsize::new(0));
    let mut stops = Vec::new();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (seen, most, now) = (seen.clone(), most.clone(), now.clone());
        let worker = setup.inbox.worker(move |received: Received<Order>| {
            let (seen, most, now) = (seen.clone(), most.clone(), now.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(3)).await;
                seen.lock().unwrap().push(received.event.id.as_str().to_owned());
                now.fetch_sub(1, Ordering::SeqCst);
                Ok::<_, &str>(())
            }
        });
        let (stop, stopped) = oneshot::channel::<()>();
        stops.push(stop);
        workers.spawn(worker.concurrency(4).run(async { drop(stopped.await) }));
    }
    let empty = async {
        while setup.backlog().await != (0, 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), empty).await.unwrap();
    drop(stops);
    workers.join_all().await;
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let mut all = ids;
    all.sort();
    assert_eq!(seen, all);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} at work at once");
}

#[tokio::test]
async fn an_event_that_takes_its_process_down_every_time_is_dead_in_the_end() {
    let setup = Setup::new();
    setup.take(&["evt_1", "evt_2"]).await;
    for crash in 1..=2 {
        let begun = Arc::new(Semaphore::new(0));
        let doomed = {
            let begun = begun.clone();
            setup.inbox.worker(move |received: Received<Order>| {
                assert_eq!(received.event.id.as_str(), "evt_1");
                begun.add_permits(1);
                std::future::pending::<Result<(), &str>>()
            })
        };
        let doomed = tokio::spawn(doomed.retry(retry(2)).run(std::future::pending()));
        begun.acquire().await.unwrap().forget();
        // Nothing is settled: as if the process had been killed.
        doomed.abort();
        assert!(doomed.await.unwrap_err().is_cancelled(), "crash {crash}");
        setup.clock.advance(Duration::from_secs(60));
        // So that it is first in the queue again.
        let database = rusqlite::Connection::open(setup.path()).unwrap();
        database.execute("UPDATE inbox SET due_at = received_at WHERE number = 1", []).unwrap();
    }
    let script = Script::default();
    setup.work(&script, retry(2), async || setup.backlog().await == (0, 1)).await;
    assert_eq!(script.seen(), ["evt_2"]);
    let letters = setup.inbox.dead_letters(0, 10).await.unwrap();
    assert_eq!((letters[0].reason.as_str(), letters[0].attempts), ("inbox.abandoned", 2));
}
