//! What the operator is told, from its cause to the operator's endpoint.

mod arriving;

use std::sync::Arc;
use std::time::Duration;

use axum::response::IntoResponse;
use http::StatusCode;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use waxseal_envelope::Data;
use waxseal_sender::directory::Directory;
use waxseal_sender::engine::{EngineHandle, EngineParts};
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::leadership::Leadership;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::{EndpointStatus, Protection};
use waxseal_sender::operations::{Operations, OperationsParts, OperationsPolicy};
use waxseal_sender::store::{DeliveryFilter, RecordKind};

use super::support::{Receiver, Sender, err, until};

/// The operator's view of a sender: telling, until it is stopped.
struct Telling {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Telling {
    fn start(sender: &Sender, engine: &EngineHandle) -> Self {
        Self::by(sender, engine, policy())
    }

    fn by(sender: &Sender, engine: &EngineHandle, policy: OperationsPolicy) -> Self {
        let EngineParts { store, directory, signing_keys, clock, .. } = &sender.parts;
        let parts = OperationsParts {
            directory: directory.clone(),
            store: store.clone(),
            engine: Arc::new(engine.clone()),
            signing_keys: signing_keys.clone(),
            publisher: sender.publisher(Some(engine)),
            clock: clock.clone(),
        };
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(Operations::new(parts, policy).run(stopped, Leadership::sole()));
        Self { stop, task }
    }

    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

fn policy() -> OperationsPolicy {
    OperationsPolicy {
        consumer: Some(ConsumerId::parse("ops").unwrap()),
        held_after: Duration::from_millis(500),
        summary_every: Duration::from_millis(500),
        ..OperationsPolicy::default()
    }
}

/// The next event at the operator's endpoint: its type and what it says.
async fn next(sender: &Sender, operator: &mut Receiver) -> (String, Value) {
    let opened = sender.open(&operator.next().await, "ops", None);
    let Data::Json(json) = &opened.event.data else { panic!("an operational event is JSON") };
    (opened.event.event_type.as_str().to_owned(), serde_json::from_str(json.get()).unwrap())
}

async fn deliveries_to(sender: &Sender, consumer: &str) -> usize {
    let consumer = Some(ConsumerId::parse(consumer).unwrap());
    let filter = DeliveryFilter { consumer, limit: 100, ..DeliveryFilter::default() };
    sender.parts.store.deliveries(filter).await.unwrap().deliveries.len()
}

async fn until_paused(sender: &Sender, endpoint: EndpointId) {
    until(async || sender.parts.directory.endpoint(endpoint).filter(|e| !e.is_active()).map(drop)).await;
}

#[tokio::test]
async fn an_endpoint_that_the_engine_pauses_is_told_and_so_is_its_resumption() {
    let sender = Sender::new().await;
    let mut operator = Receiver::accepting().await;
    let gone = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    sender.endpoint("ops", &operator.url, Protection::Signed).await;
    let endpoint = sender.endpoint("acme", &format!("{}?token=hunter2", gone.url), Protection::Signed).await;
    let engine = sender.start();
    let telling = Telling::start(&sender, &engine);
    sender.publish(Some(&engine), "acme", r#"{"secret":"pineapple"}"#).await;

    let (event_type, said) = next(&sender, &mut operator).await;
    assert_eq!(event_type, "waxseal.endpoint.disabled");
    assert_eq!((&said["consumer"], &said["reason"]), (&"acme".into(), &"gone".into()));
    assert_eq!(said["endpoint"], endpoint.to_string());
    for secret in ["pineapple", "hunter2", "127.0.0.1"] {
        assert!(!said.to_string().contains(secret), "{said}");
    }
    let resume = |endpoint: &mut waxseal_sender::model::endpoint::Endpoint| {
        endpoint.status = EndpointStatus::Active;
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, resume).await.unwrap();
    let (event_type, said) = next(&sender, &mut operator).await;
    assert_eq!((event_type.as_str(), &said["reason"]), ("waxseal.endpoint.resumed", &"gone".into()));
    telling.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn what_was_not_told_before_the_end_of_a_process_is_told_by_the_next_one_and_once() {
    let mut sender = Sender::new().await;
    let mut operator = Receiver::accepting().await;
    let gone = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    sender.endpoint("ops", &operator.url, Protection::Signed).await;
    let endpoint = sender.endpoint("acme", &gone.url, Protection::Signed).await;
    let engine = sender.start();
    sender.publish(Some(&engine), "acme", "1").await;
    until_paused(&sender, endpoint).await;
    engine.stop().await;
    // Nobody has told anything: the cause and its notice are on disk, in one transaction.
    assert_eq!(deliveries_to(&sender, "ops").await, 0);

    for round in 1..=3 {
        // A process that is killed after it has published and before it has forgotten: its records come back.
        let records = sender.parts.store.records().await.unwrap();
        let notices: Vec<_> =
            records.into_iter().filter(|record| record.kind == RecordKind::Notice).collect();
        let EngineParts { store, data_keys, clock, .. } = &sender.parts;
        let reloaded =
            Directory::load_with_clock(store.clone(), data_keys.clone(), clock.clone()).await.unwrap();
        sender.parts.directory = reloaded;
        assert_eq!(sender.parts.directory.notices().len(), notices.len());
        let engine = sender.start();
        let telling = Telling::start(&sender, &engine);
        until(async || sender.parts.directory.notices().is_empty().then_some(())).await;
        assert_eq!(deliveries_to(&sender, "ops").await, 1, "in round {round}");
        telling.stop().await;
        engine.stop().await;
        let put = notices.into_iter().map(waxseal_sender::store::RecordChange::Put).collect();
        sender.parts.store.change(put).await.unwrap();
    }
    let (event_type, _) = next(&sender, &mut operator).await;
    assert_eq!(event_type, "waxseal.endpoint.disabled");
}

#[tokio::test]
async fn trouble_of_the_operators_own_endpoint_is_told_to_nobody() {
    let sender = Sender::new().await;
    let gone = Receiver::answering(|_| StatusCode::GONE.into_response()).await;
    let mut second = Receiver::accepting().await;
    let own = sender.endpoint("ops", &gone.url, Protection::Signed).await;
    let engine = sender.start();
    let telling = Telling::start(&sender, &engine);
    sender.publish(Some(&engine), "ops", "1").await;
    until_paused(&sender, own).await;
    until(async || sender.parts.directory.notices().is_empty().then_some(())).await;
    assert_eq!(deliveries_to(&sender, "ops").await, 1, "what was published, and nothing about it");

    // Trouble of others is told all the same, here to a second endpoint of the operator.
    let endpoint = sender.parts.directory.endpoint(own).unwrap();
    let another = waxseal_sender::model::endpoint::Endpoint {
        id: EndpointId::generate(sender.parts.clock.now()),
        url: second.url.parse().unwrap(),
        status: EndpointStatus::Active,
        ..(*endpoint).clone()
    };
    sender.parts.directory.create_endpoint(another, None).await.unwrap();
    sender.endpoint("acme", &gone.url, Protection::Signed).await;
    sender.publish(Some(&engine), "acme", "1").await;
    assert_eq!(next(&sender, &mut second).await.0, "waxseal.endpoint.disabled");
    telling.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn refusals_and_bad_ends_are_counted_and_not_told_one_by_one() {
    let sender = Sender::new().await;
    let mut operator = Receiver::accepting().await;
    let refusing = Receiver::answering(|_| err("invalid_request")).await;
    sender.endpoint("ops", &operator.url, Protection::Signed).await;
    let endpoint = sender.endpoint("acme", &refusing.url, Protection::Signed).await;
    let engine = sender.start();
    let telling = Telling::start(&sender, &engine);
    for n in 0..10 {
        sender.publish(Some(&engine), "acme", &n.to_string()).await;
    }
    let (mut refused, mut ended, mut events) = (0, 0, 0);
    while refused < 30 || ended < 10 {
        let (event_type, said) = next(&sender, &mut operator).await;
        events += 1;
        let group = &said["groups"][0];
        assert_eq!(
            (&group["code"], &group["type"]),
            (&"answer.invalid_request".into(), &"order.created".into())
        );
        assert_eq!(group["endpoint"], endpoint.to_string());
        let count = said["count"].as_u64().unwrap();
        assert_eq!(said["by_code"]["answer.invalid_request"], count);
        match event_type.as_str() {
            "waxseal.attempts.refused" => refused += count,
            "waxseal.deliveries.ended" => {
                assert_eq!(group["state"], "exhausted");
                ended += count;
            }
            other => panic!("{other}"),
        }
    }
    // Each delivery: three refused attempts that were repeated, and a fourth that ended it.
    assert_eq!((refused, ended), (30, 10));
    assert!(events < 10, "{events} events for 40 refusals");
    telling.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_hold_that_lasts_is_told_and_its_end_too() {
    let sender = Sender::new().await;
    let mut operator = Receiver::accepting().await;
    let mut receiver = Receiver::accepting().await;
    sender.endpoint("ops", &operator.url, Protection::Signed).await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Sealed).await;
    let engine = sender.start();
    let telling = Telling::start(&sender, &engine);
    let published = sender.publish(Some(&engine), "acme", "1").await;

    let (event_type, said) = next(&sender, &mut operator).await;
    assert_eq!((event_type.as_str(), &said["code"]), ("waxseal.deliveries.held", &"hold.no_key_set".into()));
    assert_eq!(
        (&said["total"], &said["endpoints"][0]["endpoint"]),
        (&1.into(), &endpoint.to_string().into())
    );
    assert!(receiver.is_idle(), "nothing is sent in clear");
    let key = sender.new_key("acme").await;
    let (event_type, said) = next(&sender, &mut operator).await;
    assert_eq!(
        (event_type.as_str(), &said["code"]),
        ("waxseal.deliveries.released", &"hold.no_key_set".into())
    );
    sender.open(&receiver.next().await, "acme", Some(&key));
    sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
    telling.stop().await;
    engine.stop().await;
}

#[tokio::test]
async fn a_revoked_signing_key_is_told() {
    let sender = Sender::new().await;
    let mut operator = Receiver::accepting().await;
    sender.endpoint("ops", &operator.url, Protection::Signed).await;
    let engine = sender.start();
    let telling = Telling::start(&sender, &engine);
    until(async || (!sender.parts.directory.told().is_empty()).then_some(())).await;
    let kid = sender.parts.signing_keys.active().unwrap().kid().to_owned();
    sender.parts.signing_keys.revoke(&kid).await.unwrap();
    // Nothing signs, so nothing can be told by post yet; it is on disk and waits.
    let waiting = until(async || {
        let consumer = Some(ConsumerId::parse("ops").unwrap());
        let filter = DeliveryFilter { consumer, limit: 9, ..DeliveryFilter::default() };
        let found = sender.parts.store.deliveries(filter).await.unwrap().deliveries;
        (found.len() == 2).then_some(found)
    })
    .await;
    let mut types = Vec::new();
    for delivery in &waiting {
        types.push(sender.parts.store.event(delivery.event).await.unwrap().unwrap().event_type);
    }
    types.sort();
    assert_eq!(types, ["waxseal.signing_key.revoked", "waxseal.signing_key.rotated"]);
    assert!(operator.is_idle());
    telling.stop().await;
    engine.stop().await;
}
