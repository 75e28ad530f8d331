//! Rotations under load: of the sender's signing keys, and of a consumer's encryption keys. Nothing is refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use waxseal_keys::{DecryptionKey, EncryptionKeyType};
use waxseal_tests::api::Api;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::sender::{Sender, SenderFolder};

use crate::keys::JwksServer;
use crate::support::{SHORT_KEYS, consumer, endpoint, key, publish, register, set};

/// Publishes with this pause until it is told to stop; returns how many.
fn load(api: &Api, pause: Duration, stop: &Arc<AtomicBool>) -> JoinHandle<usize> {
    let (api, stop) = (api.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut published = 0;
        while !stop.load(Ordering::SeqCst) {
            publish(&api, "acme", json!({ "n": published })).await;
            published += 1;
            sleep(pause).await;
        }
        published
    })
}

/// Every delivery was taken at its first attempt.
async fn nothing_was_refused(api: &Api, consumer: &Consumer, published: usize) {
    let taken = consumer.until_taken(published).await;
    assert_eq!(taken.len(), published);
    for state in ["pending", "retrying", "exhausted", "refused", "expired", "cancelled"] {
        let all_settled = |answer: &Value| answer["data"].as_array().is_some_and(Vec::is_empty);
        api.until(&format!("/v1/deliveries?state={state}"), all_settled).await;
    }
    let mut after = String::new();
    loop {
        let page = api.get(&format!("/v1/deliveries?limit=200{after}")).await;
        for delivery in page["data"].as_array().unwrap() {
            assert_eq!(delivery["attempts_made"], 1, "refused once: {delivery:#}");
        }
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return,
        }
    }
}

async fn rotate_when_ready(api: &Api) {
    for _ in 0..200 {
        let (status, answer) = api.call(reqwest::Method::POST, "/v1/signing-keys/rotate", None).await;
        if (200..300).contains(&status) {
            return;
        }
        assert_eq!(status, 409, "{answer}");
        sleep(Duration::from_millis(50)).await;
    }
    panic!("the standby never became ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_the_signing_keys_under_load_refuses_nothing() {
    let folder = SenderFolder::init(SHORT_KEYS, None);
    let sender = folder.start().await;
    let consumer = consumer(&folder.origin);
    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = load(&sender.api, HARDLY, &stop);
    for _ in 0..3 {
        rotate_when_ready(&sender.api).await;
        sleep(Duration::from_millis(300)).await;
    }
    stop.store(true, Ordering::SeqCst);
    let published = publishing.await.unwrap();
    nothing_was_refused(&sender.api, &consumer, published).await;
}

/// A key, and the set that has it alone.
type Key = (DecryptionKey, Value);

/// A sender, and its consumer `acme`, which has both keys for as long as it rotates.
async fn with_both() -> (SenderFolder, Sender, Consumer, [Key; 2]) {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let keys = [key(EncryptionKeyType::P256), key(EncryptionKeyType::X25519)];
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["a"],
        protection: "sealed",
        keys: &keys.clone().map(|(key, _)| key),
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    });
    register(&sender.api, "acme").await;
    (folder, sender, consumer, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_rotates_its_keys_under_load_misses_nothing() {
    let (_folder, sender, consumer, [(first, _), (second, _)]) = with_both().await;
    let keys = "/v1/consumers/acme/encryption-keys";
    sender.api.put(keys, json!({ "jwks": set(&[&first]) })).await;
    endpoint(&sender.api, "acme", &consumer.url("a"), "sealed", None).await;
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = load(&sender.api, HARDLY, &stop);
    for step in [&[&first, &second][..], &[&second], &[&second, &first], &[&first]] {
        sleep(Duration::from_millis(400)).await;
        sender.api.put(keys, json!({ "jwks": set(step) })).await;
    }
    stop.store(true, Ordering::SeqCst);
    let published = publishing.await.unwrap();
    nothing_was_refused(&sender.api, &consumer, published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_rotates_its_keys_at_its_jwks_uri_under_load_misses_nothing() {
    let (_folder, sender, consumer, [(first, first_set), (second, second_set)]) = with_both().await;
    let jwks = JwksServer::start(first_set, 1).await;
    let keys = "/v1/consumers/acme/encryption-keys";
    sender.api.put(keys, json!({ "jwks_uri": jwks.url, "admission": "automatic" })).await;
    endpoint(&sender.api, "acme", &consumer.url("a"), "sealed", None).await;
    let stop = Arc::new(AtomicBool::new(false));
    // A set is kept for a minute at least, so that there is much to publish meanwhile.
    let publishing = load(&sender.api, Duration::from_millis(20), &stop);
    until_sealed_to(&sender.api, &first).await;
    consumer.until_taken(10).await;
    jwks.publish(second_set);
    until_sealed_to(&sender.api, &second).await;
    let by_then = consumer.taken().len();
    consumer.until_taken(by_then + 50).await;
    stop.store(true, Ordering::SeqCst);
    let published = publishing.await.unwrap();
    nothing_was_refused(&sender.api, &consumer, published).await;
}

/// Waits until this is the one key of `acme` that the sender knows.
async fn until_sealed_to(api: &Api, key: &DecryptionKey) {
    let thumbprint = key.public_jwk().thumbprint().to_string();
    for _ in 0..1_200 {
        let known = api.get("/v1/consumers/acme/encryption-keys").await;
        let known = known["keys"].as_array().unwrap();
        if known.len() == 1 && known[0]["thumbprint"] == thumbprint.as_str() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the sender never had the one key that is published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_gone_from_the_published_set_at_once() {
    let folder = SenderFolder::init(SHORT_KEYS, None);
    let sender = folder.start().await;
    let kids = |answer: &Value, state: &str| -> Vec<String> {
        let data = answer["data"].as_array().unwrap().iter();
        data.filter(|key| key["state"] == state).map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let before = sender.api.get("/v1/signing-keys").await;
    let active = kids(&before, "active").remove(0);
    sender.api.post(&format!("/v1/signing-keys/{active}/revoke"), Value::Null).await;
    let published = sender.api.get("/.well-known/jwks.json").await;
    let still = published["keys"].as_array().unwrap().iter().any(|key| key["kid"] == active.as_str());
    assert!(!still, "{published}");
    assert_eq!(kids(&sender.api.get("/v1/signing-keys").await, "revoked"), [active]);
}

/// Between two events where there should be as many as can be.
const HARDLY: Duration = Duration::from_millis(2);
