//! Endpoints that are paced, or want their order kept: over real HTTP and on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_envelope::{Data, EventType};
use waxseal_keys::{ManualClock, SystemClock};
use waxseal_sender::directory::To;
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::pace::{Concurrency, Order, Pace, RateLimit};
use waxseal_sender::publish::{Publication, Publisher};

use super::support::{Receiver, Sender, noon, until};

/// An endpoint that answers with a status that can be changed.
pub(super) async fn switchable(status: u16) -> (Receiver, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let answer = Arc::clone(&status);
    let answer = move |_| StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap().into_response();
    (Receiver::answering(answer).await, status)
}

pub(super) async fn set_pace(sender: &Sender, endpoint: EndpointId, pace: Pace) {
    let edit = |endpoint: &mut Endpoint| {
        endpoint.pace = pace;
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, edit).await.unwrap();
}

fn number(data: &str) -> Publication {
    Publication {
        event_type: EventType::parse("order.created").unwrap(),
        data: Data::json(data.as_bytes()).unwrap(),
        to: To::Consumers(vec![ConsumerId::parse("acme").unwrap()]),
        id: None,
        occurred_at: None,
        idempotency_key: None,
        publisher: None,
        expiry: None,
    }
}

/// Publishes numbers one after the other.
pub(super) async fn publish(publisher: &Publisher, numbers: std::ops::Range<usize>) {
    for n in numbers {
        publisher.publish(number(&n.to_string())).await.unwrap();
    }
}

/// The number in the next token that arrives.
async fn next_number(sender: &Sender, receiver: &mut Receiver) -> usize {
    number_in(sender, &receiver.next().await)
}

pub(super) fn number_in(sender: &Sender, token: &[u8]) -> usize {
    match sender.open(token, "acme", None).event.data {
        Data::Json(json) => json.get().parse().unwrap(),
        Data::Binary { .. } => panic!("numbers are JSON"),
    }
}

/// Lets time pass, and the engine notice.
pub(super) fn advance(clock: &ManualClock, engine: &EngineHandle, endpoint: EndpointId, by: Duration) {
    clock.advance(by);
    engine.wake(endpoint);
}

#[tokio::test]
async fn a_rate_limit_is_kept_and_its_change_counts_at_once() {
    let clock = Arc::new(ManualClock::new(noon()));
    let sender = Sender::with_clock(clock.clone()).await;
    let mut receiver = Receiver::accepting().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let limit = |per_second, burst| Pace {
        rate_limit: Some(RateLimit::new(per_second, Some(burst)).unwrap()),
        ..Pace::default()
    };
    set_pace(&sender, endpoint, limit(1.0 / 60.0, 2)).await;
    let engine = sender.start();
    publish(&sender.publisher(Some(&engine)), 0..10).await;
    for _ in 0..2 {
        receiver.next().await;
    }
    until(async || (engine.stats().in_flight == 0).then_some(())).await;
    let limited = engine.condition(endpoint).rate_limited_until.unwrap();
    assert_eq!(limited.duration_since(noon()).as_secs().div_ceil(60), 1);
    assert!(receiver.is_idle());
    advance(&clock, &engine, endpoint, Duration::from_secs(60));
    receiver.next().await;
    until(async || (engine.stats().in_flight == 0).then_some(())).await;
    assert!(receiver.is_idle());

    set_pace(&sender, endpoint, Pace::default()).await;
    for _ in 0..7 {
        receiver.next().await;
    }
    until(async || (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())).await;
    engine.stop().await;
}

#[tokio::test]
async fn an_endpoints_own_concurrency_counts_instead_of_the_general_one() {
    let sender = Sender::new().await;
    let answer = |n| if n == 0 { Some(StatusCode::ACCEPTED.into_response()) } else { None };
    let mut receiver = Receiver::answering_or_hanging(answer).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let pace = Pace { concurrency: Some(Concurrency::new(11).unwrap()), ..Pace::default() };
    set_pace(&sender, endpoint, pace).await;
    let engine = sender.start();
    let publisher = sender.publisher(Some(&engine));
    publish(&publisher, 0..1).await;
    receiver.next().await;
    until(async || (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())).await;
    publish(&publisher, 1..30).await;
    for _ in 0..11 {
        receiver.next().await;
    }
    assert_eq!(engine.stats().in_flight, 11);
    engine.stop().await;
}

