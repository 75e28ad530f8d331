//! A clock that jumps, both ways, while deliveries wait.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_keys::{ManualClock, Timestamp};
use waxseal_sender::id::DeliveryId;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;

use super::support::{PATIENCE, Receiver, Sender, noon};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A sender that tries again after five minutes, with an endpoint that refuses and one that takes.
async fn world() -> (Sender, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(300); 5];
    let failing = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let taking = Receiver::answering(|_| StatusCode::ACCEPTED.into_response()).await;
    sender.endpoint("refuses", &failing.url, Protection::Signed).await;
    sender.endpoint("takes", &taking.url, Protection::Signed).await;
    (sender, clock)
}

async fn until_due_at(sender: &Sender, id: DeliveryId, due_at: Timestamp) {
    let moved = async {
        while sender.delivery(id).await.due_at != Some(due_at) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("it is dated anew");
}

#[tokio::test]
async fn after_a_jump_back_nothing_waits_for_the_old_time() {
    let (sender, clock) = world().await;
    let engine = sender.start();
    let retried = sender.publish(Some(&engine), "refuses", "1").await.deliveries[0].id;
    sender.until(retried, DeliveryState::Retrying, 1).await;
    // Never announced: it is found in the store.
    let back = noon().saturating_sub(5 * HOUR);
    clock.set(back);
    until_due_at(&sender, retried, back.saturating_add(Duration::from_secs(300))).await;
    let fresh = sender.publish(Some(&engine), "takes", "1").await.deliveries[0].id;
    sender.until(fresh, DeliveryState::Delivered, 1).await;
    clock.set(back.saturating_add(Duration::from_secs(301)));
    engine.wake(sender.delivery(retried).await.endpoint);
    sender.until(retried, DeliveryState::Retrying, 2).await;
    engine.stop().await;
}

#[tokio::test]
async fn what_was_accepted_before_a_clock_was_set_back_is_delivered_by_the_next_process() {
    let (sender, clock) = world().await;
    let waiting = sender.publish(None, "takes", "1").await.deliveries[0].id;
    clock.set(noon().saturating_sub(5 * HOUR));
    let engine = sender.start();
    sender.until(waiting, DeliveryState::Delivered, 1).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_clock_that_jumps_to_and_fro_loses_nothing() {
    let (sender, clock) = world().await;
    let engine = sender.start();
    let mut all = Vec::new();
    for (n, hours) in (0..).zip([0_i64, 30, -50, 2_000, -2_000, 3, -1]) {
        let now = noon().as_millis() + hours * 3_600_000;
        clock.set(Timestamp::from_millis(now));
        let announced = (n % 2 == 0).then_some(&engine);
        all.push(sender.publish(announced, "takes", "1").await.deliveries[0].id);
        let refused = sender.publish(announced, "refuses", "1").await.deliveries[0].id;
        if n % 2 == 0 {
            sender.until(refused, DeliveryState::Retrying, 1).await;
        }
    }
    for id in all {
        sender.until(id, DeliveryState::Delivered, 1).await;
    }
    engine.stop().await;
}
