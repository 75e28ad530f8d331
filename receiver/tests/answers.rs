//! The answers on the wire: status, headers and bodies of RFC 8935, and what never reaches a handler.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::Router;
use reqwest::{Client, Response, StatusCode, header::HeaderMap};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use waxseal_receiver::{Received, axum::webhook};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{Sender, deliver, serve};

struct Setup {
    sender: Sender,
    runs: Arc<AtomicUsize>,
    url: String,
}

/// A webhook that counts the runs of its handler, at `/hook`.
async fn setup() -> Setup {
    let sender = Sender::new("https://hooks.example.com");
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let hook = webhook(sender.receiver(), move |_: Received<serde_json::Value>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, std::io::Error>(()) }
    });
    let url = serve(Router::new().route("/hook", hook)).await + "/hook";
    Setup { sender, runs, url }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map_or("", |value| value.to_str().unwrap())
}

async fn refused(response: Response, err: &str) -> String {
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(header(response.headers(), "content-type"), "application/json");
    assert_eq!(header(response.headers(), "content-language"), "en");
    assert_eq!(header(response.headers(), "cache-control"), "no-store");
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(body["err"], err);
    assert_eq!(body.as_object().unwrap().len(), 2);
    body["description"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_event_and_its_repetition_are_202_and_empty() {
    let Setup { sender, runs, url } = setup().await;
    for _ in 0..2 {
        let response = deliver(&url, sender.signed("acme", "evt_1")).await;
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        assert_eq!(header(response.headers(), "content-length"), "0");
        assert!(response.bytes().await.unwrap().is_empty());
    }
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn refusals_have_the_shape_of_rfc_8935() {
    let Setup { sender, runs, url } = setup().await;
    refused(deliver(&url, b"not a token".to_vec()).await, "invalid_request").await;
    refused(deliver(&url, Vec::new()).await, "invalid_request").await;
    let other = Sender::new("https://hooks.example.com");
    let key = refused(deliver(&url, other.signed("acme", "evt_1")).await, "invalid_key").await;
    let stranger = Sender::new("https://stranger.example");
    assert_eq!(refused(deliver(&url, stranger.signed("acme", "evt_1")).await, "invalid_key").await, key);
    refused(deliver(&url, sender.signed("globex", "evt_1")).await, "invalid_audience").await;
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn verification_is_200_with_exactly_the_state_and_runs_no_handler() {
    let Setup { sender, runs, url } = setup().await;
    let token = sender.token(&sender.verification("acme", "evt_1", "s-123"), None);
    for _ in 0..2 {
        let response = deliver(&url, token.clone()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(response.headers(), "content-type"), "application/json");
        assert_eq!(response.text().await.unwrap(), r#"{"state":"s-123"}"#);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn the_media_type_is_compared_exactly() {
    let Setup { sender, url, .. } = setup().await;
    let post = |types: &[&str]| {
        let request = Client::new().post(&url).body(sender.signed("acme", "evt_1"));
        types.iter().fold(request, |request, media_type| request.header("Content-Type", *media_type)).send()
    };
    let refused: [&[&str]; 7] = [
        &[],
        &[""],
        &["application/json"],
        &["application/secevent+jwt; charset=utf-8"],
        &["application/secevent+jwt;"],
        &["application/secevent+jwt", "application/secevent+jwt"],
        &["application/secevent+jwt, application/json"],
    ];
    for types in refused {
        assert_eq!(post(types).await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{types:?}");
    }
    assert_eq!(post(&["Application/SecEvent+JWT"]).await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_body_over_256_kib_is_413_however_it_arrives() {
    let Setup { url, .. } = setup().await;
    let limit = 256 * 1024;
    assert_eq!(deliver(&url, vec![b'a'; limit]).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(deliver(&url, vec![b'a'; limit + 1]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    // In chunks, so that no header says how long it is.
    let mut stream =
        TcpStream::connect(url.trim_start_matches("http://").trim_end_matches("/hook")).await.unwrap();
    let head = "POST /hook HTTP/1.1\r\nHost: h\r\nContent-Type: application/secevent+jwt\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [b"10000\r\n".as_slice(), &[b'a'; 0x10000], b"\r\n"].concat();
    for _ in 0..5 {
        // The server may answer and stop reading before the last one.
        let _ = stream.write_all(&chunk).await;
    }
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");
}

#[tokio::test]
async fn only_post_is_a_delivery() {
    let Setup { url, .. } = setup().await;
    assert_eq!(reqwest::get(&url).await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
}