/// An attempt that fails when its endpoint is gone opens the breaker of nobody.
#[tokio::test]
async fn nothing_is_left_of_an_endpoint_that_was_deleted_during_an_attempt() {
    let policy = EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap()],
        http: PlainHttp::AllowedRanges,
        total_timeout: Duration::from_secs(1),
        ..EgressPolicy::default()
    };
    let egress = Egress::new(policy).unwrap();
    let mut sender = Sender::with_egress(Arc::new(SystemClock), |store| store, egress).await;
    sender.parts.policy.breaker.failures = 1;
    let hanging = Receiver::hanging().await;
    let endpoint = sender.endpoint("acme", &hanging.url, Protection::Signed).await;
    let engine = sender.start();
    publish(&sender.publisher(Some(&engine)), 0..1).await;
    until(async || (engine.stats().in_flight == 1).then_some(())).await;
    sender.parts.directory.delete_endpoint(endpoint).await.unwrap();
    assert_eq!(engine.stats().in_flight, 1, "it is not cut off");
    until(async || (engine.stats().lanes == 0).then_some(())).await;
}

/// A backlog and no publisher: what is in flight grows by itself as soon as the first answer is there.
#[tokio::test]
async fn an_endpoint_that_answers_gets_all_of_its_slots_at_once() {
    let sender = Sender::new().await;
    let answer = |n| if n == 0 { Some(StatusCode::ACCEPTED.into_response()) } else { None };
    let mut receiver = Receiver::answering_or_hanging(answer).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    publish(&sender.publisher(None), 0..40).await;
    let engine = sender.start();
    for _ in 0..9 {
        receiver.next().await;
    }
    assert_eq!(engine.stats().in_flight, 8);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_order_is_kept_through_failures_a_backlog_and_a_restart() {
    let mut sender = Sender::new().await;
    sender.parts.policy.retry.schedule = vec![Duration::from_millis(5); 8];
    sender.parts.policy.breaker.failures = u32::MAX;
    // Every third POST fails.
    let fails =
        |n: usize| if n % 3 == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::ACCEPTED }.into_response();
    let mut receiver = Receiver::answering(fails).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    set_pace(&sender, endpoint, Pace { order: Order::Fifo, ..Pace::default() }).await;
    // More than a lane holds, before there is an engine.
    let silent = sender.publisher(None);
    publish(&silent, 0..300).await;
    // Each publisher counts its own ids within a millisecond.
    let published_at = sender.parts.clock.now();
    until(async || (sender.parts.clock.now() > published_at).then_some(())).await;
    let engine = sender.start();
    let publisher = sender.publisher(Some(&engine));
    let batch = (300..340).map(|n| publisher.publish(number(&n.to_string())));
    let batch = batch.collect::<Vec<_>>();
    let batch = async {
        let results = futures_util::future::join_all(batch).await;
        assert!(results.iter().all(Result::is_ok));
    };
    batch.await;
    publish(&publisher, 340..360).await;
    let mut got = Vec::new();
    for _ in 0..200 {
        got.push(next_number(&sender, &mut receiver).await);
    }
    engine.stop().await;
    let engine = sender.start();
    until(async || (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())).await;
    engine.stop().await;
    while let Some(token) = receiver.waiting() {
        got.push(number_in(&sender, &token));
    }
    assert!(got.is_sorted(), "{got:?}");
    let posts = got.len();
    got.dedup();
    assert_eq!(got, (0..360).collect::<Vec<_>>());
    // A failure in three POSTs, and one that a stop may repeat.
    assert!((535..=545).contains(&posts), "{posts}");
}
