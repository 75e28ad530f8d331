//! `waxseal listen`: a receiver on the command line. It prints the events that open, says why others do not, and can
//! hand them on to a program that has no JOSE yet.
//!
//! It reads tokens with the envelope alone, as the sender's crate must not depend on the receiver's. Its memory of what
//! it has taken is bounded and ends with it: for a partner's service there is the `waxseal-receiver` crate.

mod answer;
mod forward;
mod reader;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::post;
use clap::Args;
use serde_json::{Value, json};
use url::Url;
use waxseal_envelope::{Audience, Issuer};
use waxseal_jwks::JwkSet;
use waxseal_keys::DecryptionKey;

use self::answer::Answer;
use self::forward::Forward;
use self::reader::{Reader, Taken};
use super::error::CliError;
use super::open::describe;
use super::output::line;
use super::trust::decryption_keys;
use crate::config::TlsConfig;
use crate::listen::{ConnectionLimits, Listener, stop_signal};

/// Receive events here: print them, and hand them on to a local program
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal keys generate --out my-key.json          a key to seal to\n  waxseal listen --issuer https://hooks.example.com --audience acme --key my-key.json\n  waxseal listen --issuer http://127.0.0.1:8080 --audience acme --forward http://localhost:3000/hooks\n\nIts own encryption keys are at /.well-known/jwks.json. It answers verification events by itself."
)]
pub struct ListenArgs {
    /// Who the tokens must come from
    #[arg(long, env = "WAXSEAL_ISSUER")]
    issuer: String,
    /// Whom the tokens must be for
    #[arg(long, env = "WAXSEAL_AUDIENCE")]
    audience: String,
    /// The URL of the issuer's JWKS; under the issuer if left out
    #[arg(long)]
    jwks: Option<Url>,
    /// A file with a private decryption key (a JWK, or a set of them); may be given several times
    #[arg(long = "key")]
    keys: Vec<PathBuf>,
    /// Refuse what is signed and not sealed
    #[arg(long, requires = "keys")]
    sealed_only: bool,
    /// Where to receive
    #[arg(long, default_value = "127.0.0.1:4400")]
    listen: SocketAddr,
    /// The path to receive at
    #[arg(long, default_value = "/")]
    path: String,
    /// Post each event as JSON to this URL; what is not answered with 2xx there is not taken here
    #[arg(long)]
    forward: Option<Url>,
    /// PEM file with the server certificate, the leaf first
    #[arg(long, requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// PEM file with the server's private key
    #[arg(long, requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Print one JSON object for each event
    #[arg(long)]
    json: bool,
}

/// What requests are answered with.
struct Service {
    reader: Reader,
    forward: Option<Forward>,
    json: bool,
}

impl ListenArgs {
    /// Receives until SIGINT or SIGTERM.
    ///
    /// # Errors
    /// If an option is not right, a key cannot be read or the address cannot be had.
    pub async fn run(self) -> Result<(), CliError> {
        let usage = |flag: &str, error: &dyn std::fmt::Display| CliError::usage(format!("{flag}: {error}"));
        let issuer = Issuer::parse(&self.issuer).map_err(|error| usage("--issuer", &error))?;
        let audience = Audience::parse(&self.audience).map_err(|error| usage("--audience", &error))?;
        if !self.path.starts_with('/') || self.path.contains(['{', '}', '?', '#']) {
            return Err(CliError::usage("--path: expected a path such as /hooks"));
        }
        let keys = decryption_keys(&self.keys)?;
        let published = JwkSet::new(keys.iter().map(DecryptionKey::public_jwk).collect());
        let kids: Vec<_> = keys.iter().map(|key| key.kid().to_owned()).collect();
        let reader = Reader::new(issuer, audience, self.jwks, keys, self.sealed_only)?;
        let forward = self.forward.map(Forward::to).transpose()?;
        let service = Arc::new(Service { reader, forward, json: self.json });
        let well_known = waxseal_jwks::publish::router(Arc::new(published), KEYS_MAX_AGE);
        let hooks = Router::new().route(&self.path, post(receive)).with_state(service);
        let router = hooks.layer(DefaultBodyLimit::max(answer::MAX_BODY)).merge(well_known);
        let tls = self.tls_cert.zip(self.tls_key).map(|(cert, key)| TlsConfig { cert, key });
        let listener = Listener::bind(self.listen, tls.as_ref(), ConnectionLimits::default()).await;
        let listener = listener.map_err(|error| CliError::failed("cannot receive", error))?;
        let stop = stop_signal();
        if !self.json {
            let scheme = if tls.is_some() { "https" } else { "http" };
            line(&format!("listening on {scheme}://{}{}", listener.address(), self.path))?;
            for kid in kids {
                line(&format!("opens what is sealed to {kid}"))?;
            }
        }
        let served = listener.serve(router, stop).await;
        served.map_err(|error| CliError::failed("serving ended", error))
    }
}

async fn receive(State(service): State<Arc<Service>>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err(answer) = answer::check_media_type(&headers) {
        return answer.into_response();
    }
    // A task of its own: if the sender hangs up, the event is still handed on, and a repetition of it is known.
    let answering = tokio::spawn(async move { service.answer(&body).await });
    answering.await.unwrap_or(Answer::Unavailable).into_response()
}

impl Service {
    async fn answer(&self, body: &[u8]) -> Answer {
        let taken = match self.reader.read(body).await {
            Ok(taken) => taken,
            Err(refused) => {
                self.say(&refused.to_json(), &format!("REFUSED at {}: {}", refused.step, refused.detail));
                return refused.answer;
            }
        };
        let (opened, again) = match taken {
            Taken::Verification { state } => {
                self.say(&json!({ "verified": true }), "verification event: answered");
                return Answer::Verified { state };
            }
            Taken::New(opened) => (opened, false),
            Taken::Again(opened) => (opened, true),
        };
        let event = describe(&opened);
        let note = if again { "again   " } else { "received" };
        let text = format!("{note} {} {} {}", opened.event.id, opened.event.event_type, event["data"]);
        self.say(&json!({ "event": event, "again": again }), &text);
        if again {
            return Answer::Taken;
        }
        if let Some(forward) = &self.forward
            && let Err(why) = forward.post(&event).await
        {
            self.reader.forget(&opened);
            self.say(&json!({ "forwarded": false, "detail": why }), &format!("not handed on: {why}"));
            return Answer::Unavailable;
        }
        self.reader.commit(&opened);
        Answer::Taken
    }

    /// A closed standard output must not make events look refused.
    fn say(&self, json: &Value, text: &str) {
        let said = if self.json { line(&json.to_string()) } else { line(text) };
        if let Err(error) = said {
            eprintln!("waxseal: {error}");
        }
    }
}

/// How long a sender may keep the keys that are published here.
const KEYS_MAX_AGE: Duration = Duration::from_secs(60);
