//! The demo consumer: another party, with its own key, its own server and its own copy of the issuer's JWKS.
//!
//! It reads tokens with the envelope alone. A real partner uses the `waxseal-receiver` crate, which also guards against
//! replay; the sender's crate must not depend on that one. It answers the verification event, as every receiver does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use url::Url;
use waxseal_envelope::{Audience, Expected, Issuer, Limits, Opened, Token};
use waxseal_jwks::{RemoteJwks, RemotePolicy, ReqwestGet};
use waxseal_keys::{Clock, DecryptionKey, SystemClock};
use waxseal_keys::{EncryptionKeyType, generate_decryption_key};

use crate::cli::error::CliError;

/// A consumer on a port of its own.
pub(super) struct DemoConsumer {
    address: SocketAddr,
    key: DecryptionKey,
    seen: mpsc::Receiver<Result<Seen, String>>,
}

/// A delivery: what was on the wire, and what the consumer read.
pub(super) struct Seen {
    pub(super) token: String,
    pub(super) opened: Opened,
}

struct Reader {
    key: DecryptionKey,
    jwks: RemoteJwks,
    expected: Expected,
    seen: mpsc::Sender<Result<Seen, String>>,
}

impl DemoConsumer {
    /// Starts it on a free port of the loopback address.
    pub(super) async fn start(issuer: Issuer, audience: Audience) -> Result<Self, CliError> {
        let key = generate_decryption_key(EncryptionKeyType::P256)
            .map_err(|error| CliError::failed("cannot make a key", error))?;
        let (sender, seen) = mpsc::channel(16);
        let jwks_uri = format!("{issuer}/.well-known/jwks.json");
        let jwks_uri = Url::parse(&jwks_uri).map_err(|error| CliError::failed(jwks_uri, error))?;
        let http = ReqwestGet::new().map_err(|error| CliError::failed("cannot prepare HTTP", error))?;
        // Within the times of the demonstration's key ring, as production's caches are within a day.
        let policy = RemotePolicy {
            max_age: Duration::from_secs(1),
            cooldown: Duration::from_millis(500),
            ..RemotePolicy::default()
        };
        let reader = Reader {
            key: key.clone(),
            jwks: RemoteJwks::new(jwks_uri, Arc::new(http), Arc::new(SystemClock), policy),
            expected: Expected::new(issuer, audience),
            seen: sender,
        };
        let router = Router::new().route("/hooks", post(receive)).with_state(Arc::new(reader));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await;
        let listener = listener.map_err(|error| CliError::failed("cannot listen", error))?;
        let address = listener.local_addr().map_err(|error| CliError::failed("cannot listen", error))?;
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { address, key, seen })
    }

    /// Where it receives.
    pub(super) fn url(&self) -> String {
        format!("http://{}/hooks", self.address)
    }

    /// What it gives to the sender.
    pub(super) fn public_jwk(&self) -> Value {
        self.key.public_jwk().to_json()
    }

    /// The kid of its key.
    pub(super) fn kid(&self) -> &str {
        self.key.kid()
    }

    /// The next delivery.
    pub(super) async fn next(&mut self) -> Result<Seen, CliError> {
        let seen = self.seen.recv().await;
        let seen = seen.ok_or_else(|| CliError::plain("the consumer has stopped"))?;
        seen.map_err(|refused| CliError::plain(format!("the consumer refused a token: {refused}")))
    }
}

async fn receive(State(reader): State<Arc<Reader>>, body: Bytes) -> Response {
    let result = reader.read(&body).await;
    if let Ok(Seen { opened, .. }) = &result
        && let Some(state) = opened.verification()
    {
        return Json(json!({ "state": state })).into_response();
    }
    let status = if result.is_ok() { StatusCode::ACCEPTED } else { StatusCode::BAD_REQUEST };
    // Nobody waits for it any more when the demonstration ends.
    let _ = reader.seen.send(result).await;
    status.into_response()
}

impl Reader {
    async fn read(&self, body: &[u8]) -> Result<Seen, String> {
        let token = Token::parse(body, &Limits::default()).map_err(|error| error.to_string())?;
        let Token::Sealed(sealed) = token else {
            return Err("it is not sealed".to_owned());
        };
        let signed = sealed.decrypt(&self.key).map_err(|error| error.to_string())?;
        let key = self.jwks.verifying_key(signed.signer_kid()).await.map_err(|error| error.to_string())?;
        let opened =
            signed.verify(&key, &self.expected, SystemClock.now()).map_err(|error| error.to_string())?;
        Ok(Seen { token: String::from_utf8_lossy(body).into_owned(), opened })
    }
}
