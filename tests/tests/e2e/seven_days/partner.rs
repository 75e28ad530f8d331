//! A partner: a receiver of the receiver crate behind real HTTP, with old keys in its cache and moods of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpSocket;
use waxseal_keys::{Clock, DecryptionKey, Timestamp};
use waxseal_receiver::jwks::{HttpGet, HttpGetFuture, HttpResponse, ReqwestGet, Url};
use waxseal_receiver::{Answer, MemoryGuard, Outcome, Protection, Receiver, TrustedIssuer, check_media_type};

use super::time::SimulatedTime;

/// How a partner takes one request.
#[derive(Clone, Copy, Debug)]
pub enum Mood {
    Well,
    /// It answers so, and does not look at the token.
    Ill {
        status: u16,
        retry_after: Option<u32>,
    },
    /// It takes the event, and the answer that says so is lost.
    Forgetful,
}

/// Told the time and the number of the request.
pub type Moods = Arc<dyn Fn(Timestamp, u64) -> Mood + Send + Sync>;

/// What is needed to set a partner up.
pub struct Setup {
    pub name: &'static str,
    pub moods: Moods,
    /// How long a cache between it and the issuer keeps a key set.
    pub caches_for: Duration,
    pub keys: Vec<DecryptionKey>,
}

pub struct Partner {
    pub url: String,
    seen: Arc<Seen>,
    /// Held, and not listened to, until it opens: connections are refused.
    closed: Option<TcpSocket>,
    trust: Trust,
}

/// What a partner has to show.
struct Seen {
    time: Arc<SimulatedTime>,
    moods: Moods,
    receiver: RwLock<Receiver>,
    posts: AtomicU64,
    /// What its handler got, in order.
    taken: Mutex<Vec<(String, Timestamp)>>,
    /// What it refused, by the reason that stands in its own log.
    refused: Mutex<BTreeMap<String, u32>>,
}

/// What every receiver of this partner is made with: its memory outlasts a change of keys.
struct Trust {
    name: &'static str,
    jwks: String,
    http: Arc<CachingProxy>,
    guard: Arc<MemoryGuard>,
}

impl Partner {
    /// Takes a port; [`Self::open`] lets others in.
    pub fn new(setup: Setup, jwks: String, time: &Arc<SimulatedTime>) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let url = format!("http://{}/hook", socket.local_addr().unwrap());
        let http = Arc::new(CachingProxy::new(setup.caches_for, time));
        let trust = Trust { name: setup.name, jwks, http, guard: Arc::new(MemoryGuard::default()) };
        let seen = Arc::new(Seen {
            time: Arc::clone(time),
            moods: setup.moods,
            receiver: RwLock::new(trust.receiver(setup.keys, time)),
            posts: AtomicU64::new(0),
            taken: Mutex::default(),
            refused: Mutex::default(),
        });
        Self { url, seen, closed: Some(socket), trust }
    }

    pub fn open(&mut self) {
        let listener = self.closed.take().unwrap().listen(64).unwrap();
        let router = Router::new().fallback(take).with_state(Arc::clone(&self.seen));
        tokio::spawn(async move { axum::serve(listener, router).await });
    }

    /// From now on it has these decryption keys and no others.
    pub fn change_keys(&self, keys: Vec<DecryptionKey>) {
        *self.seen.receiver.write().unwrap() = self.trust.receiver(keys, &self.seen.time);
    }

    /// The ids of the events that its handler got, with the times, in order.
    pub fn taken(&self) -> Vec<(String, Timestamp)> {
        self.seen.taken.lock().unwrap().clone()
    }

    pub fn refused(&self) -> BTreeMap<String, u32> {
        self.seen.refused.lock().unwrap().clone()
    }

    /// How often the cache before it has asked the issuer for its keys.
    pub fn fetched(&self) -> u64 {
        self.trust.http.fetched.load(Ordering::SeqCst)
    }
}

impl Trust {
    fn receiver(&self, keys: Vec<DecryptionKey>, time: &Arc<SimulatedTime>) -> Receiver {
        let protection = if keys.is_empty() { Protection::Signed } else { Protection::Sealed };
        let issuer = TrustedIssuer::new(super::ISSUER, protection).jwks_url(self.jwks.clone());
        let builder = Receiver::builder()
            .audience(self.name)
            .scope("week")
            .trust(issuer)
            .replay_guard(self.guard.clone())
            .http(self.http.clone())
            .clock(time.clone());
        keys.into_iter().fold(builder, |builder, key| builder.decryption_key(key)).build().unwrap()
    }
}

async fn take(State(seen): State<Arc<Seen>>, headers: HeaderMap, body: Bytes) -> Response {
    let now = seen.time.now();
    let mood = (seen.moods)(now, seen.posts.fetch_add(1, Ordering::SeqCst));
    if let Mood::Ill { status, retry_after } = mood {
        let mut response = StatusCode::from_u16(status).unwrap().into_response();
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        return response;
    }
    let receiver = seen.receiver.read().unwrap().clone();
    let outcome = match check_media_type(&headers) {
        Ok(()) => receiver.receive(&body).await,
        Err(reject) => Err(reject),
    };
    let answer = match outcome {
        Ok(Outcome::New { event, permit }) => {
            seen.taken.lock().unwrap().push((event.id.as_str().to_owned(), now));
            permit.commit().await.unwrap();
            Answer::Taken
        }
        Ok(Outcome::Done) => Answer::Taken,
        Ok(Outcome::Verification { .. }) => panic!("nobody asked for a verification"),
        Err(reject) => {
            let said = format!("{} at {}", reject.code(), seen.time.said(now));
            *seen.refused.lock().unwrap().entry(said).or_default() += 1;
            reject.answer()
        }
    };
    match mood {
        Mood::Forgetful => StatusCode::BAD_GATEWAY.into_response(),
        Mood::Well | Mood::Ill { .. } => answer.into_response(),
    }
}

/// Between a partner and the issuer's key set: asks the issuer only when what it keeps is too old, whoever asks, and
/// does not tell how old it is. A key that the issuer did not publish in time is not to be had through it.
struct CachingProxy {
    http: ReqwestGet,
    time: Arc<SimulatedTime>,
    keeps_for: Duration,
    kept: tokio::sync::Mutex<Option<(Timestamp, HttpResponse)>>,
    fetched: AtomicU64,
}

impl CachingProxy {
    fn new(keeps_for: Duration, time: &Arc<SimulatedTime>) -> Self {
        let (http, time) = (ReqwestGet::new().unwrap(), Arc::clone(time));
        Self { http, time, keeps_for, kept: tokio::sync::Mutex::default(), fetched: AtomicU64::new(0) }
    }
}

impl HttpGet for CachingProxy {
    fn get<'a>(&'a self, url: &'a Url, max_bytes: usize, timeout: Duration) -> HttpGetFuture<'a> {
        Box::pin(async move {
            let (mut kept, now) = (self.kept.lock().await, self.time.now());
            if let Some((at, response)) = &*kept
                && now.duration_since(*at) < self.keeps_for
            {
                return Ok(response.clone());
            }
            let response = self.http.get(url, max_bytes, timeout).await?;
            self.fetched.fetch_add(1, Ordering::SeqCst);
            *kept = Some((now, response.clone()));
            Ok(response)
        })
    }
}

impl fmt::Debug for CachingProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachingProxy").field("keeps_for", &self.keeps_for).finish_non_exhaustive()
    }
}
