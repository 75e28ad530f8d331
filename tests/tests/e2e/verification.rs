//! Which endpoints get events: those of our own receiver, by themselves; not servers that answer something.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::header::LOCATION;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::api::Api;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::program::{run, waxseal};
use crate::support::{endpoint, key, publish, register};

/// Three attempts within a second.
const QUICK: &str =
    "[verification]\nanswer_within = \"300ms\"\npauses = [\"300ms\", \"300ms\"]\nhost_apart = \"1ms\"\n";

async fn verification(api: &Api, endpoint: &str, wanted: &str) -> Value {
    let is = |shown: &Value| shown["verification"]["status"] == wanted;
    api.until(&format!("/v1/endpoints/{endpoint}"), is).await["verification"].clone()
}

/// The first delivery of an event.
async fn delivery(api: &Api, event: &str) -> Value {
    api.get(&format!("/v1/deliveries?event={event}")).await["data"][0].clone()
}

fn consumer(folder: &SenderFolder, keys: &[waxseal_keys::DecryptionKey]) -> Consumer {
    Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["a", "b"],
        protection: "either",
        keys,
        fail_first: 0,
        delay_ms: 0,
        tls: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn our_receiver_proves_itself_signed_and_sealed_and_the_proof_outlives_the_process() {
    let folder = SenderFolder::init(QUICK, None);
    let sender = folder.start().await;
    let (private, set) = key(EncryptionKeyType::X25519);
    let consumer = consumer(&folder, &[private]);
    register(&sender.api, "acme").await;
    let signed = endpoint(&sender.api, "acme", &consumer.url("a"), "signed", None).await;
    let sealed =
        endpoint(&sender.api, "acme", &consumer.url("b"), "sealed", Some(json!({ "jwks": set }))).await;
    for id in [&signed, &sealed] {
        let shown = verification(&sender.api, id, "proven").await;
        assert!(shown["since"].is_string() && shown["code"].is_null() && shown["by"].is_null(), "{shown}");
        let said = waxseal(&folder, "", &["endpoint", "verify", id]);
        assert!(said.contains("status:") && said.contains("proven"), "{said}");
    }
    assert!(waxseal(&folder, "", &["endpoint", "show", &sealed]).contains("proven"));
    publish(&sender.api, "acme", json!(1)).await;
    let taken = consumer.until_taken(2).await;
    assert!(
        taken.iter().all(|one| one.event_type == "order.created"),
        "no handler saw the question: {taken:?}"
    );

    assert!(sender.process.stop().success());
    let sender = folder.start().await;
    publish(&sender.api, "acme", json!(2)).await;
    consumer.until_taken(4).await;
    for id in [&signed, &sealed] {
        assert_eq!(sender.api.get(&format!("/v1/endpoints/{id}")).await["verification"]["status"], "proven");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_only_answers_gets_nothing_and_nobody_learns_what_it_answered() {
    let folder = SenderFolder::init(QUICK, None);
    let sender = folder.start().await;
    register(&sender.api, "acme").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let stranger = stranger(Arc::clone(&asked)).await;
    let closed = format!("http://127.0.0.1:{}/", waxseal_tests::sender::free_port());
    let mut urls: Vec<_> =
        ["accepted", "html", "body", "redirect", "gone"].map(|path| format!("{stranger}/{path}")).into();
    urls.push(closed);
    let mut ids = Vec::new();
    for url in &urls {
        ids.push(endpoint(&sender.api, "acme", url, "signed", None).await);
    }
    let event = publish(&sender.api, "acme", json!({ "secret": 1 })).await;
    for id in &ids {
        let shown = verification(&sender.api, id, "failed").await;
        let expected = json!({
            "status": "failed", "code": "verification.not_confirmed", "since": null, "by": null, "expires_at": null,
        });
        assert_eq!(shown, expected, "the same for whatever answers, or nothing");
        let shown = sender.api.get(&format!("/v1/endpoints/{id}")).await;
        assert_eq!(shown["status"]["state"], "active");
        assert_eq!(shown["hold"], "hold.endpoint_unverified");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 15, "three times each");
    let listed = sender.api.text("/v1/deliveries").await;
    assert_eq!(listed.matches("\"pending\"").count(), ids.len(), "{listed}");
    assert_eq!(delivery(&sender.api, &event).await["attempts_made"], 0);
    assert!(!sender.process.log().contains("hunter2"));

    let (status, stdout, stderr) = run(&folder, "", &["endpoint", "verify", &ids[0]]);
    assert_eq!(status, 1, "{stdout}{stderr}");
    assert!(
        stdout.contains("verification.not_confirmed") && stderr.contains("has not answered"),
        "{stdout}{stderr}"
    );

    // An operator may say that it is the right one all the same.
    let trust = ["endpoint", "update", &ids[0], "--trusted", "true"];
    let (status, _, stderr) = run(&folder, "", &trust);
    let meant = ["--to", &urls[0], "--protection", "signed"];
    assert!(status == 2 && stderr.contains(&meant.join(" ")), "what would be trusted is shown: {stderr}");
    let said = waxseal(&folder, "", &[&trust[..], &meant].concat());
    assert!(said.contains(&urls[0]) && said.contains("signed") && said.contains("trusted"), "{said}");
    let delivered = |page: &Value| page["data"][0]["state"] == "delivered";
    let path = format!("/v1/deliveries?event={event}&endpoint={}", ids[0]);
    sender.api.until(&path, delivered).await;
}

/// A server of somebody else; no path of it does what a receiver does.
async fn stranger(asked: Arc<AtomicUsize>) -> String {
    let answer = move |uri: Uri, body: Bytes| {
        asked.fetch_add(1, Ordering::SeqCst);
        async move { answer(uri.path(), body) }
    };
    let router = Router::new().fallback(post(answer));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    origin
}

fn answer(path: &str, body: Bytes) -> Response {
    match path {
        "/accepted" => StatusCode::ACCEPTED.into_response(),
        "/html" => "<html>hunter2: this domain is for sale</html>".into_response(),
        "/redirect" => (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, "/accepted")]).into_response(),
        "/gone" => (StatusCode::GONE, "hunter2").into_response(),
        _ => body.into_response(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_its_receiver_does_not_hold_gets_nothing_sealed_to_it() {
    let folder = SenderFolder::init(QUICK, None);
    let sender = folder.start().await;
    let ((private, right), (_, wrong)) = (key(EncryptionKeyType::P256), key(EncryptionKeyType::P256));
    let consumer = consumer(&folder, &[private]);
    register(&sender.api, "acme").await;
    let id =
        endpoint(&sender.api, "acme", &consumer.url("a"), "sealed", Some(json!({ "jwks": wrong }))).await;
    let event = publish(&sender.api, "acme", json!(1)).await;
    verification(&sender.api, &id, "failed").await;
    assert_eq!(delivery(&sender.api, &event).await["attempts_made"], 0);
    // The right key is asked for by itself, and what has waited is delivered.
    sender.api.put(&format!("/v1/endpoints/{id}/encryption-keys"), json!({ "jwks": right })).await;
    verification(&sender.api, &id, "proven").await;
    assert_eq!(consumer.until_taken(1).await[0].id, event);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_dies_while_it_asks_goes_on_where_it_was() {
    let slow =
        "[verification]\nanswer_within = \"300ms\"\npauses = [\"1500ms\", \"300ms\"]\nhost_apart = \"1ms\"\n";
    let folder = SenderFolder::init(slow, None);
    let mut sender = folder.start().await;
    register(&sender.api, "acme").await;
    let mut sink = Sink::start().await;
    let id = endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    let first = sink.next().await.1;
    sender.process.kill();
    let sender = folder.start().await;
    let (second, third) = (sink.next().await.1, sink.next().await.1);
    assert!(first != second && second != third, "each has a state of its own");
    verification(&sender.api, &id, "failed").await;
    assert!(sink.waiting().is_none(), "three attempts, however many processes make them");
}
