//! The finished route: handlers that fail, panic, take long or are hung up on, and a guard that does not answer.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use reqwest::{Response, StatusCode};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Semaphore};
use waxseal_keys::{ManualClock, Timestamp};
use waxseal_receiver::{
    Begin, Fence, GuardError, GuardFuture, MemoryGuard, Protection, Received, Receiver, ReplayGuard,
    ReplayKey, Settled, TrustedIssuer, axum::webhook,
};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{NOW, Sender, deliver, serve};

/// How a run of the handler ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Success,
    Failure,
    Panic,
}

/// A handler whose runs end as scripted (then with success), each after taking a permit.
#[derive(Clone)]
struct Script {
    ends: Arc<Mutex<VecDeque<End>>>,
    started: Arc<AtomicUsize>,
    gate: Arc<Semaphore>,
}

impl Script {
    fn new(ends: &[End]) -> Self {
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { ends: Arc::new(Mutex::new(ends.iter().copied().collect())), started: Arc::default(), gate }
    }

    fn gated(ends: &[End]) -> Self {
        let script = Self::new(ends);
        script.gate.forget_permits(usize::MAX);
        script
    }

    async fn run(self) -> Result<(), &'static str> {
        let end = self.ends.lock().unwrap().pop_front().unwrap_or(End::Success);
        self.started.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        match end {
            End::Success => Ok(()),
            End::Failure => Err("out of stock"),
            End::Panic => panic!("scripted"),
        }
    }

    async fn started(&self, runs: usize) {
        until(|| self.started.load(Ordering::SeqCst) >= runs).await;
    }

    fn runs(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }
}

/// Lets other tasks run until `met`.
async fn until(met: impl Fn() -> bool) {
    let waiting = async {
        while !met() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

/// A guard in memory that counts what it is asked and can be out of order.
#[derive(Debug, Default)]
struct Probe {
    guard: MemoryGuard,
    committed: AtomicUsize,
    renewed: AtomicUsize,
    broken: Mutex<Option<&'static str>>,
}

impl Probe {
    fn broken<T: Send + 'static>(&self, call: &str) -> Option<GuardFuture<'_, T>> {
        let broken = self.broken.lock().unwrap().is_some_and(|broken| broken == call);
        broken.then(|| -> GuardFuture<'_, T> {
            Box::pin(async { Err(GuardError::Store("connection refused".into())) })
        })
    }
}

impl ReplayGuard for Probe {
    fn begin<'a>(&'a self, key: &'a ReplayKey, now: Timestamp, lease: Duration) -> GuardFuture<'a, Begin> {
        self.broken("begin").unwrap_or_else(|| self.guard.begin(key, now, lease))
    }

    fn renew<'a>(
        &'a self,
        key: &'a ReplayKey,
        fence: Fence,
        now: Timestamp,
        lease: Duration,
    ) -> GuardFuture<'a, Settled> {
        self.renewed.fetch_add(1, Ordering::SeqCst);
        self.guard.renew(key, fence, now, lease)
    }

    fn commit<'a>(&'a self, key: &'a ReplayKey, fence: Fence, now: Timestamp) -> GuardFuture<'a, Settled> {
        self.broken("commit").unwrap_or_else(|| {
            let settled = self.guard.commit(key, fence, now);
            self.committed.fetch_add(1, Ordering::SeqCst);
            settled
        })
    }

    fn abort<'a>(&'a self, key: &'a ReplayKey, fence: Fence) -> GuardFuture<'a, Settled> {
        self.guard.abort(key, fence)
    }
}

struct Setup {
    sender: Sender,
    clock: Arc<ManualClock>,
    guard: Arc<Probe>,
    url: String,
}

impl Setup {
    async fn new(script: &Script) -> Self {
        Self::with(script, Probe::default(), Duration::from_secs(60)).await
    }

    async fn with(script: &Script, guard: Probe, lease: Duration) -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let sender = Sender::at("https://hooks.example.com", clock.clone());
        let guard = Arc::new(guard);
        let issuer = TrustedIssuer::new(&sender.issuer, Protection::Signed).pinned(sender.jwk_set());
        let builder = Receiver::builder().audience("acme").scope("orders").trust(issuer).lease(lease);
        let receiver = builder.clock(clock.clone()).replay_guard(guard.clone()).build().unwrap();
        let script = script.clone();
        let hook = webhook(receiver, move |_: Received<serde_json::Value>| script.clone().run());
        let url = serve(Router::new().route("/hook", hook)).await + "/hook";
        Self { sender, clock, guard, url }
    }

    async fn attempt(&self, id: &str) -> Response {
        deliver(&self.url, self.sender.signed("acme", id)).await
    }

    fn attempt_in_background(&self, id: &str) -> tokio::task::JoinHandle<Response> {
        let (url, body) = (self.url.clone(), self.sender.signed("acme", id));
        tokio::spawn(async move { deliver(&url, body).await })
    }
}

