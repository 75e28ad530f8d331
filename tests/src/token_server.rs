//! An authorization server that enforces what RFC 6749, RFC 7523 and RFC 8707 say, and a resource that its tokens open.
//!
//! Relies on josekit for assertions, which the sender does not sign with, and on the sender's published JWKS. Tokens
//! are good for as long as they were given, and can be taken back.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use josekit::jwk::{Jwk, JwkSet};
use josekit::jws::{ES256, EdDSA, JwsVerifier, PS256};
use josekit::jwt;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;
use waxseal_keys::{Clock, SystemClock, Timestamp};

/// How its one client must prove itself.
#[derive(Clone, Debug)]
pub enum Proof {
    /// In the `Authorization` field.
    SecretBasic(String),
    /// In the form.
    SecretPost(String),
    /// By an assertion that verifies under the JWKS at this URL.
    PrivateKeyJwt(String),
}

/// A running server.
pub struct TokenServer {
    origin: String,
    shared: Arc<Shared>,
}

struct Shared {
    proof: Proof,
    token_url: String,
    state: Mutex<Inside>,
}

struct Inside {
    lifetime: Duration,
    /// What its tokens are good for, which a client has to ask for.
    scope: String,
    /// For whom they are good, which a client has to name, if that is said.
    audience: Option<String>,
    fetches: Vec<StatusCode>,
    good_until: HashMap<String, Timestamp>,
    assertions: HashSet<String>,
    /// What came to the resource: the token that opened it, or the one that did not.
    taken: Vec<String>,
    refused: Vec<String>,
}

impl TokenServer {
    /// Starts one that knows the client `waxseal`, which asks for the scope `hooks`; its tokens last so long.
    pub async fn start(proof: Proof, lifetime: Duration) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let inside = Inside {
            lifetime,
            scope: "hooks".to_owned(),
            audience: None,
            fetches: Vec::new(),
            good_until: HashMap::new(),
            assertions: HashSet::new(),
            taken: Vec::new(),
            refused: Vec::new(),
        };
        let token_url = format!("{origin}/token");
        let shared = Arc::new(Shared { proof, token_url, state: Mutex::new(inside) });
        let router = Router::new()
            .route("/token", post(token))
            .route("/hooks", post(resource))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, shared }
    }

    /// Where tokens are given.
    pub fn token_url(&self) -> String {
        self.shared.token_url.clone()
    }

    /// What they open.
    pub fn resource_url(&self) -> String {
        format!("{}/hooks", self.origin)
    }

    /// How each request for a token was answered.
    pub fn fetches(&self) -> Vec<u16> {
        self.inside().fetches.iter().map(StatusCode::as_u16).collect()
    }

    /// The tokens with which deliveries were taken, in order.
    pub fn taken(&self) -> Vec<String> {
        self.inside().taken.clone()
    }

    /// The tokens with which deliveries were refused, in order.
    pub fn refused(&self) -> Vec<String> {
        self.inside().refused.clone()
    }

    /// Takes every token back.
    pub fn revoke_all(&self) {
        self.inside().good_until.clear();
    }

    /// How long new tokens last.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.inside().lifetime = lifetime;
    }

    /// Gives tokens from now on to those alone who ask for this scope and this audience.
    pub fn demand(&self, scope: &str, audience: Option<&str>) {
        let mut inside = self.inside();
        (inside.scope, inside.audience) = (scope.to_owned(), audience.map(str::to_owned));
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.shared.inside()
    }
}

