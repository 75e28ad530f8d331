//! Recoveries at work: what they deliver again, in which order, how fast, and what they leave alone.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use tokio::sync::watch;
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::id::{EndpointId, RecoveryId};
use waxseal_sender::leadership::Leadership;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Protection};
use waxseal_sender::model::recovery::{Recovery, RecoveryState};
use waxseal_sender::publish::{Published, Under};
use waxseal_sender::recover::{LIVE_AT_ONCE, Recoveries};
use waxseal_sender::store::{DeliveryFilter, Order};

use super::support::{Receiver, Sender, until};

/// A sender whose endpoint refuses everything until it is told otherwise.
async fn sender() -> (Sender, Receiver, EndpointId, Arc<AtomicBool>) {
    let mut sender = Sender::new().await;
    sender.parts.policy.retry.schedule = Vec::new();
    sender.parts.policy.limits.per_endpoint = 1;
    sender.parts.policy.breaker.failures = u32::MAX;
    let works = Arc::new(AtomicBool::new(false));
    let script = Arc::clone(&works);
    let receiver = Receiver::answering(move |_| match script.load(Ordering::SeqCst) {
        true => StatusCode::ACCEPTED.into_response(),
        false => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    });
    let receiver = receiver.await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    (sender, receiver, endpoint, works)
}

async fn failed(sender: &Sender, engine: &EngineHandle, count: usize) -> Vec<Published> {
    let mut published = Vec::new();
    for n in 0..count {
        published.push(sender.publish(Some(engine), "acme", &n.to_string()).await);
    }
    for one in &published {
        sender.until(one.deliveries[0].id, DeliveryState::Exhausted, 1).await;
    }
    published
}

/// What runs the recoveries; it ends with the returned sender.
fn run(sender: &Sender, engine: &EngineHandle) -> watch::Sender<bool> {
    let (stop, stopped) = watch::channel(false);
    let parts = &sender.parts;
    let publisher = sender.publisher(Some(engine));
    let recoveries =
        Recoveries::new(parts.store.clone(), parts.directory.clone(), publisher, parts.clock.clone());
    tokio::spawn(recoveries.run(stopped, Leadership::sole()));
    stop
}

async fn begin(sender: &Sender, endpoint: EndpointId, edit: impl FnOnce(&mut Recovery)) -> RecoveryId {
    let now = sender.parts.clock.now();
    let endpoint = sender.parts.directory.endpoint(endpoint).unwrap();
    let mut recovery = Recovery {
        id: RecoveryId::generate(now),
        endpoint: endpoint.id,
        consumer: endpoint.consumer.clone(),
        since: waxseal_keys::Timestamp::from_seconds(0),
        until: now.saturating_add(Duration::from_millis(1)),
        states: vec![DeliveryState::Exhausted],
        event_types: BTreeSet::new(),
        rate: 500,
        state: RecoveryState::Running,
        cursor: None,
        redelivered: 0,
        skipped: 0,
        live: Vec::new(),
        created_at: now,
        ended_at: None,
    };
    edit(&mut recovery);
    sender.parts.directory.create_recovery(recovery).await.unwrap().id
}

