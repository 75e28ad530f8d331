//! The delivery engine from publish to settlement, over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test may panic, its helpers too")]

mod breaker;
mod cancel;
mod changes;
mod client_authority;
mod clock;
mod credentials;
mod erasure;
mod expiry;
mod flaky;
mod isolation;
mod operations;
mod recover;
mod retry;
mod revocation;
mod scripted;
mod support;
mod trouble;
mod verification;

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_keys::ManualClock;
use waxseal_sender::engine::Limits;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{EndpointStatus, PauseReason, Protection};

use self::support::{PATIENCE, Receiver, Sender, err, noon, until};

#[tokio::test(flavor = "multi_thread")]
async fn every_event_is_delivered_once() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let mut published = Vec::new();
    for n in 0..60 {
        published.push(sender.publish(Some(&engine), "acme", &format!(r#"{{"n":{n}}}"#)).await);
    }
    let mut got: Vec<_> = Vec::new();
    for _ in 0..published.len() {
        let opened = sender.open(&receiver.next().await, "acme", None);
        got.push(opened.event.id.as_str().to_owned());
    }
    for one in &published {
        let delivery = sender.until(one.deliveries[0].id, DeliveryState::Delivered, 1).await;
        assert_eq!(delivery.due_at, None);
    }
    let mut expected: Vec<_> = published.iter().map(|one| one.event.to_string()).collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
    until(async || (engine.stats().lanes == 0).then_some(())).await;
    assert!(receiver.is_idle());
    let attempts = sender.parts.store.attempts(published[0].deliveries[0].id).await.unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!((attempts[0].status, attempts[0].result.as_str()), (Some(202), "delivered"));
    assert_eq!(attempts[0].signing_kid, sender.parts.signing_keys.active().unwrap().kid());
}

#[tokio::test]
async fn a_failure_is_repeated_when_it_is_due_with_the_same_id_and_a_fresh_time() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(300)];
    let busy = |n| match n {
        0 => (StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response(),
        _ => StatusCode::ACCEPTED.into_response(),
    };
    let mut receiver = Receiver::answering(busy).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    let first = sender.open(&receiver.next().await, "acme", None);
    let waiting = sender.until(published.deliveries[0].id, DeliveryState::Retrying, 1).await;
    let due_at = noon().saturating_add(Duration::from_secs(300));
    assert_eq!(waiting.due_at, Some(due_at));
    // The store has it before the engine knows that.
    until(async || (engine.stats().in_flight == 0).then_some(())).await;

    clock.set(due_at.saturating_sub(Duration::from_millis(1)));
    engine.wake(endpoint);
    assert_eq!(engine.stats().in_flight, 0);
    clock.set(due_at);
    engine.wake(endpoint);
    let second = sender.open(&receiver.next().await, "acme", None);
    assert_eq!(second.event, first.event);
    assert_eq!((first.issued_at, second.issued_at), (noon(), due_at));
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 2).await;

    let attempts = sender.parts.store.attempts(published.deliveries[0].id).await.unwrap();
    assert_eq!(attempts[0].next_at, Some(due_at));
    assert_eq!((attempts[0].status, attempts[0].result.as_str()), (Some(500), "answer.server_error"));
    let key = sender.parts.data_keys.of(&published.deliveries[0].consumer).unwrap();
    let context = format!("attempt|{}|1", published.deliveries[0].id);
    let excerpt = key.decrypt(context.as_bytes(), &attempts[0].excerpt).unwrap();
    assert_eq!(excerpt.as_slice(), b"out of order");
    assert!(attempts[1].excerpt.is_empty());
}

#[tokio::test]
async fn a_schedule_that_is_used_up_ends_visibly() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::answering(|_| StatusCode::NOT_FOUND.into_response()).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    for _ in 0..4 {
        receiver.next().await;
    }
    sender.until(published.deliveries[0].id, DeliveryState::Exhausted, 4).await;
    until(async || (engine.stats().lanes == 0).then_some(())).await;
    assert!(receiver.is_idle());
}

#[tokio::test]
async fn without_a_key_nothing_is_sent_until_there_is_one() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::accepting().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Sealed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", r#"{"secret":true}"#).await;
    until(async || (engine.holds() == [(endpoint, Hold::NoKeySet)]).then_some(())).await;
    assert_eq!(engine.stats().waiting, 0);
    let delivery = sender.delivery(published.deliveries[0].id).await;
    assert_eq!((delivery.state, delivery.attempts_made), (DeliveryState::Pending, 0));
    assert!(receiver.is_idle());

    let key = sender.new_key("acme").await;
    let opened = sender.open(&receiver.next().await, "acme", Some(&key));
    assert_eq!(opened.event.id.as_str(), published.event.to_string());
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
    let attempts = sender.parts.store.attempts(published.deliveries[0].id).await.unwrap();
    assert_eq!(attempts[0].encryption_kid.as_deref(), Some(key.kid()));
    assert!(engine.holds().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_changed_its_key_gets_the_token_again_at_once() {
    let mut sender = Sender::new().await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(3_600)];
    let (changing, changed) = std::sync::mpsc::channel::<()>();
    let changed = std::sync::Mutex::new(changed);
    let answer = move |n| match n {
        0 => {
            // The new key is in the directory before the old one is refused.
            changed.lock().unwrap().recv().unwrap();
            err("invalid_key")
        }
        _ => StatusCode::ACCEPTED.into_response(),
    };
    let mut receiver = Receiver::answering(move |n| tokio::task::block_in_place(|| answer(n))).await;
    sender.endpoint("acme", &receiver.url, Protection::Sealed).await;
    let old = sender.new_key("acme").await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    sender.open(&receiver.next().await, "acme", Some(&old));
    let new = sender.new_key("acme").await;
    changing.send(()).unwrap();
    sender.open(&receiver.next().await, "acme", Some(&new));
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 2).await;
    let attempts = sender.parts.store.attempts(published.deliveries[0].id).await.unwrap();
    assert_eq!(attempts[0].result, "answer.invalid_key");
    assert_eq!(attempts[1].encryption_kid.as_deref(), Some(new.kid()));
}

