//! [`webhook`]: a route that does everything but the partner's own work.
//!
//! Relies on the steps that it shares with the [tower layer](crate::tower). Guarantees that the handler sees data of
//! its own type, and that the sender sees nothing of the handler but whether it succeeded.

use std::{fmt::Display, future::Future};

use axum::{
    extract::Request,
    routing::{MethodRouter, post},
};
use serde::de::DeserializeOwned;

use crate::{Received, Receiver, Reject, request::answer};

/// A `POST` route that answers senders and gives each event to `handler` once.
///
/// The handler's `Ok` commits the event: `202`, never again. Its `Err` or panic aborts: `503`, and the
/// sender's next attempt comes through. Data that does not fit `T` is `400 invalid_request`. The text of an
/// `Err` goes to the log at debug level; the sender never sees it.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
/// # #[tokio::main]
/// # async fn main() {
/// use waxseal_receiver::{Received, axum::webhook};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     order: String,
/// }
///
/// # let sender = Sender::new("https://hooks.example.com");
/// # let receiver = sender.receiver();
/// let hook = webhook(receiver, |received: Received<Order>| async move {
///     println!("{} is order {}", received.event.id, received.data.order);
///     Ok::<_, std::io::Error>(())
/// });
/// let url = serve(axum::Router::new().route("/hooks/orders", hook)).await + "/hooks/orders";
/// assert_eq!(deliver(&url, sender.signed("acme", "evt_1")).await.status(), 202);
/// assert_eq!(deliver(&url, b"anything else".to_vec()).await.status(), 400);
/// # }
/// ```
pub fn webhook<T, H, F, E, S>(receiver: Receiver, handler: H) -> MethodRouter<S>
where
    T: DeserializeOwned + Send + 'static,
    H: Fn(Received<T>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
    S: Clone + Send + Sync + 'static,
{
    post(move |request: Request| {
        let (receiver, handler) = (receiver.clone(), handler.clone());
        async move {
            let run = move |event, _| {
                let received = Received::new(event)?;
                Ok(async move {
                    handler(received).await.map_err(|error| {
                        tracing::debug!(code = Reject::HandlerFailed.code(), "{error}");
                        Reject::HandlerFailed
                    })
                })
            };
            answer(&receiver, request, run).await
        }
    })
}
