//! What the endpoints of all consumers are: it opens and verifies every token, and counts by endpoint and event.
//!
//! It takes its time, so that there is something in flight, and counts how many POSTs it has of one endpoint at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use waxseal_envelope::{Audience, Expected, Issuer, Limits, Token};
use waxseal_keys::{
    Clock, DecryptionKey, EncryptionKeyType, Jwk, SystemClock, VerifyingKey, generate_decryption_key,
};

use crate::fleet::{Fleet, now};

/// A service of all consumers.
#[derive(Clone)]
pub struct Receiver {
    address: String,
    state: Arc<Kept>,
}

struct Kept {
    key: DecryptionKey,
    pause: Duration,
    issuer: Mutex<Option<Issuing>>,
    seen: Mutex<Seen>,
}

/// Whose tokens are taken.
#[derive(Clone)]
struct Issuing {
    issuer: Issuer,
    keys: Arc<Vec<VerifyingKey>>,
}

#[derive(Default)]
struct Seen {
    posts: Vec<Post>,
    at_once: HashMap<String, usize>,
}

/// One POST of a token.
#[derive(Clone, Debug)]
pub struct Post {
    pub at: Instant,
    pub consumer: String,
    pub event: String,
    pub readable: bool,
    /// How many of that endpoint there were at this moment, with this one.
    pub at_once: usize,
}

impl Receiver {
    /// One that takes so long for each.
    pub async fn start(pause: Duration) -> Self {
        let key = generate_decryption_key(EncryptionKeyType::P256).unwrap();
        let state = Kept { key, pause, issuer: Mutex::default(), seen: Mutex::default() };
        let state = Arc::new(state);
        let router = Router::new().route("/{consumer}", post(take)).with_state(Arc::clone(&state));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, state }
    }

    /// Where an endpoint of this consumer is.
    pub fn url(&self, consumer: &str) -> String {
        format!("{}/{consumer}", self.address)
    }

    /// What is sealed to.
    pub fn public_keys(&self) -> Value {
        json!({ "keys": [self.state.key.public_jwk().to_json()] })
    }

    /// Takes tokens that verify by the keys that are published at `origin`.
    pub async fn trust(&self, fleet: &Fleet, origin: &str) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{origin}/.well-known/jwks.json");
        let set: Value = client.get(url).send().await.unwrap().json().await.unwrap();
        let key =
            |jwk: &Value| VerifyingKey::from_jwk(&Jwk::parse(jwk.to_string().as_bytes()).unwrap()).unwrap();
        let keys = set["keys"].as_array().unwrap().iter().map(key).collect();
        let issuer = Issuer::parse(&fleet.issuer).unwrap();
        *self.state.issuer.lock().unwrap() = Some(Issuing { issuer, keys: Arc::new(keys) });
    }

    /// Every POST so far, in the order in which they came.
    pub fn posts(&self) -> Vec<Post> {
        self.state.seen.lock().unwrap().posts.clone()
    }

    /// How many came so far.
    pub fn count(&self) -> usize {
        self.state.seen.lock().unwrap().posts.len()
    }

    /// The events that came.
    pub fn events(&self) -> BTreeSet<String> {
        self.state.seen.lock().unwrap().posts.iter().map(|post| post.event.clone()).collect()
    }

    /// How many came more than once, by consumer, each as often as it came again; each is of one consumer.
    pub fn repeated(&self) -> BTreeMap<String, usize> {
        let (mut seen, mut again) = (BTreeSet::new(), BTreeMap::new());
        for post in self.posts() {
            if !seen.insert(post.event) {
                *again.entry(post.consumer).or_default() += 1;
            }
        }
        again
    }
}

async fn take(
    State(state): State<Arc<Kept>>,
    Path(consumer): Path<String>,
    token: Bytes,
) -> Result<StatusCode, StatusCode> {
    let at = now();
    let (event, readable) = open(&state, &consumer, &token).ok_or(StatusCode::BAD_REQUEST)?;
    {
        let mut seen = state.seen.lock().unwrap();
        let at_once = seen.at_once.entry(consumer.clone()).or_default();
        *at_once += 1;
        let at_once = *at_once;
        seen.posts.push(Post { at, consumer: consumer.clone(), event, readable, at_once });
    }
    // It ends also when whoever posted is gone.
    let ended = tokio::spawn(async move {
        tokio::time::sleep(state.pause).await;
        *state.seen.lock().unwrap().at_once.get_mut(&consumer).unwrap() -= 1;
    });
    ended.await.unwrap();
    Ok(StatusCode::ACCEPTED)
}

/// The event's id, and whether anybody could have read it on the way.
fn open(state: &Kept, consumer: &str, token: &[u8]) -> Option<(String, bool)> {
    let Issuing { issuer, keys } = state.issuer.lock().unwrap().clone()?;
    let (signed, readable) = match Token::parse(token, &Limits::default()).ok()? {
        Token::Signed(signed) => (signed, true),
        Token::Sealed(sealed) => (sealed.decrypt(&state.key).ok()?, false),
    };
    let key = keys.iter().find(|key| key.kid() == signed.signer_kid())?;
    let expected = Expected::new(issuer, Audience::parse(consumer).ok()?);
    let opened = signed.verify(key, &expected, SystemClock.now()).ok()?;
    Some((opened.event.id.to_string(), readable))
}
