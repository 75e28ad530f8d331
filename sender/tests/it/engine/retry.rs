//! An endpoint's own retry schedule, beside one that has none.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_keys::ManualClock;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::retry::Retry;

use super::support::{Receiver, Sender, noon};

#[tokio::test]
async fn an_endpoint_with_a_schedule_of_its_own_keeps_to_it_and_others_to_the_senders() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(300); 2];
    let failing = Receiver::answering(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()).await;
    let own = sender.endpoint("own", &failing.url, Protection::Signed).await;
    sender.endpoint("usual", &failing.url, Protection::Signed).await;
    let edit = |endpoint: &mut Endpoint| {
        endpoint.retry = Some(Retry::new(vec![7], 0.0).unwrap());
        Ok(())
    };
    sender.parts.directory.update_endpoint(own, edit).await.unwrap();
    let engine = sender.start();
    let (one, two) = (
        sender.publish(Some(&engine), "own", "1").await.deliveries[0].id,
        sender.publish(Some(&engine), "usual", "1").await.deliveries[0].id,
    );
    let due = |seconds| Some(noon().saturating_add(Duration::from_secs(seconds)));
    assert_eq!(sender.until(one, DeliveryState::Retrying, 1).await.due_at, due(7));
    assert_eq!(sender.until(two, DeliveryState::Retrying, 1).await.due_at, due(300));
    clock.set(due(7).unwrap());
    engine.wake(own);
    sender.until(one, DeliveryState::Exhausted, 2).await;
    assert_eq!(sender.delivery(two).await.attempts_made, 1);

    // A schedule without entries is one attempt.
    let edit = |endpoint: &mut Endpoint| {
        endpoint.retry = Some(Retry::new(vec![], 0.0).unwrap());
        Ok(())
    };
    sender.parts.directory.update_endpoint(own, edit).await.unwrap();
    let once = sender.publish(Some(&engine), "own", "1").await.deliveries[0].id;
    sender.until(once, DeliveryState::Exhausted, 1).await;
}

#[tokio::test]
async fn an_attempt_that_a_skewed_clock_refused_says_by_how_much() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(300); 2];
    let receiver = Receiver::answering(|_| {
        let mut response = super::support::err("invalid_request");
        // An hour and five minutes before it is sent.
        let date = http::HeaderValue::from_static("Sat, 21 Nov 2026 19:35:00 GMT");
        response.headers_mut().insert(http::header::DATE, date);
        response
    });
    let receiver = receiver.await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let id = sender.publish(Some(&engine), "acme", "1").await.deliveries[0].id;
    let waiting = sender.until(id, DeliveryState::Retrying, 1).await;
    assert_eq!(
        waiting.due_at,
        Some(noon().saturating_add(Duration::from_secs(300))),
        "its schedule, in full"
    );
    let attempts = sender.parts.store.attempts(id).await.unwrap();
    assert_eq!(attempts[0].result, "answer.invalid_request");
    assert_eq!(attempts[0].clock_skew_seconds, Some(-3_900));
}
