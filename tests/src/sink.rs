//! An endpoint inside the test that keeps what it is sent and answers as it is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// An endpoint that keeps everything.
pub struct Sink {
    /// Where it listens.
    pub address: SocketAddr,
    status: Arc<AtomicU16>,
    received: UnboundedReceiver<(HeaderMap, Bytes)>,
}

impl Sink {
    /// An endpoint that answers 202.
    pub async fn start() -> Self {
        let (sender, received) = unbounded_channel();
        let status = Arc::new(AtomicU16::new(202));
        let router = Router::new()
            .route("/hooks", post(keep))
            .with_state(Kept { sender, status: Arc::clone(&status) });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, status, received }
    }

    /// Where deliveries are posted.
    pub fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// The next delivery.
    pub async fn next(&mut self) -> (HeaderMap, Bytes) {
        let next = tokio::time::timeout(Duration::from_secs(20), self.received.recv()).await;
        next.expect("nothing was delivered").expect("the endpoint runs as long as the test")
    }

    /// What has been delivered already, and is not taken yet.
    pub fn waiting(&mut self) -> Option<(HeaderMap, Bytes)> {
        self.received.try_recv().ok()
    }
}

/// What the endpoint's route works with.
#[derive(Clone)]
struct Kept {
    sender: UnboundedSender<(HeaderMap, Bytes)>,
    status: Arc<AtomicU16>,
}

async fn keep(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    // The test may have ended.
    let _ = kept.sender.send((headers, body));
    StatusCode::from_u16(kept.status.load(Ordering::SeqCst)).unwrap()
}
