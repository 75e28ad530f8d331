//! Endpoints that are paced, fail, ask for rest, are given up or want their order kept: over real HTTP and on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use waxseal_envelope::{Data, EventType};
use waxseal_keys::{ManualClock, SystemClock};
use waxseal_sender::directory::{Directory, To};
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::engine::breaker::BreakerPolicy;
use waxseal_sender::engine::condition::BreakerState;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Protection};
use waxseal_sender::model::pace::{Concurrency, DisableAfter, Order, Pace, RateLimit};
use waxseal_sender::publish::{Publication, Publisher};

use super::flaky::Flaky;
use super::support::{Receiver, Sender, noon, until};

/// An endpoint that answers with a status that can be changed.
async fn switchable(status: u16) -> (Receiver, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(status));
    let answer = Arc::clone(&status);
    let answer = move |_| StatusCode::from_u16(answer.load(Ordering::SeqCst)).unwrap().into_response();
    (Receiver::answering(answer).await, status)
}

async fn set_pace(sender: &Sender, endpoint: EndpointId, pace: Pace) {
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
    }
}

/// Publishes numbers one after the other.
async fn publish(publisher: &Publisher, numbers: std::ops::Range<usize>) {
    for n in numbers {
        publisher.publish(number(&n.to_string())).await.unwrap();
    }
}

/// The number in the next token that arrives.
async fn next_number(sender: &Sender, receiver: &mut Receiver) -> usize {
    number_in(sender, &receiver.next().await)
}

fn number_in(sender: &Sender, token: &[u8]) -> usize {
    match sender.open(token, "acme", None).event.data {
        Data::Json(json) => json.get().parse().unwrap(),
        Data::Binary { .. } => panic!("numbers are JSON"),
    }
}

/// Lets time pass, and the engine notice.
fn advance(clock: &ManualClock, engine: &EngineHandle, endpoint: EndpointId, by: Duration) {
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

/// Four failures in a row open it, a restart keeps it, one probe after the pause closes it; nothing else is touched.
#[tokio::test]
async fn a_breaker_opens_is_on_disk_and_closes_with_the_first_answer() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(3_600)];
    sender.parts.policy.breaker = BreakerPolicy { failures: 4, jitter: 0.0, ..BreakerPolicy::default() };
    let (mut receiver, status) = switchable(503).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    publish(&sender.publisher(Some(&engine)), 0..30).await;
    let open = async |engine: &EngineHandle| engine.condition(endpoint).breaker == BreakerState::Open;
    until(async || (open(&engine).await && engine.stats().in_flight == 0).then_some(())).await;
    let condition = engine.condition(endpoint);
    assert_eq!(condition.open_since, Some(noon()));
    assert_eq!(condition.next_probe_at, Some(noon().saturating_add(Duration::from_secs(10))));
    let posted = usize::try_from(condition.failures).unwrap();
    assert!((4..=5).contains(&posted), "two at once: {posted}");
    for _ in 0..posted {
        receiver.next().await;
    }
    let untouched = async || {
        let filter = waxseal_sender::store::DeliveryFilter { limit: 100, ..Default::default() };
        let all = sender.parts.store.deliveries(filter).await.unwrap();
        all.iter().filter(|delivery| delivery.attempts_made == 0).count()
    };
    assert_eq!(untouched().await, 30 - posted);

    // Another process, five seconds later.
    engine.stop().await;
    clock.advance(Duration::from_secs(5));
    let directory =
        Directory::load(sender.parts.store.clone(), sender.parts.data_keys.clone()).await.unwrap();
    sender.parts.directory = directory;
    let engine = sender.start();
    until(async || (engine.stats().waiting > 0).then_some(())).await;
    assert_eq!(engine.condition(endpoint).open_since, Some(noon()));
    assert!(receiver.is_idle());

    // The probe fails: the next pause is twice as long.
    advance(&clock, &engine, endpoint, Duration::from_secs(5));
    receiver.next().await;
    until(async || open(&engine).await.then_some(())).await;
    let next = engine.condition(endpoint).next_probe_at;
    assert_eq!(next, Some(noon().saturating_add(Duration::from_secs(30))));
    until(async || (engine.stats().in_flight == 0).then_some(())).await;
    assert!(receiver.is_idle(), "one probe");
    assert_eq!(untouched().await, 29 - posted);

    status.store(202, Ordering::SeqCst);
    advance(&clock, &engine, endpoint, Duration::from_secs(20));
    for _ in 0..29 - posted {
        receiver.next().await;
    }
    until(async || (untouched().await == 0).then_some(())).await;
    let well = async || (engine.condition(endpoint) == Default::default()).then_some(());
    until(well).await;
    until(async || sender.parts.directory.failing().is_empty().then_some(())).await;
    let kind = waxseal_sender::store::RecordKind::EndpointHealth;
    assert!(sender.parts.store.records().await.unwrap().iter().all(|record| record.kind != kind));
    engine.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_asks_for_a_rest_gets_it() {
    let clock = Arc::new(ManualClock::new(noon()));
    let sender = Sender::with_clock(clock.clone()).await;
    let busy = |n| -> Response {
        match n {
            0 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "120")]).into_response(),
            _ => StatusCode::ACCEPTED.into_response(),
        }
    };
    let mut receiver = Receiver::answering(busy).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let pace = Pace { concurrency: Some(Concurrency::new(1).unwrap()), ..Pace::default() };
    set_pace(&sender, endpoint, pace).await;
    let engine = sender.start();
    publish(&sender.publisher(Some(&engine)), 0..3).await;
    receiver.next().await;
    let rest = noon().saturating_add(Duration::from_secs(120));
    until(async || (engine.condition(endpoint).rests_until == Some(rest)).then_some(())).await;
    until(async || (engine.stats().in_flight == 0).then_some(())).await;
    advance(&clock, &engine, endpoint, Duration::from_secs(119));
    assert_eq!(engine.stats().in_flight, 0);
    assert!(receiver.is_idle());
    advance(&clock, &engine, endpoint, Duration::from_secs(1));
    for _ in 0..3 {
        receiver.next().await;
    }
    engine.stop().await;
}

