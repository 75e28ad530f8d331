//! Consumers' encryption keys: by `jwks_uri` with admission, missing, arriving late.

use std::sync::{Arc, RwLock};

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::pki::Pki;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::support::{endpoint, key, publish, register, trusted_endpoint};

/// Serves a JWK Set that the test can change.
pub(crate) async fn jwks_server(set: Value) -> (String, Arc<RwLock<Value>>) {
    let shared = Arc::new(RwLock::new(set));
    let served = Arc::clone(&shared);
    let router = Router::new().route(
        "/jwks.json",
        get(move || async move {
            let text = served.read().unwrap().to_string();
            ([("content-type", "application/jwk-set+json"), ("cache-control", "max-age=1")], text)
        }),
    );
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, shared)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_key_is_used_only_once_it_is_admitted() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let (secret, set) = key(EncryptionKeyType::P256);
    let thumbprint = secret.public_jwk().thumbprint().to_string();
    let (jwks_uri, _) = jwks_server(set).await;
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["orders"],
        protection: "sealed",
        keys: &[secret],
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    });
    register(&sender.api, "acme").await;
    sender
        .api
        .put("/v1/consumers/acme/encryption-keys", json!({ "jwks_uri": jwks_uri, "admission": "approve" }))
        .await;
    let seen = |answer: &Value| answer["keys"][0]["thumbprint"] == thumbprint.as_str();
    let set = sender.api.until("/v1/consumers/acme/encryption-keys", seen).await;
    assert!(set["keys"][0]["admitted_at"].is_null(), "{set}");
    let id = endpoint(&sender.api, "acme", &consumer.url("orders"), "sealed", None).await;
    publish(&sender.api, "acme", json!(1)).await;
    let held = |answer: &Value| answer["hold"].is_string();
    let held = sender.api.until(&format!("/v1/endpoints/{id}"), held).await;
    assert_eq!(held["hold"], "hold.key_not_admitted", "{held}");
    assert!(consumer.taken().is_empty());
    sender
        .api
        .post(&format!("/v1/consumers/acme/encryption-keys/{thumbprint}/admit"), serde_json::Value::Null)
        .await;
    assert_eq!(consumer.until_taken(1).await[0].data, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn automatic_admission_uses_a_fetched_key_at_once() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let (secret, set) = key(EncryptionKeyType::X25519);
    let (jwks_uri, _) = jwks_server(set).await;
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["orders"],
        protection: "sealed",
        keys: &[secret],
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    });
    register(&sender.api, "acme").await;
    let source = json!({ "jwks_uri": jwks_uri, "admission": "automatic" });
    sender.api.put("/v1/consumers/acme/encryption-keys", source).await;
    endpoint(&sender.api, "acme", &consumer.url("orders"), "sealed", None).await;
    publish(&sender.api, "acme", json!(2)).await;
    assert_eq!(consumer.until_taken(1).await[0].data, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumers_own_set_is_fetched_over_tls_under_a_private_authority() {
    let pki = Pki::new();
    let folder = SenderFolder::init("", Some(&pki));
    let sender = folder.start().await;
    let (secret, _) = key(EncryptionKeyType::P256);
    let thumbprint = secret.public_jwk().thumbprint().to_string();
    let start = |tls| {
        Consumer::start(&ConsumerSetup {
            issuer: &folder.origin,
            audience: "acme",
            scopes: &["orders"],
            protection: "sealed",
            keys: std::slice::from_ref(&secret),
            fail_first: 0,
            delay_ms: 0,
            tls: Some(tls),
        })
    };
    let (consumer, stranger) = (start(&pki), start(&Pki::new()));
    register(&sender.api, "acme").await;
    let keys = "/v1/consumers/acme/encryption-keys";
    let given = |consumer: &Consumer| json!({ "jwks_uri": format!("{}/.well-known/jwks.json", consumer.origin), "admission": "automatic" });
    sender.api.put(keys, given(&stranger)).await;
    let id = endpoint(&sender.api, "acme", &consumer.url("orders"), "sealed", None).await;
    publish(&sender.api, "acme", json!(3)).await;
    let unreachable = |answer: &Value| answer["hold"] == "hold.key_set_unreachable";
    sender.api.until(&format!("/v1/endpoints/{id}"), unreachable).await;
    sender.api.put(keys, given(&consumer)).await;
    assert_eq!(consumer.until_taken(1).await[0].data, "3");
    let known = sender.api.get(keys).await;
    assert_eq!(known["keys"][0]["thumbprint"], thumbprint.as_str(), "{known}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_usable_key_nothing_is_sent_in_clear_and_nothing_is_lost() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    let id = trusted_endpoint(&sender.api, "acme", &sink.url(), "sealed", None).await;
    let event = publish(&sender.api, "acme", json!({ "secret": "pineapple" })).await;
    let held = sender.api.until(&format!("/v1/endpoints/{id}"), |answer| answer["hold"].is_string()).await;
    assert_eq!(held["hold"], "hold.no_key_set", "{held}");
    let delivery = sender.api.get(&format!("/v1/deliveries?event={event}")).await;
    assert_eq!(delivery["data"][0]["state"], "pending", "a hold is not an attempt");
    assert!(sink.waiting().is_none(), "nothing was sent");
    let (_, set) = key(EncryptionKeyType::P256);
    sender.api.put("/v1/consumers/acme/encryption-keys", json!({ "jwks": set })).await;
    let (headers, body) = sink.next().await;
    assert_eq!(headers["content-type"], "application/secevent+jwt");
    assert_eq!(body.split(|byte| *byte == b'.').count(), 5, "it is a JWE");
}