fn is_own_trouble(response: &Response) -> bool {
    let retry_after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    response.status() == StatusCode::SERVICE_UNAVAILABLE
        && retry_after.is_some_and(|s| s.parse::<u64>().unwrap() > 0)
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_lets_the_next_attempt_through_until_it_succeeds() {
    let script = Script::new(&[End::Failure, End::Panic, End::Success]);
    let setup = Setup::new(&script).await;
    for _ in 0..2 {
        let response = setup.attempt("evt_1").await;
        assert!(is_own_trouble(&response), "{response:?}");
        assert!(response.text().await.unwrap().is_empty());
    }
    for _ in 0..3 {
        assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(script.runs(), 3);
}

#[tokio::test]
async fn attempts_at_the_same_time_run_the_handler_once() {
    let script = Script::gated(&[]);
    let setup = Setup::new(&script).await;
    let first = setup.attempt_in_background("evt_1");
    script.started(1).await;
    let others: Vec<_> = (0..20).map(|_| setup.attempt_in_background("evt_1")).collect();
    for other in others {
        assert!(is_own_trouble(&other.await.unwrap()));
    }
    script.gate.add_permits(1);
    assert_eq!(first.await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    assert_eq!(script.runs(), 1);
}

#[tokio::test]
async fn a_sender_that_hangs_up_does_not_cancel_the_handler() {
    let script = Script::gated(&[]);
    let setup = Setup::new(&script).await;
    let body = setup.sender.signed("acme", "evt_1");
    let address = setup.url.trim_start_matches("http://").trim_end_matches("/hook");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: h\r\nContent-Type: application/secevent+jwt\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    script.started(1).await;
    drop(stream);
    // Another connection is served meanwhile, so the server has seen the first one close.
    assert!(is_own_trouble(&setup.attempt("evt_1").await));
    script.gate.add_permits(1);
    until(|| setup.guard.committed.load(Ordering::SeqCst) == 1).await;
    assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    assert_eq!(script.runs(), 1);
}

#[tokio::test]
async fn a_lease_that_runs_out_frees_the_event_and_its_old_holder_decides_nothing() {
    let script = Script::gated(&[End::Success, End::Failure]);
    let setup = Setup::new(&script).await;
    let slow = setup.attempt_in_background("evt_1");
    script.started(1).await;
    setup.clock.advance(Duration::from_secs(60));
    let second = setup.attempt_in_background("evt_1");
    script.started(2).await;
    // The first succeeds, but the event is the second's now: it is not acknowledged, and nothing is committed.
    script.gate.add_permits(1);
    assert!(is_own_trouble(&slow.await.unwrap()));
    assert!(is_own_trouble(&setup.attempt("evt_1").await), "still in progress");
    script.gate.add_permits(1);
    assert!(is_own_trouble(&second.await.unwrap()));
    script.gate.add_permits(1);
    assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    assert_eq!(script.runs(), 3);
}

#[tokio::test]
async fn a_handler_at_work_keeps_its_lease() {
    let script = Script::gated(&[]);
    let setup = Setup::with(&script, Probe::default(), Duration::from_secs(1)).await;
    let slow = setup.attempt_in_background("evt_1");
    script.started(1).await;
    for round in 1..=3 {
        setup.clock.advance(Duration::from_millis(900));
        let renewed = setup.guard.renewed.load(Ordering::SeqCst);
        until(|| setup.guard.renewed.load(Ordering::SeqCst) > renewed).await;
        assert!(is_own_trouble(&setup.attempt("evt_1").await), "round {round}");
    }
    script.gate.add_permits(1);
    assert_eq!(slow.await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(script.runs(), 1);
}

#[tokio::test]
async fn a_guard_that_is_full_or_out_of_order_is_our_own_trouble() {
    let script = Script::new(&[]);
    let small = Probe { guard: MemoryGuard::new(1, Duration::from_secs(86_400)), ..Probe::default() };
    let setup = Setup::with(&script, small, Duration::from_secs(60)).await;
    assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    assert!(is_own_trouble(&setup.attempt("evt_2").await));
    assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    setup.clock.advance(Duration::from_secs(361));
    assert_eq!(setup.attempt("evt_2").await.status(), StatusCode::ACCEPTED);
    assert_eq!(setup.guard.guard.forgotten_early(), 1);
    *setup.guard.broken.lock().unwrap() = Some("begin");
    assert!(is_own_trouble(&setup.attempt("evt_3").await));
    assert_eq!(script.runs(), 2);
}

#[tokio::test]
async fn an_event_whose_commit_failed_is_not_acknowledged() {
    let script = Script::new(&[]);
    let setup = Setup::new(&script).await;
    *setup.guard.broken.lock().unwrap() = Some("commit");
    assert!(is_own_trouble(&setup.attempt("evt_1").await));
    *setup.guard.broken.lock().unwrap() = None;
    assert!(is_own_trouble(&setup.attempt("evt_1").await), "the lease is left to run out");
    setup.clock.advance(Duration::from_secs(60));
    assert_eq!(setup.attempt("evt_1").await.status(), StatusCode::ACCEPTED);
    assert_eq!(script.runs(), 2);
}

#[tokio::test]
async fn data_of_another_shape_is_refused_by_type_and_not_taken() {
    let sender = Sender::new("https://hooks.example.com");
    let hook = webhook(sender.receiver(), |_: Received<Vec<u8>>| async { Ok::<_, &str>(()) });
    let url = serve(Router::new().route("/hook", hook)).await + "/hook";
    for _ in 0..2 {
        let response = deliver(&url, sender.signed("acme", "evt_1")).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let text = response.text().await.unwrap();
        assert!(text.contains("invalid_request") && text.contains("order.created"), "{text}");
        assert!(!text.contains("991"), "{text}");
    }
}
