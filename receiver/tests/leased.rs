//! The extractor: handlers that settle events themselves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    extract::{FromRef, State},
    http::StatusCode,
    routing::post,
};
use waxseal_receiver::{Answer, Receiver, Settled, axum::Leased};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{Sender, deliver, serve};

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

#[derive(Clone)]
struct App {
    receiver: Receiver,
    runs: Arc<AtomicUsize>,
}

impl FromRef<App> for Receiver {
    fn from_ref(app: &App) -> Self {
        app.receiver.clone()
    }
}

/// Drops the permit in the first run, and commits from the second on.
async fn take(
    State(App { runs, .. }): State<App>,
    Leased { received, permit, .. }: Leased<Order>,
) -> Result<Answer, StatusCode> {
    assert_eq!(received.data.order, "991");
    if runs.fetch_add(1, Ordering::SeqCst) == 0 {
        return Err(StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!(permit.commit().await.unwrap(), Settled::Applied);
    Ok(Answer::Taken)
}

async fn setup() -> (Sender, Arc<AtomicUsize>, String) {
    let sender = Sender::new("https://hooks.example.com");
    let runs = Arc::new(AtomicUsize::new(0));
    let state = App { receiver: sender.receiver(), runs: runs.clone() };
    let url = serve(Router::new().route("/hook", post(take)).with_state(state)).await + "/hook";
    (sender, runs, url)
}

#[tokio::test]
async fn a_dropped_permit_lets_the_next_attempt_through_and_a_committed_one_does_not() {
    let (sender, runs, url) = setup().await;
    let token = sender.signed("acme", "evt_1");
    assert_eq!(deliver(&url, token.clone()).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    // The abort of a dropped permit is a task of its own, which may be behind the answer.
    let taken = loop {
        let response = deliver(&url, token.clone()).await;
        if response.status() != StatusCode::SERVICE_UNAVAILABLE {
            break response;
        }
    };
    assert_eq!(taken.status(), StatusCode::ACCEPTED);
    assert_eq!(deliver(&url, token).await.status(), StatusCode::ACCEPTED);
    assert_eq!(runs.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn everything_but_a_new_event_is_answered_before_the_handler() {
    let (sender, runs, url) = setup().await;
    let question = sender.token(&sender.verification("acme", "evt_1", "s-123"), None);
    assert_eq!(deliver(&url, question).await.text().await.unwrap(), r#"{"state":"s-123"}"#);
    assert_eq!(deliver(&url, sender.signed("globex", "evt_1")).await.status(), StatusCode::BAD_REQUEST);
    assert_eq!(deliver(&url, vec![b'a'; 256 * 1024 + 1]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let untyped = reqwest::Client::new().post(&url).body(sender.signed("acme", "evt_1"));
    assert_eq!(untyped.send().await.unwrap().status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let event = support::event(&sender.issuer, "acme", "evt_2", "[1,2]");
    for _ in 0..2 {
        let response = deliver(&url, sender.token(&event, None)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 0);
}
