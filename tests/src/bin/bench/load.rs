//! The generator: a closed loop of publishers, each with one request at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use reqwest::Client;

use crate::sink::Sink;

const PUBLISHERS: usize = 64;

/// Where to publish, and what.
#[derive(Clone)]
pub(crate) struct Target {
    client: Client,
    url: String,
    token: String,
    bodies: Arc<[Bytes]>,
}

impl Target {
    /// These bodies in turns.
    pub(crate) fn new(url: String, token: &str, bodies: Vec<Bytes>) -> Self {
        let client = Client::builder().no_proxy().build().unwrap();
        Self { client, url, token: token.to_owned(), bodies: bodies.into() }
    }

    /// Publishes one; panics if it is not accepted.
    pub(crate) async fn publish(&self, number: usize) {
        self.post(self.bodies[number % self.bodies.len()].clone()).await;
    }

    /// Publishes this.
    pub(crate) async fn post(&self, body: Bytes) {
        let request = self.client.post(&self.url).bearer_auth(&self.token);
        let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.bytes().await.unwrap());
        assert_eq!(status, 202, "{}", String::from_utf8_lossy(&text));
    }

    /// Publishes so many as fast as they are taken.
    pub(crate) async fn flood(&self, events: usize) {
        let next = Arc::new(AtomicUsize::new(0));
        let publisher = || {
            let (next, target) = (Arc::clone(&next), self.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= events {
                        return;
                    }
                    target.publish(number).await;
                }
            })
        };
        for publisher in (0..PUBLISHERS).map(|_| publisher()).collect::<Vec<_>>() {
            publisher.await.unwrap();
        }
    }

    /// Publishes so many as fast as they are taken, `fan_out` deliveries each; wall seconds until the last arrival.
    pub(crate) async fn saturate(&self, events: usize, fan_out: usize, sink: &Sink) -> f64 {
        let before = sink.count().await;
        let began = Instant::now();
        self.flood(events).await;
        sink.wait_for(before + events * fan_out).await;
        began.elapsed().as_secs_f64()
    }
}
