//! Endpoints that tell what they were shown, an authorization server, and a sender whose clock the test moves.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use tokio::sync::{RwLock, mpsc};
use tokio::time::timeout;
use waxseal_keys::ManualClock;
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::authentication::{Authentication, ClientAuthentication, OAuth2};
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::secret::Secret;
use waxseal_sender::publish::Published;

use crate::engine::support::{PATIENCE, Sender, noon, until};

/// An endpoint that tells which headers it got, and takes a delivery if its `authorization` is one that it likes.
pub(super) struct Hearing {
    pub(super) url: String,
    pub(super) heard: mpsc::UnboundedReceiver<HeaderMap>,
    pub(super) likes: Arc<Mutex<Option<String>>>,
}

pub(super) type Ear = (mpsc::UnboundedSender<HeaderMap>, Arc<Mutex<Option<String>>>);

impl Hearing {
    pub(super) async fn start() -> Self {
        let (tell, heard) = mpsc::unbounded_channel();
        let likes = Arc::<Mutex<Option<String>>>::default();
        let answer = async |State((tell, likes)): State<Ear>, headers: HeaderMap| {
            let shown = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            let _ = tell.send(headers);
            let liked = likes.lock().unwrap().clone().is_none_or(|liked| Some(liked) == shown);
            if liked { StatusCode::ACCEPTED } else { StatusCode::UNAUTHORIZED }
        };
        let url = serve(Router::new().fallback(answer).with_state((tell, Arc::clone(&likes)))).await;
        Self { url, heard, likes }
    }

    pub(super) fn like(&self, authorization: &str) {
        *self.likes.lock().unwrap() = Some(authorization.to_owned());
    }

    pub(super) async fn next(&mut self) -> HeaderMap {
        timeout(PATIENCE, self.heard.recv()).await.expect("a delivery in time").unwrap()
    }

    pub(super) async fn next_authorization(&mut self) -> String {
        self.next().await["authorization"].to_str().unwrap().to_owned()
    }
}

/// An authorization server that gives `t1`, `t2`, … for an hour each.
pub(super) struct TokenServer {
    pub(super) url: String,
    pub(super) state: TokenState,
}

#[derive(Clone)]
pub(super) struct TokenState {
    pub(super) asked: Arc<AtomicUsize>,
    pub(super) status: Arc<AtomicU16>,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
    /// Nothing is answered while somebody holds it for writing.
    pub(super) gate: Arc<RwLock<()>>,
}

/// The `Authorization` field and the form of a request.
pub(super) type Seen = (Option<String>, String);

impl TokenServer {
    pub(super) async fn start() -> Self {
        let state = TokenState {
            asked: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            seen: Arc::default(),
            gate: Arc::default(),
        };
        let url = serve(Router::new().fallback(give).with_state(state.clone())).await;
        Self { url, state }
    }

    pub(super) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    pub(super) fn answer(&self, status: u16) {
        self.state.status.store(status, Ordering::SeqCst);
    }

    pub(super) fn client(&self) -> Authentication {
        self.client_by(ClientAuthentication::ClientSecretPost { client_secret: Secret::new("s&c") })
    }

    pub(super) fn client_by(&self, client_authentication: ClientAuthentication) -> Authentication {
        let oauth2 = OAuth2 {
            token_url: self.url.parse().unwrap(),
            client_id: "us".to_owned(),
            client_authentication,
            scope: Some("a b".to_owned()),
            audience: Some("https://api.example".to_owned()),
            ca_certificates: None,
        };
        Authentication { oauth2: Some(oauth2), ..Authentication::default() }
    }
}

pub(super) async fn give(State(state): State<TokenState>, headers: HeaderMap, form: String) -> Response {
    let number = state.asked.fetch_add(1, Ordering::SeqCst) + 1;
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    state.seen.lock().unwrap().push((authorization, form));
    // Long enough for others to come meanwhile.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let _open = state.gate.read().await;
    let status = StatusCode::from_u16(state.status.load(Ordering::SeqCst)).unwrap();
    let body = match status {
        StatusCode::OK => {
            format!(r#"{{"access_token":"t{number}","token_type":"Bearer","expires_in":3600}}"#)
        }
        _ => r#"{"error":"invalid_client"}"#.to_owned(),
    };
    (status, [("content-type", "application/json")], body).into_response()
}

pub(super) async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A sender whose clock the test moves, with an endpoint that wants to be shown this.
pub(super) struct World {
    pub(super) sender: Sender,
    pub(super) clock: Arc<ManualClock>,
    pub(super) engine: EngineHandle,
    pub(super) endpoint: EndpointId,
}

impl World {
    pub(super) async fn new(url: &str, shown: Authentication) -> Self {
        let clock = Arc::new(ManualClock::new(noon()));
        let sender = Sender::with_clock(clock.clone()).await;
        let endpoint = sender.endpoint("acme", url, Protection::Signed).await;
        show(&sender, endpoint, shown).await;
        let engine = sender.start();
        Self { sender, clock, engine, endpoint }
    }

    pub(super) async fn publish(&self) -> Published {
        self.sender.publish(Some(&self.engine), "acme", "1").await
    }

    pub(super) fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.engine.wake(self.endpoint);
    }

    pub(super) async fn until_held(&self) -> Hold {
        until(async || self.engine.holds().first().map(|(_, hold)| *hold)).await
    }
}

pub(super) async fn show(sender: &Sender, endpoint: EndpointId, shown: Authentication) {
    let edit = |endpoint: &mut Endpoint| {
        endpoint.authentication = Some(Box::new(shown));
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, edit).await.unwrap();
}

/// Another endpoint of `acme`.
pub(super) async fn add_endpoint(sender: &Sender, url: &str) -> EndpointId {
    let directory = &sender.parts.directory;
    let first = directory.endpoints(None, None, 1).remove(0);
    let mut endpoint = Endpoint::clone(&first);
    endpoint.id = EndpointId::generate(sender.parts.clock.now());
    endpoint.url = url.parse().unwrap();
    endpoint.authentication = None;
    directory.create_endpoint(endpoint, None).await.unwrap().id
}
