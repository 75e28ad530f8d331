//! Cancelling under the engine's hands: what waits, what is held, what is under way.

use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Protection};
use waxseal_sender::publish::{Attempting, CancelError};

use super::support::{Receiver, Sender, until};

#[tokio::test]
async fn what_waits_for_its_next_attempt_is_never_posted_again() {
    let mut sender = Sender::new().await;
    sender.parts.policy.retry.schedule = vec![Duration::from_millis(300); 3];
    let mut receiver = Receiver::answering(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let id = sender.publish(Some(&engine), "acme", "1").await.deliveries[0].id;
    receiver.next().await;
    sender.until(id, DeliveryState::Retrying, 1).await;
    assert_eq!(sender.publisher(Some(&engine)).cancel(id).await.unwrap(), Attempting::Not);
    let ended = sender.until(id, DeliveryState::Cancelled, 1).await;
    assert!(ended.ended_at.is_some());
    until(async || (engine.stats().lanes == 0).then_some(())).await;
    let again = sender.publisher(Some(&engine)).cancel(id).await;
    assert!(matches!(again, Err(CancelError::Over { state: DeliveryState::Cancelled })), "{again:?}");
    assert!(receiver.is_idle());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_under_way_is_named_and_changes_nothing_afterwards() {
    let sender = Sender::new().await;
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let slow = move |_| {
        gone.lock().unwrap().recv().unwrap();
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    };
    let mut receiver = Receiver::answering(move |n| tokio::task::block_in_place(|| slow(n))).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let id = sender.publish(Some(&engine), "acme", "1").await.deliveries[0].id;
    receiver.next().await;
    assert_eq!(sender.publisher(Some(&engine)).cancel(id).await.unwrap(), Attempting::Now);
    go.send(()).unwrap();
    until(async || (engine.stats().lanes == 0).then_some(())).await;
    assert!(receiver.is_idle(), "it failed, and is not tried again");
    let ended = sender.delivery(id).await;
    assert_eq!((ended.state, ended.attempts_made), (DeliveryState::Cancelled, 0));
}

#[tokio::test]
async fn what_is_held_can_be_cancelled_and_the_rest_goes_on() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::accepting().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let set = |status: EndpointStatus| {
        move |endpoint: &mut Endpoint| {
            endpoint.status = status;
            Ok(())
        }
    };
    let paused = EndpointStatus::Paused { reason: PauseReason::Operator, since: sender.parts.clock.now() };
    sender.parts.directory.update_endpoint(endpoint, set(paused)).await.unwrap();
    let one = sender.publish(Some(&engine), "acme", "1").await;
    let two = sender.publish(Some(&engine), "acme", "2").await;
    until(async || (engine.holds().len() == 1).then_some(())).await;
    sender.publisher(Some(&engine)).cancel(one.deliveries[0].id).await.unwrap();
    sender.parts.directory.update_endpoint(endpoint, set(EndpointStatus::Active)).await.unwrap();
    sender.until(two.deliveries[0].id, DeliveryState::Delivered, 1).await;
    let opened = sender.open(&receiver.next().await, "acme", None);
    assert_eq!(opened.event.id.as_str(), two.event.to_string());
    assert!(receiver.is_idle());
}
