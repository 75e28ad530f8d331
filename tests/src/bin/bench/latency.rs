//! Open loop: 200 events a second, whatever comes of them, from publish to arrival, beside what no
//! durable webhook can do without: a POST in, one flush to disk (an append and `fdatasync`), a POST out. The file is on
//! the disk that the store is on: both are in the folder for temporary files.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;
use waxseal_envelope::jwe;
use waxseal_keys::DecryptionKey;

use crate::case::{Case, Ready};
use crate::load::Target;
use crate::report::Progress;
use crate::sink::{Sink, nanos};
use crate::store::Servers;

/// Milliseconds, ascending.
#[derive(Serialize)]
pub(crate) struct Latency {
    pub(crate) case: Case,
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
pub(crate) async fn measure(case: Case, servers: &Servers, seconds: u32, progress: &mut Progress) -> Latency {
    progress.step(&format!("latency, {}", case.name()));
    let sink = Sink::start();
    let [place, _] = servers.places(case.store);
    let Ready { folder: _folder, sender: _sender, target, key } = case.sender(&sink, &place).await;
    target.saturate(500.max(case.consumers), 1, &sink).await;
    sink.keep().await;
    let before = sink.count().await;
    // What the limit posts is no token, so it goes elsewhere.
    let other = Sink::start();
    let limit = Limit::new(&other, case.payload);
    let (mut begun, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..seconds {
        let first = begun.len();
        let publish = |n| {
            let (target, body) = (target.clone(), case.numbered(first + n));
            async move { target.post(body).await }
        };
        begun.extend(open_loop(publish).await.into_iter().map(|(began, _)| began));
        limits.extend(open_loop(|_| limit.clone().once()).await);
    }
    sink.wait_for(before + begun.len()).await;
    let millis = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e6;
    let arrived = sink.kept().await;
    let mut ours: Vec<_> =
        arrived.iter().map(|(at, token)| millis(begun[number(token, &key)], *at)).collect();
    assert_eq!(ours.len(), begun.len(), "each arrives once");
    let mut limit: Vec<_> = limits.iter().map(|(from, to)| millis(*from, *to)).collect();
    ours.sort_by(f64::total_cmp);
    limit.sort_by(f64::total_cmp);
    Latency { case, ours, limit }
}

/// The number that this token's event carries.
fn number(token: &str, key: &DecryptionKey) -> usize {
    let opened = (token.split('.').count() == 5).then(|| jwe::decrypt(token.as_bytes(), key).unwrap());
    let signed = opened.map_or_else(|| token.to_owned(), |signed| String::from_utf8(signed).unwrap());
    let payload = signed.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let event = claims["events"].as_object().unwrap().values().next().unwrap();
    usize::try_from(event["data"]["n"].as_u64().unwrap()).unwrap()
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

/// A POST, a flush, a POST.
#[derive(Clone)]
struct Limit {
    posts: Target,
    file: Arc<File>,
    _folder: Arc<TempDir>,
}

impl Limit {
    fn new(sink: &Sink, payload: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let file = File::create(folder.path().join("flushed")).unwrap();
        let posts = Target::new(sink.url(), "", vec![Bytes::from(vec![b'x'; payload])]);
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
