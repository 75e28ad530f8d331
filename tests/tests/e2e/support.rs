//! What these tests do again and again.

use serde_json::{Value, json};
use waxseal_keys::DecryptionKey;
use waxseal_keys::{EncryptionKeyType, generate_decryption_key};
use waxseal_tests::api::Api;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};

/// The event type that they publish.
pub const TYPE: &str = "order.created";

/// Keys that live for seconds: the order of states is that of production.
pub const SHORT_KEYS: &str =
    "[signing]\npending_for = \"2s\"\nretiring_for = \"2s\"\njwks_max_age = \"1s\"\n";

/// A consumer of signed events.
pub fn consumer(issuer: &str) -> Consumer {
    Consumer::start(&ConsumerSetup {
        issuer,
        audience: "acme",
        scopes: &["a"],
        protection: "signed",
        keys: &[],
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    })
}

/// Declares the type and creates a consumer.
pub async fn register(api: &Api, consumer: &str) {
    let (status, answer) =
        api.call(reqwest::Method::POST, "/v1/event-types", Some(json!({ "name": TYPE }))).await;
    assert!(status == 201 || status == 409, "{status} {answer}");
    api.post("/v1/consumers", json!({ "id": consumer })).await;
}

/// Creates an endpoint whose receiver proves that it wants events; returns its id.
pub async fn endpoint(api: &Api, consumer: &str, url: &str, protection: &str, keys: Option<Value>) -> String {
    create(api, json!({ "consumer": consumer, "url": url, "protection": protection }), keys).await
}

/// Creates an endpoint that is trusted, because what answers there proves nothing; returns its id.
pub async fn trusted_endpoint(
    api: &Api,
    consumer: &str,
    url: &str,
    protection: &str,
    keys: Option<Value>,
) -> String {
    let body = json!({ "consumer": consumer, "url": url, "protection": protection, "trusted": true });
    create(api, body, keys).await
}

async fn create(api: &Api, mut body: Value, keys: Option<Value>) -> String {
    body["event_types"] = json!([TYPE]);
    if let Some(keys) = keys {
        body["encryption_keys"] = keys;
    }
    api.post("/v1/endpoints", body).await["id"].as_str().unwrap().to_owned()
}

/// Publishes one event to a consumer; returns its id.
pub async fn publish(api: &Api, consumer: &str, data: Value) -> String {
    let body = json!({ "type": TYPE, "data": data, "to": { "consumer": consumer } });
    api.post("/v1/events", body).await["id"].as_str().unwrap().to_owned()
}

/// A decryption key, and the set of its public half.
pub fn key(kind: EncryptionKeyType) -> (DecryptionKey, Value) {
    let key = generate_decryption_key(kind).unwrap();
    let set = set(&[&key]);
    (key, set)
}

/// The JWK Set of these keys' public halves.
pub fn set(keys: &[&DecryptionKey]) -> Value {
    let keys: Vec<_> = keys.iter().map(|key| key.public_jwk().to_json()).collect();
    json!({ "keys": keys })
}
