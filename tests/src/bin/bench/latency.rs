//! Open loop: 200 events a second, whatever comes of them, from publish to arrival, by way of either store, beside what no
//! durable webhook can do without: a POST in, one flush to disk (an append and `fdatasync`), a POST out. The file is on
//! the disk that the store is on: both are in the folder for temporary files.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use waxseal_tests::sender::SenderFolder;

use crate::case::{CONFIG, TYPE};
use crate::load::Target;
use crate::report::Progress;
use crate::sink::{Sink, nanos};
use crate::store::{Kind, Servers};

/// Milliseconds, ascending.
#[derive(Serialize)]
pub(crate) struct Latency {
    ours: Vec<f64>,
    limit: Vec<f64>,
}

impl Latency {
    /// What is promised: a share of the events, and how many times the limit's time they may take.
    pub(crate) const PROMISED: [(&str, f64, Option<f64>); 3] =
        [("p50", 0.5, Some(3.0)), ("p90", 0.9, None), ("p99", 0.99, Some(5.0))];

    /// The time within which this share of the events arrived, and that of the limit.
    pub(crate) fn within(&self, share: f64) -> (f64, f64) {
        let at = |times: &[f64]| times[((times.len() - 1) as f64 * share) as usize];
        (at(&self.ours), at(&self.limit))
    }
}

/// Measures both for so many seconds each, second by second in turns.
pub(crate) async fn measure(
    store: Kind,
    servers: &Servers,
    seconds: u32,
    progress: &mut Progress,
) -> Latency {
    progress.step(&format!("latency, {}", store.name()));
    let sink = Sink::start();
    let [place, _] = servers.places(store);
    let folder = SenderFolder::init_on(place.url().as_deref(), CONFIG, None);
    let sender = folder.start().await;
    sender.api.post("/v1/event-types", json!({ "name": TYPE })).await;
    sender.api.post("/v1/consumers", json!({ "id": "acme" })).await;
    let endpoint = json!({
        "consumer": "acme", "url": sink.url(), "event_types": [TYPE], "protection": "signed", "trusted": true,
    });
    sender.api.post("/v1/endpoints", endpoint).await;
    let target = Target::new(format!("{}/v1/events", folder.origin), &folder.token, vec![body(0)]);
    target.saturate(500, 1, &sink).await;
    sink.keep().await;
    // What the limit posts is no token, so it goes elsewhere.
    let other = Sink::start();
    let limit = Limit::new(&other);
    let (mut begun, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..seconds {
        let first = begun.len();
        begun.extend(
            open_loop(|n| {
                let (target, body) = (target.clone(), body(first + n));
                async move { target.post(body).await }
            })
            .await
            .into_iter()
            .map(|(began, _)| began),
        );
        limits.extend(open_loop(|_| limit.clone().once()).await);
    }
    let kept = loop {
        let kept = sink.kept().await;
        if kept.len() >= begun.len() {
            break kept;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let millis = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let mut ours: Vec<_> = kept.iter().map(|(n, at)| millis(begun[*n], *at)).collect();
    let mut limit: Vec<_> = limits.iter().map(|(from, to)| millis(*from, *to)).collect();
    ours.sort_by(f64::total_cmp);
    limit.sort_by(f64::total_cmp);
    Latency { ours, limit }
}

/// One second of it: when each was begun, and when it was done.
async fn open_loop<F: Future<Output = ()> + Send + 'static>(work: impl Fn(usize) -> F) -> Vec<(u64, u64)> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RATE);
    let mut running = Vec::new();
    for n in 0..RATE as usize {
        ticks.tick().await;
        let work = work(n);
        running.push(tokio::spawn(async move {
            let began = nanos();
            work.await;
            (began, nanos())
        }));
    }
    let mut times = Vec::new();
    for one in running {
        times.push(one.await.unwrap());
    }
    times
}

fn body(n: usize) -> Bytes {
    let body: Value = json!({ "type": TYPE, "data": { "n": n, "text": "x".repeat(1_000) } });
    Bytes::from(body.to_string())
}

/// A POST, a flush, a POST.
#[derive(Clone)]
struct Limit {
    posts: Target,
    file: Arc<File>,
    _folder: Arc<TempDir>,
}

impl Limit {
    fn new(sink: &Sink) -> Self {
        let folder = TempDir::new().unwrap();
        let file = File::create(folder.path().join("flushed")).unwrap();
        let posts = Target::new(sink.url(), "", vec![Bytes::from(vec![b'x'; 1_024])]);
        Self { posts, file: Arc::new(file), _folder: Arc::new(folder) }
    }

    async fn once(self) {
        self.posts.publish(0).await;
        let file = Arc::clone(&self.file);
        let flush = move || {
            (&*file).write_all(&[b'x'; 4_096]).unwrap();
            file.sync_data().unwrap();
        };
        tokio::task::spawn_blocking(flush).await.unwrap();
        self.posts.publish(0).await;
    }
}

const RATE: u32 = 200;
