//! A server whose every answer is given by the test.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use waxseal_keys::DecryptionKey;

use super::super::support::{PATIENCE, Sender};

/// A server that answers when and as the test says.
pub(super) struct Server {
    pub(super) url: String,
    requests: mpsc::UnboundedReceiver<Request>,
}

/// A request that waits for its answer.
pub(super) struct Request {
    pub(super) path: String,
    pub(super) body: Bytes,
    answer: oneshot::Sender<Response>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let (tell, requests) = mpsc::unbounded_channel();
        let receive =
            async |State(tell): State<mpsc::UnboundedSender<Request>>, uri: http::Uri, body: Bytes| {
                let (answer, answered) = oneshot::channel();
                let _ = tell.send(Request { path: uri.path().to_owned(), body, answer });
                match answered.await {
                    Ok(response) => response,
                    Err(_) => StatusCode::IM_A_TEAPOT.into_response(),
                }
            };
        let router = Router::new().fallback(receive).with_state(tell);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, requests }
    }

    pub(super) async fn next(&mut self) -> Request {
        timeout(PATIENCE, self.requests.recv()).await.expect("a request in time").unwrap()
    }

    pub(super) fn is_idle(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

impl Request {
    /// The state in a verification event.
    pub(super) fn state(&self, sender: &Sender, key: Option<&DecryptionKey>) -> String {
        let opened = sender.open(&self.body, "acme", key);
        opened.verification().expect("a verification event").to_owned()
    }

    pub(super) fn answer(self, response: impl IntoResponse) {
        let _ = self.answer.send(response.into_response());
    }

    pub(super) fn echo(self, state: &str) {
        self.answer(([(CONTENT_TYPE, "application/json")], json!({ "state": state }).to_string()));
    }
}