/// The time and the attempts, a restart between; nothing is lost; whoever resumes it gets a fresh start.
#[tokio::test]
async fn an_endpoint_that_does_nothing_but_fail_is_paused_and_keeps_its_events() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(3_600); 60];
    let breaker = BreakerPolicy { failures: 2, disable_attempts: 5, jitter: 0.0, ..BreakerPolicy::default() };
    sender.parts.policy.breaker = breaker;
    let (mut receiver, status) = switchable(500).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    set_pace(&sender, endpoint, Pace { disable_after: DisableAfter::Seconds(86_400), ..Pace::default() })
        .await;
    let mut engine = sender.start();
    publish(&sender.publisher(Some(&engine)), 0..1).await;
    let reached = |hours: u64| noon().saturating_add(Duration::from_secs(hours * 3_600));
    for hour in 1..=24 {
        receiver.next().await;
        until(async || (engine.stats().in_flight == 0).then_some(())).await;
        let active = sender.parts.directory.endpoint(endpoint).unwrap().is_active();
        assert!(active, "paused after {hour} hours");
        assert_eq!(engine.condition(endpoint).failing_since, Some(noon()));
        clock.set(reached(hour));
        if hour == 12 {
            engine.stop().await;
            let directory = Directory::load(sender.parts.store.clone(), sender.parts.data_keys.clone());
            sender.parts.directory = directory.await.unwrap();
            engine = sender.start();
        } else {
            engine.wake(endpoint);
        }
    }
    receiver.next().await;
    until(async || (engine.holds() == [(endpoint, Hold::EndpointPaused)]).then_some(())).await;
    let paused = sender.parts.directory.endpoint(endpoint).unwrap().status.clone();
    assert_eq!(paused, EndpointStatus::Paused { reason: PauseReason::Failing, since: reached(24) });
    publish(&sender.publisher(Some(&engine)), 1..3).await;
    assert_eq!(sender.parts.store.backlog().await.unwrap().live, 3);
    clock.set(reached(48));
    engine.wake(endpoint);
    assert!(receiver.is_idle());

    let resume = |endpoint: &mut Endpoint| {
        endpoint.status = EndpointStatus::Active;
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, resume).await.unwrap();
    receiver.next().await;
    until(async || (engine.condition(endpoint).failing_since == Some(reached(48))).then_some(())).await;
    assert!(sender.parts.directory.endpoint(endpoint).unwrap().is_active(), "not judged by its past");
    status.store(202, Ordering::SeqCst);
    let done = async || {
        advance(&clock, &engine, endpoint, Duration::from_secs(3_600));
        (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())
    };
    until(done).await;
    engine.stop().await;
}

