//! What is cancelled, in the shared store: found by whoever looks for it, in whatever order commits come, and not kept for ever.

use std::thread;

use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{Catalog, Outbox, Outcome};
use waxseal_tests::postgres::Postgres;
use waxseal_tests::store_suite::fixture::{at, endpoint_id, live, new_delivery, new_event, settlement};

use crate::subject;

/// As one that waits for a standby while later ones have it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_cancelled_by_a_transaction_that_ends_late_is_found_when_it_has_ended() {
    let subject = subject::postgres().await;
    let database = subject.settings.to_string();
    let database = database.rsplit_once('/').unwrap().1.to_owned();
    let (store, server) = (&subject.store, Postgres::shared());
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    let cluster = store.cluster().unwrap();
    let before = cluster.withdrawn(Some(0)).await.unwrap();
    assert_eq!(before.found, []);

    let late = endpoint_id(7).to_string()[3..].to_owned();
    let sql =
        format!("BEGIN; INSERT INTO withdrawn (endpoint) VALUES ('{late}'); SELECT pg_sleep(2); COMMIT");
    let at_work = database.clone();
    let late = thread::spawn(move || server.execute(&at_work, &sql));
    tokio::task::block_in_place(|| {
        let begun = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
        assert_eq!(server.wait_for(&database, begun, "1"), "1");
    });
    let cancelled = Outcome::Final(DeliveryState::Cancelled);
    store.settle(settlement(live(1, 1, 1, at(0), 0), cancelled, at(1))).await.unwrap();
    let first = cluster.withdrawn(Some(before.next)).await.unwrap();
    assert_eq!(first.found.iter().map(|one| one.endpoint).collect::<Vec<_>>(), [endpoint_id(1)]);
    tokio::task::block_in_place(|| late.join()).unwrap();
    let second = cluster.withdrawn(Some(first.next)).await.unwrap();
    let new: Vec<_> = second.found.iter().filter(|one| !first.found.contains(one)).collect();
    assert_eq!(new.iter().map(|one| one.endpoint).collect::<Vec<_>>(), [endpoint_id(7)]);
    assert!(second.next > first.next);
    assert_eq!(cluster.withdrawn(Some(second.next)).await.unwrap().found, []);

    assert_eq!(cluster.forget_changes(9).await.unwrap(), 0);
    assert_eq!(cluster.withdrawn(Some(0)).await.unwrap().found.len(), 2);
    server.execute(
        &database,
        "UPDATE withdrawn SET made_at = made_at - interval '61 minutes' WHERE number = 1",
    );
    cluster.forget_changes(9).await.unwrap();
    assert_eq!(cluster.withdrawn(Some(0)).await.unwrap().found.len(), 1);
}
