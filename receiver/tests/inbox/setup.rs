//! An inbox with a sender, a clock and handlers that end as scripted.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tower::ServiceExt;
use waxseal_keys::ManualClock;
use waxseal_receiver::{
    KeyEncryptionKey, Protection, Received, Receiver, ReceiverBuilder, TrustedIssuer,
    inbox::{Backlog, Inbox, Intake, RetryPolicy},
};

use crate::support::{NOW, Sender};

#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Order {
    pub(crate) order: String,
}

pub(crate) struct Setup {
    pub(crate) directory: TempDir,
    pub(crate) key: KeyEncryptionKey,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sender: Sender,
    pub(crate) inbox: Inbox<Order>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyEncryptionKey::generate();
        let clock = Arc::new(ManualClock::new(NOW));
        let sender = Sender::at("https://hooks.example.com", clock.clone());
        let inbox = Inbox::open(directory.path().join("inbox.db"), "orders", &key).unwrap();
        let inbox = inbox.clock(clock.clone());
        Self { directory, key, clock, sender, inbox }
    }

    /// As a process does that starts anew.
    pub(crate) fn reopened(self) -> Self {
        let Self { directory, key, clock, sender, inbox } = self;
        drop(inbox);
        let inbox = Inbox::open(directory.path().join("inbox.db"), "orders", &key).unwrap();
        Self { inbox: inbox.clock(clock.clone()), directory, key, clock, sender }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("inbox.db")
    }

    pub(crate) fn builder(&self) -> ReceiverBuilder {
        let issuer =
            TrustedIssuer::new(&self.sender.issuer, Protection::Signed).pinned(self.sender.jwk_set());
        Receiver::builder().audience("acme").trust(issuer).clock(self.clock.clone())
    }

    pub(crate) fn intake(&self) -> Intake<Order> {
        self.inbox.intake(self.builder()).unwrap()
    }

    /// Posts one order.
    pub(crate) async fn attempt(&self, id: &str) -> StatusCode {
        post(self.intake(), self.sender.signed("acme", id)).await.status()
    }

    pub(crate) async fn take(&self, ids: &[&str]) {
        for id in ids {
            assert_eq!(self.attempt(id).await, StatusCode::ACCEPTED, "{id}");
        }
    }

    pub(crate) async fn backlog(&self) -> (u64, u64) {
        let Backlog { waiting, dead, .. } = self.inbox.backlog().await.unwrap();
        (waiting, dead)
    }

    /// Runs one worker until `met`, and gives the ids that its handler saw.
    pub(crate) async fn work(&self, script: &Script, retry: RetryPolicy, met: impl AsyncFn() -> bool) {
        let (stop, stopped) = oneshot::channel::<()>();
        let handler = script.clone();
        let worker = self.inbox.worker(move |received| handler.clone().run(received)).retry(retry);
        let working = tokio::spawn(worker.run(async { drop(stopped.await) }));
        let waiting = async {
            while !met().await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
        drop(stop);
        tokio::time::timeout(Duration::from_secs(30), working).await.unwrap().unwrap();
    }
}

pub(crate) async fn post(intake: Intake<Order>, body: Vec<u8>) -> Response<Full<Bytes>> {
    let request = Request::post("/").header("Content-Type", "application/secevent+jwt");
    intake.oneshot(request.body(Full::<Bytes>::from(body)).unwrap()).await.unwrap()
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Failure,
    Panic,
}

/// A handler whose runs end as scripted, then well; it remembers whom it saw.
#[derive(Clone, Default)]
pub(crate) struct Script {
    ends: Arc<Mutex<VecDeque<End>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Script {
    pub(crate) fn new(ends: &[End]) -> Self {
        Self { ends: Arc::new(Mutex::new(ends.iter().copied().collect())), seen: Arc::default() }
    }

    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    async fn run(self, received: Received<Order>) -> Result<(), &'static str> {
        assert_eq!(received.data.order, "991");
        self.seen.lock().unwrap().push(received.event.id.as_str().to_owned());
        let end = self.ends.lock().unwrap().pop_front();
        match end {
            None => Ok(()),
            Some(End::Failure) => Err("out of stock"),
            Some(End::Panic) => panic!("scripted"),
        }
    }
}

/// Fails for good after `attempts`; waits a second at first, and never more than ten.
pub(crate) fn retry(attempts: u32) -> RetryPolicy {
    RetryPolicy { attempts, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(10) }
}
