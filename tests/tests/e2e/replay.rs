//! Audience, replay, handlers that fail, altered tokens.

use serde_json::{Value, json};
use waxseal_keys::DecryptionKey;
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::sender::{Sender, SenderFolder};
use waxseal_tests::sink::Sink;

use crate::support::{endpoint, key, publish, register, trusted_endpoint};

/// Delivers these bytes as a sender would; returns the status and the `err` of the answer.
async fn deliver(client: &reqwest::Client, url: &str, token: Vec<u8>) -> (u16, String) {
    let request = client.post(url).header("content-type", "application/secevent+jwt").body(token);
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let answer: Value = response.json().await.unwrap_or_default();
    (status, answer["err"].as_str().unwrap_or("").to_owned())
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// A running sender, and a token for `acme` that was taken off the wire.
async fn captured(folder: &SenderFolder, sealed_to: Option<Value>) -> (Sender, Vec<u8>) {
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    let protection = if sealed_to.is_some() { "sealed" } else { "signed" };
    let keys = sealed_to.map(|set| json!({ "jwks": set }));
    trusted_endpoint(&sender.api, "acme", &sink.url(), protection, keys).await;
    publish(&sender.api, "acme", json!({ "order": "991" })).await;
    (sender, sink.next().await.1.to_vec())
}

fn consumer(folder: &SenderFolder, audience: &str, protection: &str, keys: &[DecryptionKey]) -> Consumer {
    Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience,
        scopes: &["a", "b"],
        protection,
        keys,
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_one_audience_is_refused_by_another_that_holds_the_same_keys() {
    let folder = SenderFolder::init("", None);
    let (secret, set) = key(EncryptionKeyType::P256);
    let (_sender, token) = captured(&folder, Some(set)).await;
    let other = consumer(&folder, "globex", "sealed", std::slice::from_ref(&secret));
    let refused = deliver(&client(), &other.url("a"), token.clone()).await;
    assert_eq!(refused, (400, "invalid_audience".to_owned()));
    assert!(other.taken().is_empty());
    let own = consumer(&folder, "acme", "sealed", &[secret]);
    assert_eq!(deliver(&client(), &own.url("a"), token).await.0, 202, "the token itself is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_token_is_taken_once_by_each_endpoint_of_a_replay_store() {
    let folder = SenderFolder::init("", None);
    let (_sender, token) = captured(&folder, None).await;
    let consumer = consumer(&folder, "acme", "signed", &[]);
    for _ in 0..3 {
        for scope in ["a", "b"] {
            assert_eq!(deliver(&client(), &consumer.url(scope), token.clone()).await.0, 202);
        }
    }
    let mut scopes: Vec<_> = consumer.taken().into_iter().map(|taken| taken.scope).collect();
    scopes.sort();
    assert_eq!(scopes, ["a", "b"], "once each, and neither swallows the other's");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_with_an_altered_byte_is_taken() {
    let folder = SenderFolder::init("", None);
    let (secret, set) = key(EncryptionKeyType::P256);
    let (_sender, token) = captured(&folder, Some(set)).await;
    let consumer = consumer(&folder, "acme", "sealed", &[secret]);
    let (client, url) = (client(), consumer.url("a"));
    for at in 0..token.len() {
        let mut altered = token.clone();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let (status, err) = deliver(&client, &url, altered).await;
        assert_eq!(status, 400, "byte {at}");
        assert!(err == "invalid_key" || err == "invalid_request", "byte {at}: {err}");
    }
    assert!(consumer.taken().is_empty());
    assert_eq!(deliver(&client, &url, token).await.0, 202, "unaltered it is good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_fails_gets_the_next_attempt_and_then_never_again() {
    let folder =
        SenderFolder::init("[delivery]\nretry = [\"100ms\", \"100ms\", \"100ms\", \"1s\", \"2s\"]\n", None);
    let sender = folder.start().await;
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["a"],
        protection: "signed",
        keys: &[],
        fail_first: 2,
        delay_ms: 0,
        tls: None,
    });
    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    let id = publish(&sender.api, "acme", json!(7)).await;
    let path = format!("/v1/deliveries?event={id}");
    let answer = sender.api.until(&path, |answer| answer["data"][0]["state"] == "delivered").await;
    let delivery = answer["data"][0]["id"].as_str().unwrap();
    let attempts = sender.api.get(&format!("/v1/deliveries/{delivery}/attempts")).await;
    let results: Vec<_> = attempts["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| attempt["status"].as_u64().unwrap())
        .collect();
    assert_eq!(results, [503, 503, 202], "{attempts:#}");
    sender.api.post(&format!("/v1/deliveries/{delivery}/redeliver"), Value::Null).await;
    let both = |answer: &Value| {
        let data = answer["data"].as_array().unwrap();
        data.len() == 2 && data.iter().all(|delivery| delivery["state"] == "delivered")
    };
    sender.api.until(&path, both).await;
    assert_eq!(consumer.taken().len(), 1, "a redelivery of what was taken is acknowledged, not handled");
}
