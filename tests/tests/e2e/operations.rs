//! A consumer whose keys become unusable: held, told to the operator, never downgraded, and released by a new key.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use serde_json::{Value, json};
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::consumer::{Consumer, ConsumerSetup, Taken};
use waxseal_tests::sender::SenderFolder;

use crate::support::{key, publish, register, trusted_endpoint};

/// A consumer's service: its JWK Set, and an endpoint that keeps what it is sent.
#[derive(Clone)]
struct Acme {
    origin: String,
    set: Arc<RwLock<Value>>,
    got: Arc<Mutex<Vec<Bytes>>>,
    opens: Arc<AtomicBool>,
}

impl Acme {
    async fn start(set: Value) -> Self {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (got, opens) = (Arc::default(), Arc::new(AtomicBool::new(true)));
        let this = Self { origin, set: Arc::new(RwLock::new(set)), got, opens };
        let (serving, receiving) = (this.clone(), this.clone());
        let router = Router::new()
            .route("/jwks.json", get(async move || serving.jwks()))
            .route("/hooks", post(async move |body: Bytes| receiving.receive(body)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    fn jwks(&self) -> Response {
        let set = self.set.read().unwrap().to_string();
        ([("content-type", "application/jwk-set+json")], set).into_response()
    }

    fn receive(&self, body: Bytes) -> Response {
        self.got.lock().unwrap().push(body);
        if self.opens.load(Ordering::SeqCst) {
            return StatusCode::ACCEPTED.into_response();
        }
        let refused = r#"{"err":"invalid_key","description":"the token could not be opened"}"#;
        (StatusCode::BAD_REQUEST, [("content-type", "application/json")], refused).into_response()
    }

    fn got(&self) -> usize {
        self.got.lock().unwrap().len()
    }

    async fn until_got(&self, count: usize) {
        for _ in 0..400 {
            if self.got() >= count {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("{} of {count} posts", self.got());
    }
}

/// What an operational event says.
fn said(taken: &Taken) -> Value {
    serde_json::from_str(&taken.data).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_set_that_becomes_unusable_is_held_and_told_and_never_downgraded() {
    let folder = SenderFolder::init(
        "[operations]\nconsumer = \"ops\"\nheld_after = \"1s\"\nsummary_every = \"1s\"\n",
        None,
    );
    let sender = folder.start().await;
    // The operator is a consumer like any other: what it is told is signed and sealed.
    let (ops_secret, ops_set) = key(EncryptionKeyType::P256);
    let operator = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "ops",
        scopes: &["trouble"],
        protection: "sealed",
        keys: &[ops_secret],
        fail_first: 1,
        delay_ms: 0,
        tls: None,
    });
    sender.api.post("/v1/consumers", json!({ "id": "ops" })).await;
    let subscription = json!({
        "consumer": "ops", "url": operator.url("trouble"), "protection": "sealed", "order": "fifo",
        "event_types": ["waxseal.deliveries.held", "waxseal.deliveries.released"],
        "encryption_keys": { "jwks": ops_set },
    });
    sender.api.post("/v1/endpoints", subscription).await;

    let (_, good) = key(EncryptionKeyType::P256);
    let acme = Acme::start(good).await;
    register(&sender.api, "acme").await;
    let source = json!({ "jwks_uri": format!("{}/jwks.json", acme.origin), "admission": "automatic" });
    sender.api.put("/v1/consumers/acme/encryption-keys", source).await;
    let id = trusted_endpoint(&sender.api, "acme", &format!("{}/hooks", acme.origin), "sealed", None).await;
    publish(&sender.api, "acme", json!({ "secret": "pineapple-1" })).await;
    acme.until_got(1).await;

    // The set loses its key. The sender notices when what it sealed cannot be opened, and looks the set up again.
    *acme.set.write().unwrap() = json!({ "keys": [] });
    acme.opens.store(false, Ordering::SeqCst);
    publish(&sender.api, "acme", json!({ "secret": "pineapple-2" })).await;
    let held = sender.api.until(&format!("/v1/endpoints/{id}"), |answer| answer["hold"].is_string()).await;
    assert!(
        ["hold.no_usable_key", "hold.key_set_unreachable"].contains(&held["hold"].as_str().unwrap()),
        "{held}"
    );
    let told = operator.until_taken(1).await.remove(0);
    assert!(told.event_type.ends_with("waxseal.deliveries.held"), "{told:?}");
    assert_eq!(said(&told)["code"], held["hold"]);
    assert_eq!(said(&told)["endpoints"][0]["endpoint"], id.as_str());
    let posted = acme.got();
    publish(&sender.api, "acme", json!({ "secret": "pineapple-3" })).await;
    let waiting = sender.api.get("/v1/deliveries?consumer=acme&state=pending,retrying").await;
    assert_eq!(waiting["data"].as_array().unwrap().len(), 2, "{waiting}");

    // A new key, and everything goes on.
    acme.opens.store(true, Ordering::SeqCst);
    let (_, new) = key(EncryptionKeyType::X25519);
    let thumbprint = waxseal_keys::Jwk::from_value(&new["keys"][0]).unwrap().thumbprint().to_string();
    sender.api.put("/v1/consumers/acme/encryption-keys", json!({ "jwks": new })).await;
    acme.until_got(posted + 2).await;
    let told = operator.until_taken(2).await.remove(1);
    assert!(told.event_type.ends_with("waxseal.deliveries.released"), "{told:?}");
    assert_eq!(said(&told)["endpoints"][0]["endpoint"], id.as_str());
    let over = |answer: &Value| answer["data"].as_array().is_some_and(|data| data.len() == 3);
    let delivered = sender.api.until("/v1/deliveries?consumer=acme&state=delivered", over).await;

    // Nothing readable was ever posted, and each attempt says which keys signed and sealed it.
    for body in acme.got.lock().unwrap().iter() {
        assert_eq!(body.split(|byte| *byte == b'.').count(), 5, "it is a JWE");
    }
    let path = format!("/v1/deliveries/{}/attempts", delivered["data"][0]["id"].as_str().unwrap());
    let attempts = sender.api.get(&path).await;
    let last = attempts["data"].as_array().unwrap().last().unwrap();
    assert!(last["signing_kid"].is_string());
    assert_eq!(last["encryption_kid"], thumbprint.as_str(), "{attempts}");
    // And who gave the new key is on record.
    let trail = sender.api.get("/v1/audit?object=acme&action=encryption_keys.update").await;
    assert_eq!(trail["data"][0]["changed"]["keys"]["after"][0]["thumbprint"], thumbprint.as_str(), "{trail}");
}
