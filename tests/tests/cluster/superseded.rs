//! Changes that another node came before, of those that the engine makes by itself: nothing of them is kept or shown, and made
//! again they stand.

use waxseal_envelope::EventType;
use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::directory::{ChangeError, News};
use waxseal_sender::id::{DeliveryId, EndpointId, EventId, RecoveryId};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::notice::Notice;
use waxseal_sender::model::recovery::{Recovery, RecoveryState};
use waxseal_sender::model::told::Told;
use waxseal_sender::store::{NewDelivery, NewEvent, Outbox, StoreError};

use crate::node::{Node, Site, id};

#[tokio::test]
async fn a_step_of_a_recovery_that_is_superseded_delivers_nothing_and_is_made_again() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    let now = SystemClock.now();
    let endpoint = a.create_endpoint("acme").await.unwrap();
    let event = EventId::generate(now);
    a.model.accept(event_without_deliveries(event, now)).await.unwrap();
    let before = a.directory.create_recovery(recovery_of(endpoint, now)).await.unwrap();
    let next = Recovery { redelivered: 1, ..Recovery::clone(&before) };
    let delivery = NewDelivery {
        id: DeliveryId::generate(now),
        endpoint,
        consumer: id("acme"),
        due_at: now,
        expires_at: None,
    };
    let step = a.directory.begin_recovery_step(&before, next.clone()).await.unwrap().unwrap();
    a.model.interrupt(1);
    let made = a.model.redeliver(vec![(delivery.clone(), event)], step.changes()).await;
    assert!(matches!(made, Err(StoreError::Superseded)), "{made:?}");
    drop(step);
    assert_eq!(a.model.delivery(delivery.id).await.unwrap(), None);
    for node in [&a, &b] {
        node.directory.catch_up().await.unwrap();
        assert_eq!(node.directory.recovery(before.id), Some(before.clone()));
    }

    let step = a.directory.begin_recovery_step(&before, next.clone()).await.unwrap().unwrap();
    a.model.redeliver(vec![(delivery.clone(), event)], step.changes()).await.unwrap();
    step.adopt();
    assert!(a.model.delivery(delivery.id).await.unwrap().is_some());
    b.directory.catch_up().await.unwrap();
    for node in [&a, &b] {
        assert_eq!(node.directory.recovery(before.id).as_deref(), Some(&next));
    }
    let again = a.directory.begin_recovery_step(&before, next).await.unwrap();
    assert!(again.is_none(), "it has come further since");
}

/// Another node has ended it meanwhile, and this one has not heard of it.
#[tokio::test]
async fn a_recovery_that_another_node_has_ended_goes_no_further() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    let endpoint = a.create_endpoint("acme").await.unwrap();
    let now = SystemClock.now();
    let before = a.directory.create_recovery(recovery_of(endpoint, now)).await.unwrap();
    b.directory.catch_up().await.unwrap();
    b.directory.cancel_recovery(before.id, now).await.unwrap();
    let step = a.directory.begin_recovery_step(&before, Recovery::clone(&before)).await.unwrap();
    assert!(step.is_none());
}

#[tokio::test]
async fn news_that_are_superseded_are_kept_as_a_whole_when_they_are_kept_again() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    let old = Told::Failures { until: Timestamp::from_seconds(1) };
    let first = News { notices: Vec::new(), told: vec![expiring("old")], over: Vec::new() };
    a.directory.keep_news(first).await.unwrap();
    let notice = notice();
    let news =
        News { notices: vec![notice.clone()], told: vec![old.clone()], over: vec![expiring("old").id()] };
    a.model.interrupt(1);
    superseded(a.directory.keep_news(news.clone()).await);
    for node in [&a, &b] {
        assert_eq!(known(node).await, (vec![], vec![expiring("old")]));
    }
    a.directory.keep_news(news).await.unwrap();
    for node in [&a, &b] {
        assert_eq!(known(node).await, (vec![notice.clone()], vec![old.clone()]));
    }

    b.model.interrupt(1);
    superseded(b.directory.forget_notice(notice.event).await);
    for node in [&a, &b] {
        assert_eq!(known(node).await.0, std::slice::from_ref(&notice), "it is told once more");
    }
    b.directory.forget_notice(notice.event).await.unwrap();
    for node in [&a, &b] {
        assert_eq!(known(node).await, (vec![], vec![old.clone()]));
    }
    a.directory
        .forget_notice(notice.event)
        .await
        .expect("another node has told it, too: there is nothing to forget");
}

fn recovery_of(endpoint: EndpointId, now: Timestamp) -> Recovery {
    Recovery {
        id: RecoveryId::generate(now),
        endpoint,
        consumer: id("acme"),
        since: now,
        until: now,
        states: vec![DeliveryState::Exhausted],
        event_types: Default::default(),
        rate: 20,
        state: RecoveryState::Running,
        cursor: None,
        redelivered: 0,
        skipped: 0,
        live: Vec::new(),
        created_at: now,
        ended_at: None,
    }
}

/// What a node has to tell, and what it takes for told.
async fn known(node: &Node) -> (Vec<Notice>, Vec<Told>) {
    node.directory.catch_up().await.unwrap();
    let notices = node.directory.notices().iter().map(|notice| Notice::clone(notice)).collect();
    (notices, node.directory.told().iter().map(|told| Told::clone(told)).collect())
}

fn superseded(result: Result<(), ChangeError>) {
    assert!(matches!(result, Err(ChangeError::Store(StoreError::Superseded))), "{result:?}");
}

fn expiring(subject: &str) -> Told {
    Told::Expiring { subject: subject.to_owned(), not_after: Timestamp::from_seconds(9), warnings: 1 }
}

fn notice() -> Notice {
    let now = SystemClock.now();
    Notice {
        event: EventId::generate(now),
        event_type: EventType::parse("waxseal.endpoint.disabled").unwrap(),
        about: None,
        occurred_at: now,
        data: serde_json::json!({ "endpoint": "ep_1" }),
    }
}

fn event_without_deliveries(id: EventId, accepted_at: Timestamp) -> NewEvent {
    NewEvent {
        id,
        accepted_at,
        expires_at: None,
        event_type: "order.created".to_owned(),
        sealed: vec![1],
        wrapped_keys: Vec::new(),
        deliveries: Vec::new(),
        idempotency: None,
        changes: Vec::new(),
    }
}