#[tokio::test]
async fn a_success_is_a_fresh_start() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock.clone()).await;
    sender.parts.policy.retry.schedule = vec![Duration::from_secs(3_600); 60];
    let breaker = BreakerPolicy { failures: 99, disable_attempts: 2, ..BreakerPolicy::default() };
    sender.parts.policy.breaker =
        BreakerPolicy { disable_after: Some(Duration::from_secs(7_000)), ..breaker };
    let fails = |n| if n == 1 { StatusCode::ACCEPTED } else { StatusCode::BAD_GATEWAY }.into_response();
    let mut receiver = Receiver::answering(fails).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    for round in 0..2 {
        publish(&sender.publisher(Some(&engine)), round..round + 1).await;
        for _ in 0..2 {
            receiver.next().await;
            until(async || (engine.stats().in_flight == 0).then_some(())).await;
            advance(&clock, &engine, endpoint, Duration::from_secs(3_600));
        }
    }
    // Two hours and a success between; then two failures within the time, and one after it.
    assert!(sender.parts.directory.endpoint(endpoint).unwrap().is_active());
    receiver.next().await;
    until(async || (engine.holds() == [(endpoint, Hold::EndpointPaused)]).then_some(())).await;
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

/// The write of the health fails now and then, and so does that of the settlement that carries it.
#[tokio::test]
async fn what_is_on_disk_of_a_breaker_is_what_it_last_was() {
    let mut flaky = None;
    let sender = Sender::with(Arc::new(SystemClock), |store| {
        let store = Arc::new(Flaky::over(store));
        flaky = Some(Arc::clone(&store));
        store
    });
    let (mut sender, flaky) = (sender.await, flaky.unwrap());
    sender.parts.policy.retry.schedule = vec![Duration::from_millis(1); 40];
    sender.parts.policy.breaker = BreakerPolicy {
        failures: 1,
        first_pause: Duration::from_millis(1),
        jitter: 0.0,
        ..Default::default()
    };
    let answer = |n| if n % 2 == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::ACCEPTED }.into_response();
    let receiver = Receiver::answering(answer).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    for round in 0..20 {
        flaky.settle_fails.store(round % 3, Ordering::SeqCst);
        publish(&sender.publisher(Some(&engine)), 0..3).await;
        until(async || (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())).await;
        until(async || (engine.stats().in_flight == 0).then_some(())).await;
        let condition = engine.condition(endpoint);
        let loaded =
            Directory::load(sender.parts.store.clone(), sender.parts.data_keys.clone()).await.unwrap();
        let since = loaded.failing().first().and_then(|health| health.open).map(|open| open.since);
        assert_eq!(since, condition.open_since, "round {round}");
    }
    engine.stop().await;
}

#[tokio::test]
async fn a_state_that_ended_is_not_what_a_breaker_waits_for() {
    let sender = Sender::new().await;
    let too_large = |_| StatusCode::PAYLOAD_TOO_LARGE.into_response();
    let mut receiver = Receiver::answering(too_large).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    publish(&sender.publisher(Some(&engine)), 0..30).await;
    for _ in 0..30 {
        receiver.next().await;
    }
    let refused = waxseal_sender::store::DeliveryFilter {
        state: Some(DeliveryState::Refused),
        limit: 100,
        ..Default::default()
    };
    until(async || (sender.parts.store.deliveries(refused.clone()).await.unwrap().len() == 30).then_some(()))
        .await;
    assert_eq!(engine.condition(endpoint).breaker, BreakerState::Closed);
    engine.stop().await;
}
