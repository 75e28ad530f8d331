//! A healthy endpoint alone and beside bad neighbours: how long its deliveries take, and what the sender's memory is.
//!
//! The neighbours are a dead endpoint with a long backlog, tarpits that take connections and never answer (together
//! they could use every slot of the sender), and a consumer that floods its own endpoints: a backlog for each of them
//! and ever more events, faster than they take them. The sender is a process of its own with its default limits. The backlogs are published
//! straight into its store while it does not run; everything else goes through the API.
//!
//! What the neighbours cost the machine and what they cost their neighbour are two things. So a second sender, with a
//! healthy endpoint and nothing else, is measured at the same time on the same machine.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Mutex;

use crate::api::Api;
use crate::backlog;
use crate::sender::{Sender, SenderFolder, free_port};

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Events that wait for the dead endpoint.
    pub dead: usize,
    /// Tarpits, each with a few events.
    pub tarpits: usize,
    /// Events that wait for each of the flooding consumer's endpoints.
    pub flood: usize,
    /// Events a second for the healthy endpoint, and as many again for the flooding consumer.
    pub rate: u32,
    /// How long each of the two measurements takes.
    pub seconds: u32,
}

/// What came out.
#[derive(Clone, Debug)]
pub struct Figures {
    /// From publish to arrival of each of the healthy endpoint's events, ascending: alone on the machine.
    pub alone: Vec<Duration>,
    /// The same beside its neighbours.
    pub together: Vec<Duration>,
    /// The same of an endpoint alone in a sender of its own, at the same time as `together`.
    pub apart: Vec<Duration>,
    /// How many deliveries the flooding consumer got meanwhile.
    pub flooded: usize,
    /// How many deliveries are left to the dead endpoint.
    pub waiting: u64,
    /// The most memory that the sender's process had resident, in bytes: alone.
    pub memory_alone: u64,
    /// And beside its neighbours.
    pub memory: u64,
}

impl Figures {
    /// The time within which this share of the events arrived.
    pub fn within(times: &[Duration], share: f64) -> Duration {
        times[((times.len() - 1) as f64 * share) as usize]
    }
}

/// Measures alone, then together.
pub async fn run(scale: Scale) -> Figures {
    let folder = SenderFolder::init("[log]\nfilter = \"warn\"\n", None);
    let healthy = Arc::new(Healthy::default());
    let flooded = Arc::new(AtomicUsize::new(0));
    let sender = folder.start().await;
    let neighbours = neighbours(scale, &flooded).await;
    set_up(&sender.api, &healthy, &neighbours).await;
    open_loop(&sender.api, &healthy, scale.rate, 2).await;
    let alone = open_loop(&sender.api, &healthy, scale.rate, scale.seconds).await;
    let memory_alone = sender.process.peak_memory();
    assert!(sender.process.stop().success());

    let backlogs = [("dead", scale.dead), ("tarpit", PER_TARPIT), ("flooding", scale.flood)];
    backlog::publish(folder.path(), TYPE, 500, &backlogs).await;
    let sender = folder.start().await;
    let (other_folder, other_healthy) = (SenderFolder::init("", None), Arc::new(Healthy::default()));
    let other = other_folder.start().await;
    set_up(&other.api, &other_healthy, &[]).await;
    open_loop(&other.api, &other_healthy, scale.rate, 2).await;
    let more = tokio::spawn(keep_flooding(sender.api.clone(), scale.rate));
    // The neighbours show what they are: the breaker opens, the tarpits are overdue.
    warm_up(&sender, &healthy, scale).await;
    let before = flooded.load(Ordering::Relaxed);
    let (together, apart) = tokio::join!(
        open_loop(&sender.api, &healthy, scale.rate, scale.seconds),
        open_loop(&other.api, &other_healthy, scale.rate, scale.seconds),
    );
    more.abort();
    let flooded = flooded.load(Ordering::Relaxed) - before;
    let memory = sender.process.peak_memory();
    assert!(sender.process.stop().success());
    Figures { alone, together, apart, flooded, waiting: left(folder.path()), memory_alone, memory }
}

/// What the healthy endpoint got.
#[derive(Debug, Default)]
struct Healthy {
    got: Mutex<Vec<(Instant, Bytes)>>,
}

