//! Deliveries whose time runs out: while they wait, while they are held, between two attempts.

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_envelope::{Data, EventType};
use waxseal_keys::{Clock, ManualClock};
use waxseal_sender::directory::To;
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::{ConsumerId, DeliveryId};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{Endpoint, EndpointStatus, PauseReason, Protection};
use waxseal_sender::publish::{Expiry, Publication};

use super::support::{Receiver, Sender, noon, until};

async fn publish(sender: &Sender, engine: Option<&EngineHandle>, life: Option<Duration>) -> DeliveryId {
    let publication = Publication {
        event_type: EventType::parse("order.created").unwrap(),
        data: Data::json(b"1").unwrap(),
        to: To::Consumers(vec![ConsumerId::parse("acme").unwrap()]),
        id: None,
        occurred_at: None,
        expiry: life.map(Expiry::After),
        idempotency_key: None,
        publisher: None,
    };
    sender.publisher(engine).publish(publication).await.unwrap().deliveries[0].id
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn what_has_run_out_before_its_turn_is_not_posted() {
    let clock = Arc::new(ManualClock::new(noon()));
    let sender = Sender::with_clock(clock.clone()).await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let late = publish(&sender, None, Some(MINUTE)).await;
    clock.set(noon().saturating_add(MINUTE));
    let engine = sender.start();
    sender.until(late, DeliveryState::Expired, 0).await;
    assert!(sender.parts.store.attempts(late).await.unwrap().is_empty());
    let fresh = publish(&sender, Some(&engine), Some(MINUTE)).await;
    sender.until(fresh, DeliveryState::Delivered, 1).await;
    receiver.next().await;
    assert!(receiver.is_idle());
}

#[tokio::test]
async fn an_attempt_that_leaves_no_time_for_another_ends_it() {
    let clock = Arc::new(ManualClock::new(noon()));
    let mut sender = Sender::with_clock(clock).await;
    sender.parts.policy.retry.schedule = vec![MINUTE; 3];
    let receiver = Receiver::answering(|_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let (short, long) = (
        publish(&sender, Some(&engine), Some(MINUTE)).await,
        publish(&sender, Some(&engine), Some(2 * MINUTE)).await,
    );
    sender.until(short, DeliveryState::Expired, 1).await;
    let waiting = sender.until(long, DeliveryState::Retrying, 1).await;
    assert_eq!(waiting.due_at, Some(noon().saturating_add(MINUTE)));
}

#[tokio::test]
async fn what_is_held_runs_out_all_the_same_and_the_rest_is_delivered_after_the_pause() {
    let clock = Arc::new(ManualClock::new(noon()));
    let sender = Sender::with_clock(clock.clone()).await;
    let mut receiver = Receiver::accepting().await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let since = clock.now();
    let pause = |endpoint: &mut Endpoint| {
        endpoint.status = EndpointStatus::Paused { reason: PauseReason::Operator, since };
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, pause).await.unwrap();
    let mut expiring = Vec::new();
    for _ in 0..600 {
        expiring.push(publish(&sender, Some(&engine), Some(MINUTE)).await);
    }
    let lasting = publish(&sender, Some(&engine), None).await;
    until(async || (engine.holds() == [(endpoint, Hold::EndpointPaused)]).then_some(())).await;
    clock.set(noon().saturating_add(MINUTE));
    for one in expiring {
        let ended = sender.until(one, DeliveryState::Expired, 0).await;
        assert_eq!(ended.ended_at, Some(clock.now()));
    }
    assert_eq!(sender.parts.store.backlog().await.unwrap().live, 1);
    let resume = |endpoint: &mut Endpoint| {
        endpoint.status = EndpointStatus::Active;
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, resume).await.unwrap();
    sender.until(lasting, DeliveryState::Delivered, 1).await;
    receiver.next().await;
    assert!(receiver.is_idle());
    until(async || (engine.stats().lanes == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_under_way_is_not_cut_off_by_the_sweep() {
    let clock = Arc::new(ManualClock::new(noon()));
    let sender = Sender::with_clock(clock.clone()).await;
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let slow = move |_| {
        gone.lock().unwrap().recv().unwrap();
        StatusCode::ACCEPTED.into_response()
    };
    let mut receiver = Receiver::answering(move |n| tokio::task::block_in_place(|| slow(n))).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    let flying = publish(&sender, Some(&engine), Some(MINUTE)).await;
    receiver.next().await;
    clock.set(noon().saturating_add(MINUTE));
    // Another one that runs out tells when a sweep has passed.
    let other = publish(&sender, None, Some(Duration::from_millis(1))).await;
    clock.set(clock.now().saturating_add(MINUTE));
    sender.until(other, DeliveryState::Expired, 0).await;
    assert_eq!(sender.delivery(flying).await.state, DeliveryState::Pending);
    go.send(()).unwrap();
    sender.until(flying, DeliveryState::Delivered, 1).await;
}
