//! Endpoints that are well, and what they got when.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use http::StatusCode;
use waxseal_keys::{Clock, SystemClock, Timestamp};

/// A server with an endpoint for each consumer, all of them sound.
pub(crate) struct Neighbours {
    origin: String,
    got: Got,
}

/// One token that arrived.
#[derive(Clone)]
pub(crate) struct Arrived {
    pub(crate) consumer: String,
    pub(crate) token: Bytes,
    pub(crate) at: Timestamp,
}

type Got = Arc<Mutex<Vec<Arrived>>>;

impl Neighbours {
    pub(crate) async fn start() -> Self {
        let got = Got::default();
        let router = Router::new().route("/{consumer}", axum::routing::post(take)).with_state(got.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, got }
    }

    pub(crate) fn url(&self, consumer: &str) -> String {
        format!("{}/{consumer}", self.origin)
    }

    /// What this consumer's endpoint got so far.
    pub(crate) fn of(&self, consumer: &str) -> Vec<Arrived> {
        self.got.lock().unwrap().iter().filter(|one| one.consumer == consumer).cloned().collect()
    }
}

async fn take(State(got): State<Got>, Path(consumer): Path<String>, token: Bytes) -> StatusCode {
    got.lock().unwrap().push(Arrived { consumer, token, at: SystemClock.now() });
    StatusCode::ACCEPTED
}