/// A consumer, where it receives, and at how many endpoints.
type Neighbour = (&'static str, String, usize);

async fn neighbours(scale: Scale, flooded: &Arc<AtomicUsize>) -> [Neighbour; 3] {
    let count = async |State(flooded): State<Arc<AtomicUsize>>, _: Bytes| {
        flooded.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(FLOODED_TAKES).await;
        StatusCode::ACCEPTED
    };
    let flooded = serve(Router::new().route("/", post(count)).with_state(Arc::clone(flooded))).await;
    let hang = async |_: Bytes| std::future::pending::<StatusCode>().await;
    let tarpit = serve(Router::new().route("/", post(hang))).await;
    let dead = format!("http://127.0.0.1:{}/", free_port());
    [("dead", dead, 1), ("tarpit", tarpit, scale.tarpits), ("flooding", flooded, FLOODED)]
}

async fn set_up(api: &Api, healthy: &Arc<Healthy>, neighbours: &[Neighbour]) {
    let keep = async |State(healthy): State<Arc<Healthy>>, body: Bytes| {
        healthy.got.lock().await.push((now(), body));
        StatusCode::ACCEPTED
    };
    let healthy = serve(Router::new().route("/", post(keep)).with_state(Arc::clone(healthy))).await;
    api.post("/v1/event-types", json!({ "name": TYPE })).await;
    for (consumer, url, endpoints) in neighbours.iter().chain(&[("healthy", healthy, 1)]) {
        api.post("/v1/consumers", json!({ "id": consumer })).await;
        for _ in 0..*endpoints {
            let endpoint = json!({ "consumer": consumer, "url": url, "event_types": [TYPE], "protection": "signed", "trusted": true });
            api.post("/v1/endpoints", endpoint).await;
        }
    }
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// Publishes to the flooding consumer and to the tarpits until it is aborted.
async fn keep_flooding(api: Api, rate: u32) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let text = "x".repeat(500);
    for n in 0_u64.. {
        ticks.tick().await;
        let consumer = if n % 10 == 0 { "tarpit" } else { "flooding" };
        let body = json!({ "type": TYPE, "data": text, "to": { "consumer": consumer } });
        let api = api.clone();
        tokio::spawn(async move { api.try_publish(&body).await });
    }
}

/// Until the dead endpoint's breaker is open.
async fn warm_up(sender: &Sender, healthy: &Healthy, scale: Scale) {
    let dead = sender.api.get("/v1/endpoints?consumer=dead").await["data"][0]["id"].clone();
    let path = format!("/v1/endpoints/{}", dead.as_str().unwrap());
    sender.api.until(&path, |endpoint| endpoint["health"]["breaker"] != "closed").await;
    open_loop(&sender.api, healthy, scale.rate, 2).await;
}

/// Publishes at a fixed rate, whatever comes of it; returns each event's time from publish to arrival, ascending.
async fn open_loop(api: &Api, healthy: &Healthy, rate: u32, seconds: u32) -> Vec<Duration> {
    healthy.got.lock().await.clear();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut begun = Vec::new();
    let mut requests = Vec::new();
    for n in 0..rate * seconds {
        ticks.tick().await;
        let api = api.clone();
        let data = json!({ "n": n, "text": "x".repeat(500) });
        let body = json!({ "type": TYPE, "data": data, "to": { "consumer": "healthy" } });
        begun.push(now());
        requests.push(tokio::spawn(async move { api.try_publish(&body).await.is_some() }));
    }
    for request in requests {
        assert!(request.await.unwrap(), "the sender refused an event");
    }
    let all = async {
        while healthy.got.lock().await.len() < begun.len() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("the healthy endpoint gets its events");
    let got = healthy.got.lock().await;
    let mut times: Vec<_> = got.iter().map(|(at, body)| at.duration_since(begun[number(body)])).collect();
    times.sort_unstable();
    times
}

/// The number that this token's event carries.
fn number(token: &[u8]) -> usize {
    let payload = token.split(|byte| *byte == b'.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let event = claims["events"].as_object().unwrap().values().next().unwrap();
    usize::try_from(event["data"]["n"].as_u64().unwrap()).unwrap()
}

/// How many deliveries are live for the endpoint with the longest backlog.
fn left(folder: &Path) -> u64 {
    let store = rusqlite::Connection::open(folder.join("waxseal.db")).unwrap();
    let sql = "SELECT max(live) FROM (SELECT count(*) AS live FROM delivery_live GROUP BY route)";
    u64::try_from(store.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap()).unwrap()
}

#[expect(clippy::disallowed_methods, reason = "a measurement measures the real time")]
fn now() -> Instant {
    Instant::now()
}

const TYPE: &str = "order.created";
const FLOODED: usize = 4;
/// With sixteen POSTs at once to each, 64 a second: what counts is whose turn it is, not how fast the machine is.
const FLOODED_TAKES: Duration = Duration::from_secs(1);
const PER_TARPIT: usize = 50;
