//! What one request may cost: time for its body, time for its handler, and how many there are at once.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use reqwest::{Response, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};
use waxseal_receiver::{Protection, Received, Receiver, ReceiverBuilder, TrustedIssuer, axum::webhook};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{Sender, deliver, serve};

/// A handler that waits for the gate, and tells how often it began and how often it was dropped or ended.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    begun: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
}

struct Ends(Arc<AtomicUsize>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Gated {
    fn new() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), begun: Arc::default(), ended: Arc::default() }
    }

    async fn run(self) -> Result<(), std::io::Error> {
        let _ends = Ends(self.ended.clone());
        self.begun.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        Ok(())
    }

    async fn begun(&self, runs: usize) {
        reaches(&self.begun, runs).await;
    }

    async fn ended(&self, runs: usize) {
        reaches(&self.ended, runs).await;
    }
}

async fn reaches(count: &AtomicUsize, wanted: usize) {
    let waiting = async {
        while count.load(Ordering::SeqCst) < wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
}

async fn setup(configure: impl FnOnce(ReceiverBuilder) -> ReceiverBuilder) -> (Sender, Gated, String) {
    let sender = Sender::new("https://hooks.example.com");
    let issuer = TrustedIssuer::new(&sender.issuer, Protection::Signed).pinned(sender.jwk_set());
    let builder = Receiver::builder().audience("acme").scope("orders").trust(issuer);
    let receiver = configure(builder).build().unwrap();
    let gated = Gated::new();
    let handler = gated.clone();
    let hook = webhook(receiver, move |_: Received<serde_json::Value>| handler.clone().run());
    let url = serve(Router::new().route("/hook", hook)).await + "/hook";
    (sender, gated, url)
}

fn is_own_trouble(response: &Response) -> bool {
    response.status() == StatusCode::SERVICE_UNAVAILABLE && response.headers().contains_key("retry-after")
}

/// Attempts until the answer is not `503`.
async fn insist(url: &str, body: &[u8]) -> StatusCode {
    let insisting = async {
        loop {
            let response = deliver(url, body.to_vec()).await;
            if !is_own_trouble(&response) {
                return response.status();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), insisting).await.unwrap()
}

#[tokio::test]
async fn a_body_that_trickles_in_is_given_up() {
    let (_, gated, url) = setup(|builder| builder.body_timeout(Duration::from_millis(100))).await;
    let address = url.trim_start_matches("http://").trim_end_matches("/hook");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = "POST /hook HTTP/1.1\r\nHost: h\r\nContent-Type: application/secevent+jwt\r\n\
                Content-Length: 1000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut reading, mut writing) = stream.into_split();
    // Always a little more, so that it is the whole body that has a limit and not each part of it.
    let trickle = tokio::spawn(async move {
        while writing.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut status = [0; 12];
    let answered = reading.read_exact(&mut status);
    tokio::time::timeout(Duration::from_secs(8), answered).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 408");
    trickle.abort();
    assert_eq!(gated.begun.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_slow_handler_goes_on_and_counts_while_its_sender_is_told_to_come_back() {
    let (sender, gated, url) = setup(|builder| builder.handler_timeout(Duration::from_millis(50))).await;
    let body = sender.signed("acme", "evt_1");
    assert!(is_own_trouble(&deliver(&url, body.clone()).await));
    assert!(is_own_trouble(&deliver(&url, body.clone()).await), "it is in progress");
    gated.gate.add_permits(1);
    gated.ended(1).await;
    assert_eq!(insist(&url, &body).await, StatusCode::ACCEPTED);
    assert_eq!(gated.begun.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_handler_that_hangs_is_cancelled_before_the_next_attempt_runs() {
    let (sender, gated, url) =
        setup(|builder| builder.handler_timeout(Duration::from_millis(50)).lease(Duration::from_secs(1)))
            .await;
    let body = sender.signed("acme", "evt_1");
    assert!(is_own_trouble(&deliver(&url, body.clone()).await));
    let ended = gated.ended.clone();
    let watch = tokio::spawn({
        let gated = gated.clone();
        async move {
            gated.begun(2).await;
            ended.load(Ordering::SeqCst)
        }
    });
    let second = tokio::spawn(async move { insist(&url, &body).await });
    assert_eq!(watch.await.unwrap(), 1, "the first had ended when the second began");
    gated.gate.add_permits(1);
    assert_eq!(second.await.unwrap(), StatusCode::ACCEPTED);
    assert_eq!(gated.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn more_requests_than_allowed_are_turned_away_until_one_has_ended() {
    let (sender, gated, url) = setup(|builder| builder.max_concurrent(1)).await;
    let first = tokio::spawn({
        let (url, body) = (url.clone(), sender.signed("acme", "evt_1"));
        async move { deliver(&url, body).await }
    });
    gated.begun(1).await;
    let busy = deliver(&url, sender.signed("acme", "evt_2")).await;
    assert!(is_own_trouble(&busy));
    assert_eq!(busy.headers()["retry-after"], "1");
    assert_eq!(gated.begun.load(Ordering::SeqCst), 1);
    gated.gate.add_permits(2);
    assert_eq!(first.await.unwrap().status(), StatusCode::ACCEPTED);
    assert_eq!(insist(&url, &sender.signed("acme", "evt_2")).await, StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_handler_whose_sender_hung_up_still_counts_among_those_at_once() {
    let (sender, gated, url) = setup(|builder| builder.max_concurrent(1)).await;
    let body = sender.signed("acme", "evt_1");
    let mut stream =
        TcpStream::connect(url.trim_start_matches("http://").trim_end_matches("/hook")).await.unwrap();
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: h\r\nContent-Type: application/secevent+jwt\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    gated.begun(1).await;
    drop(stream);
    assert!(is_own_trouble(&deliver(&url, sender.signed("acme", "evt_2")).await));
    gated.gate.add_permits(2);
    assert_eq!(insist(&url, &sender.signed("acme", "evt_2")).await, StatusCode::ACCEPTED);
}