impl Shared {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.state.lock().unwrap()
    }

    /// What is wrong with a request for a token.
    async fn refusal(
        &self,
        headers: &HeaderMap,
        form: &HashMap<String, String>,
    ) -> Option<(StatusCode, &'static str)> {
        let said = |name: &str| form.get(name).map(String::as_str);
        let asked = if said("grant_type") != Some("client_credentials") {
            Some("unsupported_grant_type")
        } else if said("scope") != Some(&self.inside().scope) {
            Some("invalid_scope")
        } else if said("audience") != self.inside().audience.as_deref() {
            Some("invalid_target")
        } else {
            None
        };
        if let Some(error) = asked {
            return Some((StatusCode::BAD_REQUEST, error));
        }
        let authorization = headers.get("authorization").map(|value| value.to_str().unwrap());
        let proved = match &self.proof {
            Proof::SecretBasic(secret) => {
                let expected = STANDARD.encode(format!("waxseal:{}", form_encoded(secret)));
                authorization == Some(&format!("Basic {expected}")) && said("client_secret").is_none()
            }
            Proof::SecretPost(secret) => {
                let right = said("client_id") == Some("waxseal") && said("client_secret") == Some(secret);
                right && authorization.is_none()
            }
            Proof::PrivateKeyJwt(jwks_url) => {
                let kind = said("client_assertion_type");
                let right = kind == Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
                right && authorization.is_none() && self.believes(said("client_assertion")?, jwks_url).await
            }
        };
        (!proved).then_some((StatusCode::UNAUTHORIZED, "invalid_client"))
    }

    /// RFC 7523 section 3.
    async fn believes(&self, assertion: &str, jwks_url: &str) -> bool {
        let set = reqwest::get(jwks_url).await.unwrap().bytes().await.unwrap();
        let set = JwkSet::from_bytes(&set).unwrap();
        let Ok(header) = jwt::decode_header(assertion) else { return false };
        let claim = |name: &str| header.claim(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (typ, kid) = (claim("typ"), claim("kid"));
        let key: Option<&Jwk> = set.get(&kid).into_iter().next();
        let Some(verifier) = key.and_then(verifier) else { return false };
        let Ok((payload, _)) = jwt::decode_with_verifier(assertion, verifier.as_ref()) else { return false };
        let (now, expires) = (SystemClock.now().as_seconds(), payload.claim("exp").and_then(Value::as_i64));
        let lives = expires.is_some_and(|at| at > now && at <= now + 60);
        let audience = payload.audience() == Some(vec![self.token_url.as_str()]);
        let (iss, sub) = (payload.issuer(), payload.subject());
        let fresh = payload.jwt_id().is_some_and(|id| self.inside().assertions.insert(id.to_owned()));
        let no_event = payload.claim("events").is_none() && typ == "JWT";
        lives && audience && iss == Some("waxseal") && sub == Some("waxseal") && fresh && no_event
    }
}

/// What verifies under this key, by the algorithm that it says of itself.
fn verifier(key: &Jwk) -> Option<Box<dyn JwsVerifier>> {
    match key.algorithm()? {
        "ES256" => Some(Box::new(ES256.verifier_from_jwk(key).ok()?)),
        "EdDSA" => Some(Box::new(EdDSA.verifier_from_jwk(key).ok()?)),
        "PS256" => Some(Box::new(PS256.verifier_from_jwk(key).ok()?)),
        _ => None,
    }
}

async fn token(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, Json<Value>) {
    let form = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refusal = shared.refusal(&headers, &form).await;
    let mut inside = shared.inside();
    let status = refusal.map_or(StatusCode::OK, |(status, _)| status);
    inside.fetches.push(status);
    if let Some((_, error)) = refusal {
        return (status, Json(json!({ "error": error, "error_description": "no" })));
    }
    let token = format!("token-{}", inside.fetches.len());
    let lifetime = inside.lifetime;
    inside.good_until.insert(token.clone(), SystemClock.now().saturating_add(lifetime));
    (status, Json(json!({ "access_token": token, "token_type": "Bearer", "expires_in": lifetime.as_secs() })))
}

async fn resource(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> StatusCode {
    let shown = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = shown.strip_prefix("Bearer ").unwrap_or_default().to_owned();
    let mut inside = shared.inside();
    let good = inside.good_until.get(&token).is_some_and(|until| SystemClock.now() < *until);
    if good {
        inside.taken.push(token);
        StatusCode::ACCEPTED
    } else {
        inside.refused.push(token);
        StatusCode::UNAUTHORIZED
    }
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
