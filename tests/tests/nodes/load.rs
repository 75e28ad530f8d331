//! Publishers that go on whatever happens, and what was acknowledged to them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinHandle;

use crate::fleet::{Fleet, event, now, until};

/// Publishers, one for each address and consumer.
pub struct Load {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    turn: AtomicUsize,
    acknowledged: Mutex<BTreeSet<String>>,
    failures: Mutex<Vec<Failure>>,
}

/// Something that was not acknowledged.
#[derive(Clone, Debug)]
pub struct Failure {
    pub at: Instant,
    /// To whom it was given.
    pub origin: String,
    /// What was answered; nothing: there was no answer.
    pub status: Option<u16>,
    pub said: String,
}

impl Load {
    /// Publishes at each of these addresses in turn to so many consumers, with a pause after each event.
    pub fn start(fleet: &Fleet, origins: &[&str], consumers: usize, pause: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let publisher = |origin: &&str| {
            let (shared, origin, token) = (Arc::clone(&shared), (*origin).to_owned(), fleet.token.clone());
            tokio::spawn(async move { publish(&shared, &origin, &token, consumers, pause).await })
        };
        Self { tasks: origins.iter().map(publisher).collect(), shared }
    }

    /// The events that are acknowledged by now.
    pub fn acknowledged(&self) -> BTreeSet<String> {
        self.shared.acknowledged.lock().unwrap().clone()
    }

    /// What was not acknowledged.
    pub fn failures(&self) -> Vec<Failure> {
        self.shared.failures.lock().unwrap().clone()
    }

    /// Waits until so many more are acknowledged.
    pub async fn more(&self, wanted: usize) {
        let before = self.acknowledged().len();
        until("more events are acknowledged", async || self.acknowledged().len() >= before + wanted).await;
    }

    /// Stops; returns everything that was acknowledged.
    pub async fn stop(&mut self) -> BTreeSet<String> {
        self.shared.stopped.store(true, Ordering::SeqCst);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        self.acknowledged()
    }
}

async fn publish(shared: &Shared, origin: &str, token: &str, consumers: usize, pause: Duration) {
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
    while !shared.stopped.load(Ordering::SeqCst) {
        let consumer = shared.turn.fetch_add(1, Ordering::SeqCst) % consumers;
        let request = client.post(format!("{origin}/v1/events")).bearer_auth(token);
        let at = now();
        match request.json(&event(&format!("c{consumer}"))).send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body: Value = answer.json().await.unwrap_or_default();
                match body["id"].as_str() {
                    Some(id) if status == 202 => {
                        shared.acknowledged.lock().unwrap().insert(id.to_owned());
                    }
                    _ => shared.fail(at, origin, Some(status), body.to_string()),
                }
            }
            Err(error) => {
                shared.fail(at, origin, None, format!("{error:?}"));
                tokio::time::sleep(pause * 4).await;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

impl Shared {
    fn fail(&self, at: Instant, origin: &str, status: Option<u16>, said: String) {
        self.failures.lock().unwrap().push(Failure { at, origin: origin.to_owned(), status, said });
    }
}

/// Whoever has no answer by then goes on with the next event, and counts on nothing.
const PATIENCE: Duration = Duration::from_secs(3);