async fn finished(sender: &Sender, id: RecoveryId) -> Arc<Recovery> {
    until(async || {
        sender.parts.directory.recovery(id).filter(|recovery| recovery.state == RecoveryState::Finished)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_failed_is_delivered_again_once_oldest_first() {
    let (sender, mut receiver, endpoint, works) = sender().await;
    let engine = sender.start();
    let published = failed(&sender, &engine, 150).await;
    while !receiver.is_idle() {}
    works.store(true, Ordering::SeqCst);
    let stop = run(&sender, &engine);
    let id = begin(&sender, endpoint, |_| {}).await;
    let ended = finished(&sender, id).await;
    assert_eq!((ended.redelivered, ended.skipped), (150, 0));
    let mut oldest_first: Vec<_> = published.iter().map(|one| (one.deliveries[0].id, one.event)).collect();
    oldest_first.sort_unstable();
    for (_, event) in oldest_first {
        let opened = sender.open(&receiver.next().await, "acme", None);
        assert_eq!(opened.event.id.as_str(), event.to_string());
    }
    // A second one finds that all of them were delivered again since.
    let id = begin(&sender, endpoint, |_| {}).await;
    let ended = finished(&sender, id).await;
    assert_eq!((ended.redelivered, ended.skipped), (0, 150));
    assert!(receiver.is_idle());
    stop.send(true).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_what_it_was_asked_for_and_leaves_the_rest() {
    let (sender, _receiver, endpoint, works) = sender().await;
    let engine = sender.start();
    let published = failed(&sender, &engine, 6).await;
    works.store(true, Ordering::SeqCst);
    let publisher = sender.publisher(Some(&engine));
    let again = sender.delivery(published[0].deliveries[0].id).await;
    let by_hand = publisher.redeliver(&again, Under::SameId).await.unwrap();
    sender.until(by_hand.delivery, DeliveryState::Delivered, 1).await;
    let _stop = run(&sender, &engine);
    let since = published[2].deliveries[0].id.made_at();
    let other = begin(&sender, endpoint, |recovery| recovery.states = vec![DeliveryState::Cancelled]).await;
    assert_eq!(finished(&sender, other).await.redelivered, 0);
    let other_type = waxseal_envelope::EventType::parse("order.paid").unwrap();
    let other = begin(&sender, endpoint, |recovery| recovery.event_types = [other_type].into()).await;
    assert_eq!(finished(&sender, other).await.redelivered, 0);
    // All may have been made within one millisecond; the first was delivered again by hand.
    let later = published[1..].iter().filter(|one| one.deliveries[0].id.made_at() >= since).count();
    let some = begin(&sender, endpoint, |recovery| recovery.since = since).await;
    assert_eq!(finished(&sender, some).await.redelivered, u64::try_from(later).unwrap());
    let all = begin(&sender, endpoint, |_| {}).await;
    let all = finished(&sender, all).await;
    let rest = u64::try_from(published.len() - later - 1).unwrap();
    assert_eq!(all.redelivered, rest, "without the one by hand and those of before");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_take_them_gets_a_few_and_no_more() {
    let (sender, _receiver, endpoint, works) = sender().await;
    let engine = sender.start();
    failed(&sender, &engine, 200).await;
    works.store(true, Ordering::SeqCst);
    let set = |status: EndpointStatus| {
        move |endpoint: &mut Endpoint| {
            endpoint.status = status;
            Ok(())
        }
    };
    let since = sender.parts.clock.now();
    let paused = EndpointStatus::Paused { reason: PauseReason::Operator, since };
    sender.parts.directory.update_endpoint(endpoint, set(paused)).await.unwrap();
    let stop = run(&sender, &engine);
    let id = begin(&sender, endpoint, |_| {}).await;
    let most = u64::from(LIVE_AT_ONCE);
    let recovery = || sender.parts.directory.recovery(id).unwrap();
    until(async || (recovery().redelivered == most).then_some(())).await;
    let live = sender.publish(Some(&engine), "acme", r#""live""#).await;
    assert_eq!(sender.parts.store.backlog().await.unwrap().live, most + 1);

    // Another process goes on where this one was stopped, with what was live then.
    stop.send(true).unwrap();
    let _stop = run(&sender, &engine);
    sender.parts.directory.update_endpoint(endpoint, set(EndpointStatus::Active)).await.unwrap();
    assert_eq!(finished(&sender, id).await.redelivered, 200);
    sender.until(live.deliveries[0].id, DeliveryState::Delivered, 1).await;
    until(async || (sender.parts.store.backlog().await.unwrap().live == 0).then_some(())).await;
    let filter = DeliveryFilter { limit: 1_000, order: Order::OldestFirst, ..DeliveryFilter::default() };
    let all = sender.parts.store.deliveries(filter).await.unwrap().deliveries;
    assert_eq!(all.len(), 401, "one redelivery for each, none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_no_faster_than_it_was_asked_to() {
    const RATE: u32 = 10;
    const FAILED: u32 = 20;
    // It adds its share five times in a second, for the first time at once. A machine that is busy makes that later.
    const TURNS_APART: Duration = Duration::from_millis(200);
    let (sender, _receiver, endpoint, works) = sender().await;
    let engine = sender.start();
    failed(&sender, &engine, usize::try_from(FAILED).unwrap()).await;
    works.store(true, Ordering::SeqCst);
    let clock = sender.parts.clock.clone();
    let begun = clock.now();
    let _stop = run(&sender, &engine);
    let id = begin(&sender, endpoint, |recovery| recovery.rate = RATE).await;
    let ended = until(async || {
        let recovery = sender.parts.directory.recovery(id).unwrap();
        // In this order: until the time was read nothing less can have been added.
        let turns = clock.now().duration_since(begun).as_millis() / TURNS_APART.as_millis() + 1;
        let most = u64::try_from(turns).unwrap() * u64::from(RATE) / 5;
        assert!(recovery.redelivered <= most, "{} after {turns} turns", recovery.redelivered);
        (recovery.state == RecoveryState::Finished).then_some(recovery)
    });
    let ended = ended.await;
    assert_eq!(ended.redelivered, u64::from(FAILED));
    let took = ended.ended_at.unwrap().duration_since(ended.created_at);
    assert!(took >= TURNS_APART * 9, "ten turns of two each, in {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_recovery_stays_where_it_is() {
    let (sender, _receiver, endpoint, works) = sender().await;
    let engine = sender.start();
    failed(&sender, &engine, 40).await;
    works.store(true, Ordering::SeqCst);
    let _stop = run(&sender, &engine);
    let id = begin(&sender, endpoint, |recovery| recovery.rate = 5).await;
    until(async || sender.parts.directory.recovery(id).filter(|recovery| recovery.redelivered > 0)).await;
    let now = sender.parts.clock.now();
    let ended = sender.parts.directory.cancel_recovery(id, now).await.unwrap().unwrap();
    assert!(ended.redelivered < 40 && ended.ended_at.is_some());
    // Another one runs meanwhile, so the runner has had its turns.
    let other = begin(&sender, endpoint, |recovery| recovery.states = vec![DeliveryState::Expired]).await;
    finished(&sender, other).await;
    let after = sender.parts.directory.recovery(id).unwrap();
    assert_eq!((after.state, after.redelivered), (RecoveryState::Cancelled, ended.redelivered));
}
