//! A server on the loopback that counts what it is asked, and keys to put into sets.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Response, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
};
use tokio::{net::TcpListener, sync::Semaphore};
use url::Url;

pub(crate) const JWK_SET: &str = "application/jwk-set+json";

/// A public Ed25519 key (RFC 8037 appendix A.2) under any `kid`.
pub(crate) fn ed25519(kid: &str) -> String {
    format!(
        r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#
    )
}

/// A public P-256 key (RFC 7517 appendix A.1) under any `kid`.
pub(crate) fn p256(kid: &str) -> String {
    format!(
        r#"{{"kty":"EC","crv":"P-256","kid":"{kid}","use":"sig","alg":"ES256",
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}}"#
    )
}

pub(crate) fn set(keys: &[String]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

/// Binds a free port, serves `app` on it, and gives its address.
pub(crate) async fn spawn(app: Router) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Answers every GET with the same scripted response, counts them, and can be made to wait.
#[derive(Clone)]
pub(crate) struct Counting {
    pub(crate) count: Arc<AtomicUsize>,
    /// Each answer takes one permit.
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) answer: Arc<Mutex<(StatusCode, &'static str, String)>>,
}

impl Counting {
    pub(crate) fn new(body: String) -> Self {
        Self {
            count: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            answer: Arc::new(Mutex::new((StatusCode::OK, JWK_SET, body))),
        }
    }

    pub(crate) async fn spawn(&self) -> Url {
        spawn(Router::new().fallback(answer).with_state(self.clone())).await
    }

    pub(crate) fn fetches(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn set_answer(&self, status: StatusCode, content_type: &'static str, body: String) {
        *self.answer.lock().unwrap() = (status, content_type, body);
    }
}

async fn answer(State(server): State<Counting>) -> Response<Body> {
    server.count.fetch_add(1, Ordering::SeqCst);
    server.gate.acquire().await.unwrap().forget();
    let (status, content_type, body) = server.answer.lock().unwrap().clone();
    (status, [(CONTENT_TYPE, content_type)], body).into_response()
}
