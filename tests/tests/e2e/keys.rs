//! Consumers' encryption keys: by `jwks_uri` with admission, rolled over there, in certificates, missing,
//! arriving late.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::api::Api;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::pki::Pki;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::program::waxseal;
use crate::support::{TYPE, endpoint, key, publish, register, set, trusted_endpoint};

/// A JWK Set behind a URL, that the test can change.
pub(crate) struct JwksServer {
    pub(crate) url: String,
    set: Arc<RwLock<Value>>,
    asked: Arc<AtomicUsize>,
}

impl JwksServer {
    /// Serves this set, to be used for so many seconds.
    pub(crate) async fn start(set: Value, max_age: u32) -> Self {
        let (set, asked) = (Arc::new(RwLock::new(set)), Arc::<AtomicUsize>::default());
        let (served, counted) = (Arc::clone(&set), Arc::clone(&asked));
        let answer = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            let text = served.read().unwrap().to_string();
            let max_age = format!("max-age={max_age}");
            ([("content-type", "application/jwk-set+json".to_owned()), ("cache-control", max_age)], text)
        };
        let origin = serve(Router::new().route("/jwks.json", get(answer))).await;
        Self { url: format!("{origin}/jwks.json"), set, asked }
    }

    pub(crate) fn publish(&self, set: Value) {
        *self.set.write().unwrap() = set;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

/// Lets `acme` give its keys by this URL, and waits until they are known.
async fn fetched(api: &Api, jwks: &JwksServer) {
    let path = "/v1/consumers/acme/encryption-keys";
    api.put(path, json!({ "jwks_uri": jwks.url, "admission": "automatic" })).await;
    api.until(path, |answer| answer["keys"].as_array().is_some_and(|keys| !keys.is_empty())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetched_key_is_used_only_once_it_is_admitted() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let (secret, set) = key(EncryptionKeyType::P256);
    let thumbprint = secret.public_jwk().thumbprint().to_string();
    let jwks = JwksServer::start(set, 3_600).await;
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
        .put("/v1/consumers/acme/encryption-keys", json!({ "jwks_uri": jwks.url, "admission": "approve" }))
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
    let jwks = JwksServer::start(set, 3_600).await;
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
    fetched(&sender.api, &jwks).await;
    endpoint(&sender.api, "acme", &consumer.url("orders"), "sealed", None).await;
    publish(&sender.api, "acme", json!(2)).await;
    assert_eq!(consumer.until_taken(1).await[0].data, "2");
}

/// The sender would not ask for an hour, and not post again for an hour.
const PATIENT: &str = "[delivery]\nretry = [\"1h\"]\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_rolled_over_is_found_out_by_the_answer_and_the_event_posted_again_at_once() {
    let folder = SenderFolder::init(PATIENT, None);
    let sender = folder.start().await;
    let api = &sender.api;
    let (old, old_set) = key(EncryptionKeyType::P256);
    let (new, _) = key(EncryptionKeyType::P256);
    let jwks = JwksServer::start(old_set, 3_600).await;
    register(api, "acme").await;
    fetched(api, &jwks).await;
    let (old_kid, new_kid) = (old.kid().to_owned(), new.kid().to_owned());
    // The new key stands behind the old one, which the receiver has put away already.
    jwks.publish(set(&[&old, &new]));
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["orders"],
        protection: "sealed",
        keys: &[new],
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    });
    trusted_endpoint(api, "acme", &consumer.url("orders"), "sealed", None).await;
    let event = publish(api, "acme", json!({ "n": 1 })).await;
    assert_eq!(consumer.until_taken(1).await[0].data, r#"{"n":1}"#);

    let delivered = |answer: &Value| answer["data"][0]["state"] == "delivered";
    let deliveries = api.until(&format!("/v1/deliveries?event={event}"), delivered).await;
    let id = deliveries["data"][0]["id"].as_str().unwrap();
    let attempts = api.get(&format!("/v1/deliveries/{id}/attempts")).await;
    let told: Vec<_> = attempts["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["result"].as_str().unwrap(), attempt["encryption_kid"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("answer.invalid_key", old_kid.as_str()), ("delivered", new_kid.as_str())]);
    assert_eq!(jwks.asked(), 2, "when it was named, and when the old key was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_answers_that_a_key_is_wrong_ask_for_the_set_once() {
    let folder = SenderFolder::init(PATIENT, None);
    let sender = folder.start().await;
    let api = &sender.api;
    let jwks = JwksServer::start(key(EncryptionKeyType::P256).1, 3_600).await;
    register(api, "acme").await;
    fetched(api, &jwks).await;
    let posted = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&posted);
    let refuse = move || async move {
        counted.fetch_add(1, Ordering::SeqCst);
        let body = r#"{"err":"invalid_key","description":"."}"#;
        (StatusCode::BAD_REQUEST, [("content-type", "application/json")], body)
    };
    let origin = serve(Router::new().route("/hooks", post(refuse))).await;
    trusted_endpoint(api, "acme", &format!("{origin}/hooks"), "sealed", None).await;
    for number in 0..50 {
        publish(api, "acme", json!(number)).await;
    }
    let refused = |answer: &Value| answer["data"].as_array().is_some_and(|all| all.len() == 50);
    api.until("/v1/deliveries?consumer=acme&state=retrying&limit=100", refused).await;
    assert_eq!(posted.load(Ordering::SeqCst), 50, "nothing is posted again under the key that was refused");
    assert_eq!(jwks.asked(), 2, "when it was named, and once for all of the answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_certificate_that_is_given_with_the_program_is_on_record() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    std::fs::write(folder.file("certificate.pem"), Pki::new().client("acme").cert).unwrap();
    waxseal(&folder, "", &["consumer", "keys", "acme", "set", "certificate.pem"]);
    let create = ["endpoint", "create", "--consumer", "acme", "--to", "http://127.0.0.1:9/", "--type", TYPE];
    let keys = ["--protection", "sealed", "--keys", "certificate.pem", "--json"];
    let made = waxseal(&folder, "", &[&create[..], &keys].concat());
    let made: Value = serde_json::from_str(&made).unwrap();
    for owner in ["consumers/acme".to_owned(), format!("endpoints/{}", made["id"].as_str().unwrap())] {
        let set = api.get(&format!("/v1/{owner}/encryption-keys")).await;
        assert_eq!(set["keys"][0]["certificate_not_after"], "4096-01-01T00:00:00.000Z", "{owner}: {set}");
    }
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
