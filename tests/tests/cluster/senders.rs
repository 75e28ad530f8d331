//! Whole senders on one store: their HTTP APIs, their engines, their published keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use reqwest::Method;
use serde_json::{Value, json};
use waxseal_keys::{Clock, KeyEncryptionKey, SystemClock};
use waxseal_sender::api::auth::{Grant, NewToken};
use waxseal_sender::directory::To;
use waxseal_sender::engine::EnginePolicy;
use waxseal_sender::model::endpoint::{EndpointStatus, PauseReason};
use waxseal_sender::model::token::Scope;
use waxseal_sender::sender::Sender;
use waxseal_sender::store::NodeRole;
use waxseal_tests::api::Api;
use waxseal_tests::sink::Sink;
use waxseal_tests::store_model::StoreModel;

use crate::node::{consumer, endpoint, until};
use crate::receiver::Receiver;
use crate::sender;

#[tokio::test]
async fn what_one_api_has_answered_another_works_by() {
    let (one, other) = two().await;
    let token = NewToken::generate(grant(), SystemClock.now());
    one.sender.directory().create_token(token.record.clone()).await.unwrap();
    one.sender.directory().everywhere().await;
    let (first, second) = (one.api(&token.secret), other.api(&token.secret));
    first.post("/v1/consumers", json!({ "id": "acme" })).await;
    assert_eq!(second.get("/v1/consumers/acme").await["id"], "acme");
    let body = json!({ "scopes": ["read"], "label": "for a while" });
    for round in 0..20 {
        let (here, there) = if round % 2 == 0 { (&first, &other) } else { (&second, &one) };
        let made = here.post("/v1/tokens", body.clone()).await;
        let fresh = there.api(made["token"].as_str().unwrap());
        fresh.get("/v1/consumers").await;
        let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
        here.expect(Method::DELETE, &path, None).await;
        let (status, _) = fresh.call(Method::GET, "/v1/consumers", None).await;
        assert_eq!(status, 401, "it was withdrawn");
    }
    let keys = first.get("/v1/signing-keys").await;
    let active = keys["data"].as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
    let kid = active["kid"].as_str().unwrap().to_owned();
    second.post(&format!("/v1/signing-keys/{kid}/revoke"), Value::Null).await;
    assert!(!first.text("/.well-known/jwks.json").await.contains(&kid), "it was revoked on another node");
    one.sender.stop().await;
    other.sender.stop().await;
}

#[tokio::test]
async fn a_node_that_has_lost_the_store_publishes_no_keys_and_takes_no_token() {
    let (one, other) = two().await;
    let token = NewToken::generate(grant(), SystemClock.now());
    one.sender.directory().create_token(token.record.clone()).await.unwrap();
    one.sender.directory().everywhere().await;
    let api = other.api(&token.secret);
    let jwks = async || api.call(Method::GET, "/.well-known/jwks.json", None).await.0;
    assert_eq!(jwks().await, 200);
    other.model.set_reachable(false);
    until_answered(jwks, 503).await;
    let tokens = async || api.call(Method::GET, "/v1/event-types", None).await.0;
    until_answered(tokens, 503).await;
    assert_eq!(one.api(&token.secret).call(Method::GET, "/v1/event-types", None).await.0, 200);
    other.model.set_reachable(true);
    until_answered(jwks, 200).await;
    until_answered(tokens, 200).await;
    one.sender.stop().await;
    other.sender.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_paused_also_if_others_change_something_at_that_moment() {
    let (one, other) = two().await;
    let mut sink = Sink::start().await;
    sink.answer(410);
    let directory = one.sender.directory();
    sender::declare(directory, &["acme"]).await;
    let made = endpoint("acme", sink.url().parse().unwrap());
    let made = directory.create_endpoint(made, None).await.unwrap();
    directory.everywhere().await;
    one.model.interrupt(3);
    one.sender.publisher().publish(sender::publication(To::All)).await.unwrap();
    for node in [&one, &other] {
        until("the pause", || {
            let status = node.sender.directory().endpoint(made.id).map(|endpoint| endpoint.status.clone());
            matches!(status, Some(EndpointStatus::Paused { reason: PauseReason::Gone, .. }))
        })
        .await;
    }
    sink.next().await;
    assert!(sink.waiting().is_none(), "what it answered was recorded, and it was not asked again");
    one.sender.stop().await;
    other.sender.stop().await;
}

/// It delivers until it has stopped, so it has to work by what is changed meanwhile.
#[tokio::test]
async fn a_node_that_ends_what_is_in_flight_keeps_nobodys_change_waiting() {
    let (one, other) = two().await;
    let receiver = Receiver::start(Duration::from_secs(8)).await;
    sender::declare(one.sender.directory(), &["acme"]).await;
    one.sender.directory().create_endpoint(endpoint("acme", receiver.url("slow")), None).await.unwrap();
    one.sender.directory().everywhere().await;
    one.sender.publisher().publish(sender::publication(To::All)).await.unwrap();
    until("it is in flight", || receiver.in_flight() == 1).await;
    let delivers = |node: &Running| node.sender.engine().stats().in_flight == 1;
    let (stops, stays) = if delivers(&one) { (one, other) } else { (other, one) };
    assert!(delivers(&stops));
    let stopping = tokio::spawn(stops.sender.stop());
    let directory = stays.sender.directory();
    for name in ["beta", "gamma"] {
        directory.create_consumer(consumer(name)).await.unwrap();
        directory.everywhere().await;
    }
    assert!(!stopping.is_finished(), "whoever changed something waited for what was in flight elsewhere");
    stopping.await.unwrap();
    stays.sender.stop().await;
    assert_eq!((receiver.total(), receiver.repeated()), (1, 0));
}

/// A sender with its API.
struct Running {
    model: StoreModel,
    sender: Sender,
    address: SocketAddr,
}

impl Running {
    fn api(&self, token: &str) -> Api {
        Api::new(&format!("http://{}", self.address), token, None)
    }
}

async fn two() -> (Running, Running) {
    let model = StoreModel::shared(Arc::new(SystemClock));
    let kek = KeyEncryptionKey::generate();
    let other = model.for_another_node();
    (start(model, &kek).await, start(other, &kek).await)
}

async fn start(model: StoreModel, kek: &KeyEncryptionKey) -> Running {
    let (kek, engine) = (sender::again(kek), EnginePolicy::default());
    let sender = sender::start(model.clone(), kek, NodeRole::All, engine).await;
    let router: Router = sender.router(String::new);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Running { model, sender, address }
}

fn grant() -> Grant {
    Grant { label: None, scopes: [Scope::Admin].into(), consumer: None, expires_at: None }
}

async fn until_answered(ask: impl AsyncFn() -> u16, expected: u16) {
    for _ in 0..600 {
        if ask().await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{expected} was not answered");
}
