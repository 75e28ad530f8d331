//! `waxseal listen`, a receiver on the command line: what it prints, answers and hands on.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::sink::Sink;

use crate::support::{endpoint, key, publish, register, trusted_endpoint};

const QUICK: &str =
    "[delivery]\nretry = [\"50ms\", \"50ms\", \"50ms\", \"50ms\", \"50ms\", \"50ms\", \"50ms\"]\n";

/// Starts it with these options; returns it and where it listens.
fn listen(folder: &SenderFolder, options: &[&str]) -> (Process, String) {
    let mut command = Command::new(program("waxseal"));
    command.args(["listen", "--issuer", &folder.origin, "--audience", "acme", "--listen", "127.0.0.1:0"]);
    let process = Process::start("waxseal listen", command.args(options).current_dir(folder.path()));
    let url = process.line_after("listening on ");
    (process, url)
}

/// The data of the next event that it says to have received.
fn received(process: &Process, id: &str) -> Value {
    let rest = process.line_after(&format!("received {id} order.created "));
    serde_json::from_str(&rest).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_opens_prints_and_hands_on() {
    let folder = SenderFolder::init(QUICK, None);
    let sender = folder.start().await;
    let (private, public) = key(EncryptionKeyType::X25519);
    std::fs::write(folder.file("key.json"), private.to_jwk().to_json().as_bytes()).unwrap();
    let (local, mut handed_on) = Local::start().await;
    let options = ["--key", "key.json", "--sealed-only", "--path", "/hooks", "--forward", &local.url];
    let (process, url) = listen(&folder, &options);

    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &url, "sealed", Some(json!({ "jwks": public }))).await;
    process.line_after("verification event: ");
    let event = publish(&sender.api, "acme", json!({ "order": "991" })).await;
    assert_eq!(received(&process, &event), json!({ "order": "991" }));
    let local_event = handed_on.recv().await.unwrap();
    assert_eq!((&local_event["id"], &local_event["data"]["order"]), (&json!(event), &json!("991")));
    assert_eq!(local_event["sealed_to"], json!(private.kid()));
    let delivered = |page: &Value| page["data"][0]["state"] == "delivered";
    sender.api.until(&format!("/v1/deliveries?event={event}"), delivered).await;

    // What the local program does not take is not taken here: the sender comes again.
    local.status.store(500, Ordering::SeqCst);
    let event = publish(&sender.api, "acme", json!({ "order": "992" })).await;
    assert_eq!(handed_on.recv().await.unwrap()["id"], json!(event));
    process.line_after("not handed on: ");
    local.status.store(204, Ordering::SeqCst);
    sender.api.until(&format!("/v1/deliveries?event={event}"), delivered).await;

    // A key set of its own is published where a sender looks for one.
    let base = url.strip_suffix("/hooks").unwrap();
    let keys = reqwest::get(format!("{base}/.well-known/jwks.json")).await.unwrap();
    assert_eq!(keys.json::<Value>().await.unwrap()["keys"][0]["kid"], json!(private.kid()));
    assert!(process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_why_it_refuses_and_knows_what_it_has_taken() {
    let folder = SenderFolder::init(QUICK, None);
    let sender = folder.start().await;
    let mut sink = Sink::start().await;
    register(&sender.api, "acme").await;
    trusted_endpoint(&sender.api, "acme", &sink.url(), "signed", None).await;
    let event = publish(&sender.api, "acme", json!(7)).await;
    let token = sink.next().await.1;

    let (process, url) = listen(&folder, &[]);
    let present = async |token: Vec<u8>, media_type: &str| {
        let request = reqwest::Client::new().post(&url).header("content-type", media_type).body(token);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap_or_default())
    };
    let secevent = "application/secevent+jwt";
    assert_eq!(present(token.to_vec(), secevent).await.0, 202);
    assert_eq!(received(&process, &event), json!(7));
    assert_eq!(present(token.to_vec(), secevent).await.0, 202);
    process.line_after(&format!("again    {event}"));

    assert_eq!(present(token.to_vec(), "application/json").await.0, 415);
    let (status, body) = present(b"nonsense".to_vec(), secevent).await;
    assert_eq!((status, &body["err"]), (400, &json!("invalid_request")));
    process.line_after("REFUSED at parse: ");
    let mut forged = token.to_vec();
    let last = forged.len() - 3;
    forged[last] = if forged[last] == b'A' { b'B' } else { b'A' };
    let (status, body) = present(forged, secevent).await;
    assert_eq!((status, &body["err"]), (400, &json!("invalid_key")));
    process.line_after("REFUSED at verify: ");

    let (sealed_only, strict_url) = {
        let (private, _) = key(EncryptionKeyType::P256);
        std::fs::write(folder.file("key.json"), private.to_jwk().to_json().as_bytes()).unwrap();
        listen(&folder, &["--key", "key.json", "--sealed-only"])
    };
    let request = reqwest::Client::new().post(strict_url).header("content-type", secevent);
    assert_eq!(request.body(token).send().await.unwrap().status(), 400);
    sealed_only.line_after("REFUSED at decrypt: it is signed only");
}

/// A program that takes plain JSON.
struct Local {
    url: String,
    status: Arc<AtomicU16>,
}

impl Local {
    async fn start() -> (Self, UnboundedReceiver<Value>) {
        let status = Arc::new(AtomicU16::new(204));
        let (sender, received) = unbounded_channel();
        let router = axum::Router::new().route("/take", post(take)).with_state((sender, Arc::clone(&status)));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}/take", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Self { url, status }, received)
    }
}

async fn take(
    State((sender, status)): State<(UnboundedSender<Value>, Arc<AtomicU16>)>,
    Json(event): Json<Value>,
) -> StatusCode {
    // The test may have ended.
    let _ = sender.send(event);
    StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap()
}