#[tokio::test]
async fn what_was_accepted_before_a_start_is_found() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let mut published = Vec::new();
    for n in 0..200 {
        published.push(sender.publish(None, "acme", &n.to_string()).await);
    }
    let engine = sender.start();
    for one in &published {
        sender.until(one.deliveries[0].id, DeliveryState::Delivered, 1).await;
    }
    for _ in &published {
        receiver.next().await;
    }
    assert!(receiver.is_idle());
    // And so is what was accepted while it runs, if nobody announces it.
    let missed = sender.publish(None, "acme", "1").await;
    sender.until(missed.deliveries[0].id, DeliveryState::Delivered, 1).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_stop_releases_what_does_not_end_in_time() {
    let sender = Sender::new().await;
    let mut hanging = Receiver::hanging().await;
    sender.endpoint("acme", &hanging.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    hanging.next().await;
    engine.stop().await;
    let after = sender.publish(Some(&engine), "acme", "2").await;
    assert!(hanging.is_idle());
    for one in [&published, &after] {
        let delivery = sender.delivery(one.deliveries[0].id).await;
        assert_eq!((delivery.state, delivery.attempts_made), (DeliveryState::Pending, 0));
    }
    let engine = sender.start();
    hanging.next().await;
    hanging.next().await;
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_what_is_in_flight_end() {
    let mut sender = Sender::new().await;
    sender.parts.policy.stop_within = PATIENCE;
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let slow = move |_| {
        gone.lock().unwrap().recv().unwrap();
        StatusCode::ACCEPTED.into_response()
    };
    let mut receiver = Receiver::answering(move |n| tokio::task::block_in_place(|| slow(n))).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    receiver.next().await;
    let stop = tokio::spawn({
        let engine = engine.clone();
        async move { engine.stop().await }
    });
    assert!(!stop.is_finished());
    go.send(()).unwrap();
    stop.await.unwrap();
    let delivery = sender.delivery(published.deliveries[0].id).await;
    assert_eq!((delivery.state, delivery.attempts_made), (DeliveryState::Delivered, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_endpoint_with_a_long_backlog_stops_nobody_and_stays_small() {
    let sender = Sender::new().await;
    let hanging = Receiver::hanging().await;
    let mut healthy = Receiver::accepting().await;
    let dead = sender.endpoint("dead", &hanging.url, Protection::Signed).await;
    sender.endpoint("acme", &healthy.url, Protection::Signed).await;
    let engine = sender.start();
    for _ in 0..100 {
        let published =
            (0..100).map(|n| sender.publish(Some(&engine), "dead", if n % 2 == 0 { "0" } else { "1" }));
        futures_util::future::join_all(published).await;
    }
    assert_eq!(sender.parts.store.backlog().await.unwrap().live, 10_000);
    let stats = engine.stats();
    let limits = Limits::default();
    assert_eq!(stats.in_flight, limits.per_endpoint / 4, "it has never answered");
    assert!(stats.waiting <= limits.lane, "{stats:?}");
    let published = sender.publish(Some(&engine), "acme", "1").await;
    healthy.next().await;
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;

    // Removing it cancels all of them, those in flight as well.
    sender.parts.directory.delete_endpoint(dead).await.unwrap();
    until(async || (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())).await;
    until(async || (engine.stats().waiting == 0).then_some(())).await;
    engine.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_paused_and_keeps_its_deliveries() {
    let sender = Sender::new().await;
    let gone = |n| if n == 0 { StatusCode::GONE } else { StatusCode::ACCEPTED }.into_response();
    let mut receiver = Receiver::answering(gone).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let first = sender.publish(Some(&engine), "acme", "1").await;
    receiver.next().await;
    until(async || (engine.holds() == [(endpoint, Hold::EndpointPaused)]).then_some(())).await;
    let now = sender.parts.directory.endpoint(endpoint).unwrap();
    assert!(matches!(now.status, EndpointStatus::Paused { reason: PauseReason::Gone, .. }));
    let second = sender.publish(Some(&engine), "acme", "2").await;
    assert_eq!(sender.delivery(first.deliveries[0].id).await.state, DeliveryState::Retrying);

    let resume = |endpoint: &mut waxseal_sender::model::endpoint::Endpoint| {
        endpoint.status = EndpointStatus::Active;
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, resume).await.unwrap();
    sender.until(first.deliveries[0].id, DeliveryState::Delivered, 2).await;
    sender.until(second.deliveries[0].id, DeliveryState::Delivered, 1).await;
}

#[tokio::test]
async fn an_endpoint_that_an_operator_pauses_gets_nothing_more() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::accepting().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let since = sender.parts.clock.now();
    let pause = |endpoint: &mut waxseal_sender::model::endpoint::Endpoint| {
        endpoint.status = EndpointStatus::Paused { reason: PauseReason::Operator, since };
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, pause).await.unwrap();
    let published = sender.publish(Some(&engine), "acme", "1").await;
    until(async || (engine.holds() == [(endpoint, Hold::EndpointPaused)]).then_some(())).await;
    assert!(receiver.is_idle());
    assert_eq!(sender.delivery(published.deliveries[0].id).await.attempts_made, 0);
    engine.stop().await;
}
