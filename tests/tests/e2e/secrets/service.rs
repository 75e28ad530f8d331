//! What the sender meets in this test: endpoints and a token server that repeat all that they are sent, as bad error
//! pages do.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;
use waxseal_tests::leak::Secrets;

/// An endpoint that keeps what it gets, and answers with a copy of it.
#[derive(Clone, Default)]
pub struct Echo {
    address: String,
    status: Arc<AtomicU16>,
    received: Arc<Mutex<Vec<(HeaderMap, String)>>>,
}

impl Echo {
    pub async fn start(status: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let echo = Self { address, status: Arc::new(status.into()), received: Arc::default() };
        let router = Router::new().fallback(repeat).with_state(echo.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        echo
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Every token that it got, and the header fields beside it.
    pub fn received(&self) -> Vec<(HeaderMap, String)> {
        self.received.lock().unwrap().clone()
    }

    pub async fn until_received(&self, count: usize) {
        for _ in 0..600 {
            if self.received().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} of {count} deliveries arrived", self.received().len());
    }
}

async fn repeat(State(echo): State<Echo>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let answer = format!("{headers:?}\n{body}");
    echo.received.lock().unwrap().push((headers, body));
    (StatusCode::from_u16(echo.status.load(Ordering::SeqCst)).unwrap(), answer)
}

/// A token server that refuses when it is told to, and then repeats what it was shown.
#[derive(Clone, Default)]
pub struct Tokens {
    address: String,
    asked: Arc<AtomicUsize>,
    refuses: Arc<AtomicBool>,
    assertions: Arc<Mutex<Vec<String>>>,
    given: Arc<Mutex<Vec<String>>>,
}

impl Tokens {
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let tokens = Self { address: listener.local_addr().unwrap().to_string(), ..Self::default() };
        let router = Router::new().route("/{path}", post(give)).with_state(tokens.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        tokens
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Refuses one request.
    pub fn refuse(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    pub fn given(&self) -> usize {
        self.given.lock().unwrap().len()
    }

    /// The tokens that it gave, and the assertions that it was shown.
    pub fn add_to(&self, secrets: &mut Secrets) {
        for given in self.given.lock().unwrap().iter() {
            secrets.add("an access token", given);
        }
        for assertion in self.assertions.lock().unwrap().iter() {
            secrets.add_token("a client assertion", assertion);
        }
    }
}

async fn give(State(tokens): State<Tokens>, headers: HeaderMap, body: String) -> (StatusCode, Json<Value>) {
    let form = form_urlencoded::parse(body.as_bytes());
    let shown = form.into_owned().find(|(name, _)| name == "client_assertion" || name == "client_secret");
    let number = tokens.asked.fetch_add(1, Ordering::SeqCst);
    if let Some((_, assertion)) = shown.as_ref().filter(|(name, _)| name == "client_assertion") {
        tokens.assertions.lock().unwrap().push(assertion.clone());
    }
    if tokens.refuses.swap(false, Ordering::SeqCst) {
        let repeated = shown.map_or_else(|| format!("{headers:?}"), |(_, shown)| shown);
        let answer = json!({ "error": repeated, "error_description": format!("{headers:?} {body}") });
        return (StatusCode::UNAUTHORIZED, Json(answer));
    }
    let token = format!("hush-access-token-{number}-9d2e71");
    tokens.given.lock().unwrap().push(token.clone());
    (StatusCode::OK, Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3_600 })))
}
