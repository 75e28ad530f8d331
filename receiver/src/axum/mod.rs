//! The receiver in axum: a finished route ([`webhook`]), an extractor for handlers that settle events
//! themselves ([`Leased`]), and a router that publishes one's own encryption keys ([`encryption_keys`]).
//!
//! Relies on [`Receiver`] for every decision, and on the same steps as the [tower layer](crate::tower) for reading
//! requests and running handlers. Guarantees that every way out is an [`Answer`].

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
};
use waxseal_jwks::publish;

use crate::{Answer, Receiver};

mod leased;
mod webhook;

pub use leased::Leased;
pub use webhook::webhook;

/// A router that publishes the public half of the receiver's decryption keys at `/.well-known/jwks.json`, for
/// senders that seal. They may keep it for five minutes.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
/// # #[tokio::main]
/// # async fn main() {
/// # let receiver = Sender::new("https://hooks.example.com").receiver();
/// use waxseal_receiver::axum::encryption_keys;
///
/// let url = serve(encryption_keys(&receiver)).await;
/// let set = reqwest::get(format!("{url}/.well-known/jwks.json")).await.unwrap();
/// assert_eq!(set.headers()["content-type"], "application/jwk-set+json");
/// # }
/// ```
pub fn encryption_keys(receiver: &Receiver) -> Router {
    publish::router(Arc::new(receiver.encryption_keys()), KEYS_MAX_AGE)
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.into_http().map(Body::from)
    }
}

/// What the wire format recommends for published sets.
const KEYS_MAX_AGE: Duration = Duration::from_secs(300);
