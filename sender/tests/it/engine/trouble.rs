//! When the store, a payload or a data key is not there.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use waxseal_keys::SystemClock;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;

use crate::engine::flaky::Flaky;
use crate::engine::support::{Receiver, Sender, until};

async fn sender() -> (Sender, Arc<Flaky>) {
    let mut flaky = None;
    let sender = Sender::with(Arc::new(SystemClock), |store| {
        let store = Arc::new(Flaky::over(store));
        flaky = Some(Arc::clone(&store));
        store
    });
    let sender = sender.await;
    (sender, flaky.unwrap())
}

#[tokio::test]
async fn a_settlement_is_written_again_and_the_delivery_not_posted_again() {
    let (sender, flaky) = sender().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    flaky.settle_fails.store(3, Ordering::SeqCst);
    let published = sender.publish(Some(&engine), "acme", "1").await;
    receiver.next().await;
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
    assert_eq!(flaky.settle_fails.load(Ordering::SeqCst), 0);
    until(async || (engine.stats().lanes == 0).then_some(())).await;
    assert!(receiver.is_idle());
}

#[tokio::test]
async fn what_cannot_be_read_now_is_read_later() {
    let (sender, flaky) = sender().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let published = sender.publish(None, "acme", "1").await;
    flaky.due_fails.store(1, Ordering::SeqCst);
    let _engine = sender.start();
    receiver.next().await;
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
    assert_eq!(flaky.due_fails.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_payload_that_is_missing_ends_its_delivery_visibly_and_no_other() {
    let (sender, flaky) = sender().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let lost = sender.publish(None, "acme", "1").await;
    // Once when the lane is read, and again when the delivery is made.
    flaky.payloads_lost.store(2, Ordering::SeqCst);
    let engine = sender.start();
    sender.until(lost.deliveries[0].id, DeliveryState::Refused, 1).await;
    let attempts = sender.parts.store.attempts(lost.deliveries[0].id).await.unwrap();
    assert_eq!((attempts[0].status, attempts[0].result.as_str()), (None, "payload.missing"));
    let kept = sender.publish(Some(&engine), "acme", "2").await;
    sender.until(kept.deliveries[0].id, DeliveryState::Delivered, 1).await;
    let opened = sender.open(&receiver.next().await, "acme", None);
    assert_eq!(opened.event.id.as_str(), kept.event.to_string());
}

#[tokio::test]
async fn deliveries_of_a_consumer_whose_data_key_is_destroyed_are_cancelled() {
    let (sender, _) = sender().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let published = sender.publish(None, "acme", "1").await;
    sender.parts.data_keys.destroy(&published.deliveries[0].consumer).await.unwrap();
    let engine = sender.start();
    sender.until(published.deliveries[0].id, DeliveryState::Cancelled, 0).await;
    until(async || (engine.stats().lanes == 0).then_some(())).await;
    assert!(receiver.is_idle());
}

#[tokio::test]
async fn a_fault_inside_costs_neither_a_slot_nor_the_delivery() {
    let (mut sender, flaky) = sender().await;
    sender.parts.policy.limits.in_flight = 1;
    sender.parts.policy.limits.readers = 1;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let published = sender.publish(None, "acme", "1").await;
    flaky.due_panics.store(1, Ordering::SeqCst);
    flaky.settle_panics.store(1, Ordering::SeqCst);
    let engine = sender.start();
    // Posted, not settled; read again and posted once more.
    let first = sender.open(&receiver.next().await, "acme", None);
    let second = sender.open(&receiver.next().await, "acme", None);
    assert_eq!(first.event.id, second.event.id);
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
    until(async || (engine.stats().in_flight == 0).then_some(())).await;
    let (due, settle) = (&flaky.due_panics, &flaky.settle_panics);
    assert_eq!((due.load(Ordering::SeqCst), settle.load(Ordering::SeqCst)), (0, 0));
}
