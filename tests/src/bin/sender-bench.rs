//! Speed of the whole sender on its embedded store: CPU seconds of its process per 1,000 deliveries, deliveries per
//! second, and the time from publish to arrival at 200 events per second.
//!
//! A CPU second is not the same on two machines, nor on one that others use: beside each figure stands what one bare
//! ES256 signature cost just before and after, by the same clock, and how many of them a delivery is worth.
//!
//! `cargo run --release -p waxseal-tests --bin sender-bench` (needs the program `waxseal` built beside it). The sender
//! is a process of its own; this one publishes over authenticated HTTP, one request for each event, and receives.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real time")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use waxseal_keys::{EncryptionKeyType, generate_decryption_key};
use waxseal_tests::api::Api;
use waxseal_tests::sender::{Sender, SenderFolder};

const EVENTS: usize = 20_000;
const WARM_UP: usize = 2_000;
const PUBLISHERS: usize = 64;
const RATE: u32 = 200;
const SECONDS: u32 = 10;
const BATCHES: usize = 51;
const SIGNATURES: u32 = 100;

#[derive(Default)]
struct Arrivals {
    count: AtomicUsize,
    keep: std::sync::atomic::AtomicBool,
    kept: Mutex<Vec<(Instant, Bytes)>>,
}

#[tokio::main]
async fn main() {
    println!(
        "{:<8} {:>8} {:>14} {:>17} {:>15} {:>8}",
        "", "events", "deliveries/s", "CPU s per 1,000", "raw ES256", "ratio"
    );
    for protection in ["signed", "sealed"] {
        let (_folder, sender, arrivals) = set_up(protection).await;
        saturate(&sender, &arrivals, WARM_UP).await;
        let before = raw_signature();
        let (seconds, cpu) = saturate(&sender, &arrivals, EVENTS).await;
        let raw = (before + raw_signature()) / 2.0;
        let (rate, each) = (EVENTS as f64 / seconds, cpu / EVENTS as f64);
        println!(
            "{protection:<8} {EVENTS:>8} {rate:>14.0} {:>17.3} {:>12.1} us {:>8.1}",
            each * 1_000.0,
            raw * 1e6,
            each / raw
        );
    }
    let (_folder, sender, arrivals) = set_up("signed").await;
    saturate(&sender, &arrivals, WARM_UP).await;
    let mut times = open_loop(&sender, &arrivals).await;
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1_000.0;
    println!();
    println!(
        "signed, {RATE}/s for {SECONDS} s, publish to arrival: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms ({} events)",
        at(0.5),
        at(0.9),
        at(0.99),
        times.len()
    );
}

async fn set_up(protection: &str) -> (SenderFolder, Sender, Arc<Arrivals>) {
    let arrivals = Arc::new(Arrivals::default());
    let router = Router::new().route("/hooks", post(receive)).with_state(Arc::clone(&arrivals));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}/hooks", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let folder = SenderFolder::init(
        "[delivery]\nmax_in_flight = 256\nmax_in_flight_per_endpoint = 64\n[log]\nfilter = \"warn\"\n",
        None,
    );
    let sender = folder.start().await;
    let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    sender.api.post("/v1/event-types", json!({ "name": "order.created" })).await;
    sender.api.post("/v1/consumers", json!({ "id": "acme" })).await;
    let mut endpoint = json!({
        "consumer": "acme", "url": url, "event_types": ["order.created"], "protection": protection, "trusted": true,
    });
    if protection == "sealed" {
        endpoint["encryption_keys"] = json!({ "jwks": { "keys": [key.public_jwk().to_json()] } });
    }
    sender.api.post("/v1/endpoints", endpoint).await;
    (folder, sender, arrivals)
}

async fn receive(State(arrivals): State<Arc<Arrivals>>, body: Bytes) -> StatusCode {
    if arrivals.keep.load(Ordering::Relaxed) {
        arrivals.kept.lock().await.push((Instant::now(), body));
    }
    arrivals.count.fetch_add(1, Ordering::Relaxed);
    StatusCode::ACCEPTED
}

/// Publishes as fast as it goes; returns wall seconds until the last arrival, and CPU seconds of the sender until all
/// is settled.
async fn saturate(sender: &Sender, arrivals: &Arrivals, events: usize) -> (f64, f64) {
    let (from, cpu, began) =
        (arrivals.count.load(Ordering::Relaxed), sender.process.cpu_seconds(), Instant::now());
    let left = Arc::new(AtomicUsize::new(events));
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|_| tokio::spawn(publish_while(sender.api.clone(), Arc::clone(&left)))).collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    while arrivals.count.load(Ordering::Relaxed) < from + events {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seconds = began.elapsed().as_secs_f64();
    let empty = |answer: &Value| answer["data"].as_array().is_some_and(Vec::is_empty);
    sender.api.until("/v1/deliveries?state=pending&limit=1", empty).await;
    (seconds, sender.process.cpu_seconds() - cpu)
}

/// CPU seconds of one ES256 signature over a kilobyte through `aws-lc-rs` alone: the median of many batches.
fn raw_signature() -> f64 {
    let (random, message) = (SystemRandom::new(), [b'x'; 1_024]);
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let batch = || {
        let began = cpu_of_this_thread();
        for _ in 0..SIGNATURES {
            black_box(key.sign(&random, black_box(&message)).unwrap());
        }
        (cpu_of_this_thread() - began) / f64::from(SIGNATURES)
    };
    let mut batches: Vec<f64> = (0..BATCHES).map(|_| batch()).collect();
    batches.sort_by(f64::total_cmp);
    batches[batches.len() / 2]
}

/// In seconds: the first field of schedstat, which has nanoseconds.
fn cpu_of_this_thread() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}

async fn publish_while(api: Api, left: Arc<AtomicUsize>) {
    let body = json!({ "type": "order.created", "data": { "text": "x".repeat(1_012) } });
    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
        assert!(api.try_publish(&body).await.is_some(), "the sender refused an event");
    }
}

/// Publishes at a fixed rate, whatever comes of it; returns each event's time from publish to arrival.
async fn open_loop(sender: &Sender, arrivals: &Arrivals) -> Vec<Duration> {
    arrivals.keep.store(true, Ordering::Relaxed);
    let pause = Duration::from_secs(1) / RATE;
    let mut ticks = tokio::time::interval(pause);
    let mut begun = Vec::new();
    let mut requests = Vec::new();
    for n in 0..RATE * SECONDS {
        ticks.tick().await;
        let api = sender.api.clone();
        let body = json!({ "type": "order.created", "data": { "n": n, "text": "x".repeat(1_000) } });
        begun.push(Instant::now());
        requests.push(tokio::spawn(async move { api.try_publish(&body).await.is_some() }));
    }
    for request in requests {
        assert!(request.await.unwrap(), "the sender refused an event");
    }
    while arrivals.kept.lock().await.len() < begun.len() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let kept = arrivals.kept.lock().await;
    kept.iter().map(|(at, body)| at.duration_since(begun[number(body)])).collect()
}

/// The number that this token's event carries.
fn number(token: &[u8]) -> usize {
    let payload = token.split(|byte| *byte == b'.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let event = claims["events"].as_object().unwrap().values().next().unwrap();
    usize::try_from(event["data"]["n"].as_u64().unwrap()).unwrap()
}
