//! The endpoint that takes everything: a process of its own, so that its CPU time is not the sender's.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use reqwest::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use waxseal_tests::process::Process;

/// A running sink.
pub(crate) struct Sink {
    /// Its process.
    pub(crate) process: Process,
    origin: String,
    client: Client,
}

impl Sink {
    /// Starts one.
    pub(crate) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let process = Process::start("sink", command.arg("sink"));
        let origin = format!("http://{}", process.line_after("listening "));
        Self { process, origin, client: Client::builder().no_proxy().build().unwrap() }
    }

    /// Where deliveries are posted.
    pub(crate) fn url(&self) -> String {
        format!("{}/hooks", self.origin)
    }

    /// Waits until so many deliveries have arrived since it started.
    pub(crate) async fn wait_for(&self, count: usize) {
        let mut last = (0, 0);
        loop {
            let now = self.count().await;
            if now >= count {
                return;
            }
            last = if now == last.0 { (now, last.1 + 1) } else { (now, 0) };
            assert!(last.1 < 30_000, "{now} of {count} deliveries have arrived, and no more come");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// How many deliveries have arrived since it started.
    pub(crate) async fn count(&self) -> usize {
        self.get("count").await
    }

    /// From now on it keeps what arrives.
    pub(crate) async fn keep(&self) {
        self.get::<Value>("keep").await;
    }

    /// The tokens that it kept, with their times of arrival in nanoseconds.
    pub(crate) async fn kept(&self) -> Vec<(u64, String)> {
        self.get("kept").await
    }

    async fn get<T: serde::de::DeserializeOwned>(&self, what: &str) -> T {
        let answer = self.client.get(format!("{}/{what}", self.origin)).send().await.unwrap();
        answer.json().await.unwrap()
    }
}

/// Now, as both processes tell it.
pub(crate) fn nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(since.as_nanos()).unwrap()
}

#[derive(Default)]
struct Arrived {
    count: AtomicUsize,
    keep: AtomicBool,
    kept: Mutex<Vec<(u64, Bytes)>>,
}

type Shared = State<Arc<Arrived>>;

/// The process itself.
pub(crate) async fn run() {
    let router = Router::new()
        .route("/hooks", post(receive))
        .route("/count", get(async |State(arrived): Shared| Json(arrived.count.load(Ordering::Relaxed))))
        .route("/keep", get(keep))
        .route("/kept", get(kept))
        .with_state(Arc::new(Arrived::default()));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    println!("listening {}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

async fn receive(State(arrived): Shared, body: Bytes) -> StatusCode {
    if arrived.keep.load(Ordering::Relaxed) {
        arrived.kept.lock().await.push((nanos(), body));
    }
    arrived.count.fetch_add(1, Ordering::Relaxed);
    StatusCode::ACCEPTED
}

async fn keep(State(arrived): Shared) -> Json<Value> {
    arrived.keep.store(true, Ordering::Relaxed);
    Json(Value::Null)
}

async fn kept(State(arrived): Shared) -> Json<Vec<(u64, String)>> {
    let kept = arrived.kept.lock().await;
    Json(kept.iter().map(|(at, token)| (*at, String::from_utf8(token.to_vec()).unwrap())).collect())
}
