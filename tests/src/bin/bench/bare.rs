//! The limit: a program that does only what nobody can do without, with the libraries that the sender uses.
//!
//! It takes an event over HTTP without looking at it, keeps it in SQLite or in PostgreSQL with a row for each delivery (batched, flushed
//! to disk before it answers), signs it, encrypts it if it is to be sealed, posts it and settles it, batched again. No
//! schedule, no key ring, no claims, no encryption at rest, no limits, no guard, no retry, no log. It is no sender: it
//! is what a sender cannot be faster than.

mod parts;
mod postgres;
mod sqlite;
mod store;

use std::process::Command;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use clap::Args;
use reqwest::Client;
use tempfile::TempDir;
use tokio::net::TcpListener;
use waxseal_tests::process::Process;
use waxseal_tests::raw::{Agreement, Raw, Signature};

use self::store::Store;
use crate::case::Protection;
use crate::load::Target;
use crate::store::Place;

pub(crate) use self::parts::{Parts, parts};

/// How the process is started.
#[derive(Args)]
pub(crate) struct Options {
    /// Where it posts to
    #[arg(long)]
    url: String,
    /// signed, sealed
    #[arg(long)]
    protection: Protection,
    /// Deliveries of each event
    #[arg(long)]
    fan_out: usize,
    /// The database that it keeps events in, instead of a file
    #[arg(long)]
    database: Option<String>,
}

/// A running one.
pub(crate) struct Bare {
    /// Its process.
    pub(crate) process: Process,
    origin: String,
}

impl Bare {
    /// Starts one that posts to `url`.
    pub(crate) fn start(url: &str, protection: Protection, fan_out: usize, place: &Place<'_>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["bare", "--url", url, "--protection", protection.name(), "--fan-out"]);
        command.arg(fan_out.to_string());
        command.args(place.url().into_iter().flat_map(|url| ["--database".to_owned(), url]));
        let process = Process::start("bare", &mut command);
        let origin = format!("http://{}", process.line_after("listening "));
        Self { process, origin }
    }

    /// What to publish to.
    pub(crate) fn target(&self, bodies: Vec<Bytes>) -> Target {
        self.target_at("events", bodies)
    }

    fn target_at(&self, path: &str, bodies: Vec<Bytes>) -> Target {
        Target::new(format!("{}/{path}", self.origin), "", bodies)
    }
}

struct Shared {
    url: String,
    protection: Protection,
    fan_out: usize,
    client: Client,
    raw: Raw,
    store: Store,
}

/// The process itself.
pub(crate) async fn run(options: Options) {
    let folder = TempDir::new().unwrap();
    let shared = Shared {
        url: options.url,
        protection: options.protection,
        fan_out: options.fan_out,
        client: Client::builder().no_proxy().build().unwrap(),
        raw: Raw::new(Signature::Es256, Some(Agreement::P256), &[b'm'; 1_024]),
        store: Store::open(folder.path(), options.database.as_deref()).await,
    };
    let router = Router::new()
        .route("/events", post(accept))
        .route("/nothing", post(async |_: Bytes| StatusCode::ACCEPTED))
        .route("/{part}/{times}", post(part))
        .with_state(Arc::new(shared));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    println!("listening {}", listener.local_addr().unwrap());
    axum::serve(listener, router).await.unwrap();
}

async fn accept(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let deliveries = shared.store.accept(body.clone(), shared.fan_out).await;
    for delivery in deliveries {
        let (shared, body) = (Arc::clone(&shared), body.clone());
        tokio::spawn(async move {
            shared.post(shared.token(&body)).await;
            shared.store.settle(delivery).await;
        });
    }
    StatusCode::ACCEPTED
}

async fn part(
    State(shared): State<Arc<Shared>>,
    Path((part, times)): Path<(String, usize)>,
    body: Bytes,
) -> StatusCode {
    shared.repeat(&part, times, body).await;
    StatusCode::ACCEPTED
}

impl Shared {
    fn token(&self, payload: &[u8]) -> String {
        let mut token = format!("{HEADER}.");
        URL_SAFE_NO_PAD.encode_string(payload, &mut token);
        let signature = self.raw.sign_other(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        match self.protection {
            Protection::Signed => token,
            Protection::Sealed => {
                let (ephemeral, ciphertext) = self.raw.encrypt_other(token.as_bytes());
                let mut outer = format!("{HEADER}{}..", URL_SAFE_NO_PAD.encode(ephemeral));
                URL_SAFE_NO_PAD.encode_string(ciphertext, &mut outer);
                outer
            }
        }
    }

    async fn post(&self, token: String) {
        let request = self.client.post(&self.url).header("content-type", "application/jose");
        let answer = request.body(token).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.bytes().await.unwrap();
    }
}

/// As long as a real one.
const HEADER: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6Ik56YkxzWGg4dURDY2QtNk1Od1hGNFdfN25vV1hGWkFmSGt4WnNSR0M5WHMiLCJ0eXAiOiJzZWNldmVudCtqd3QifQ";
