//! An endpoint that counts what reaches it, and how much at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::net::TcpListener;

/// Answers every POST after a while; counts by path and by event.
#[derive(Clone)]
pub struct Receiver {
    address: String,
    state: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    pause: Duration,
    /// In the order in which they came: the path, and the event.
    events: Vec<(String, String)>,
    at_once: HashMap<String, usize>,
    most_at_once: usize,
}

impl Receiver {
    pub async fn start(pause: Duration) -> Self {
        let state = Arc::new(Mutex::new(Seen { pause, ..Seen::default() }));
        let router = Router::new().route("/{name}", post(take)).with_state(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    pub fn url(&self, name: &str) -> url::Url {
        format!("{}/{name}", self.address).parse().unwrap()
    }

    /// How often each event came, whatever the path.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for (name, event) in &self.state.lock().unwrap().events {
            *counts.entry(format!("{name} {event}")).or_default() += 1;
        }
        counts
    }

    /// How many different ones came.
    pub fn distinct(&self) -> usize {
        self.counts().len()
    }

    /// How many came more than once, each as often as it came again.
    pub fn repeated(&self) -> usize {
        self.counts().values().map(|count| count - 1).sum()
    }

    /// How many came at all.
    pub fn total(&self) -> usize {
        self.state.lock().unwrap().events.len()
    }

    /// The events of one path, in their order.
    pub fn order(&self, name: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.events.iter().filter(|(path, _)| path == name).map(|(_, event)| event.clone()).collect()
    }

    /// How many are being answered just now.
    pub fn in_flight(&self) -> usize {
        self.state.lock().unwrap().at_once.values().sum()
    }

    /// How many there were at once, of one path, at most.
    pub fn most_at_once(&self) -> usize {
        self.state.lock().unwrap().most_at_once
    }
}

async fn take(State(state): State<Arc<Mutex<Seen>>>, Path(name): Path<String>, body: String) -> StatusCode {
    let pause = {
        let mut seen = state.lock().unwrap();
        let at_once = seen.at_once.entry(name.clone()).or_default();
        *at_once += 1;
        let at_once = *at_once;
        seen.most_at_once = seen.most_at_once.max(at_once);
        seen.events.push((name.clone(), event_of(&body)));
        seen.pause
    };
    // Also if the caller goes away, it ends.
    let ended = tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        *state.lock().unwrap().at_once.get_mut(&name).unwrap() -= 1;
    });
    ended.await.unwrap();
    StatusCode::ACCEPTED
}

/// The id of the event in a token that is signed and not sealed. Who verifies tokens is tested elsewhere.
fn event_of(token: &str) -> String {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    payload["jti"].as_str().unwrap().to_owned()
}
