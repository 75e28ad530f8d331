//! [`webhook`]: a route that does everything but the partner's own work.
//!
//! A request is handled by a task of its own, which receives, runs the handler and settles. The connection only
//! waits for that task: if the sender hangs up, the event is still processed and committed, and the
//! sender's next attempt is answered `202`. The handler runs in a further task, so that its panic is
//! seen as a failure; while it runs, its lease is renewed.

use std::{fmt::Display, future::Future};

use axum::{
    extract::Request,
    routing::{MethodRouter, post},
};
use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::read;
use crate::{Answer, Outcome, Permit, Received, Receiver, Reject, Settled};

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
            let body = match read(request).await {
                Ok(body) => body,
                Err(reject) => return reject.answer(),
            };
            let task = tokio::spawn(async move { process(&receiver, &body, handler).await });
            match task.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(reject)) => reject.answer(),
                Err(_) => Reject::HandlerPanicked.answer(),
            }
        }
    })
}

async fn process<T, H, F, E>(receiver: &Receiver, body: &Bytes, handler: H) -> Result<Answer, Reject>
where
    T: DeserializeOwned + Send + 'static,
    H: Fn(Received<T>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let (event, permit) = match receiver.receive(body).await? {
        Outcome::New { event, permit } => (*event, permit),
        Outcome::Done => return Ok(Answer::Taken),
        Outcome::Verification { state } => return Ok(Answer::Verified { state }),
    };
    let id = event.id.clone();
    let ended = match Received::new(event) {
        Ok(received) => run(&permit, handler, received).await,
        Err(reject) => Err(reject),
    };
    let settled = match &ended {
        Ok(()) => permit.commit().await?,
        Err(_) => permit.abort().await.unwrap_or(Settled::Stale),
    };
    let ended =
        ended.and(if settled == Settled::Applied { Ok(Answer::Taken) } else { Err(Reject::LeaseLost) });
    if let Err(reject) = &ended {
        tracing::warn!(code = reject.code(), event = %id, "event not processed");
    }
    ended
}

async fn run<T, H, F, E>(permit: &Permit, handler: H, received: Received<T>) -> Result<(), Reject>
where
    T: Send + 'static,
    H: Fn(Received<T>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let mut task = tokio::spawn(async move { handler(received).await });
    let joined = loop {
        match tokio::time::timeout(permit.lease() / 3, &mut task).await {
            Ok(joined) => break joined,
            // Whether the lease could be renewed shows when the event is committed.
            Err(_) => drop(permit.renew().await),
        }
    };
    match joined {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::debug!(code = Reject::HandlerFailed.code(), "{error}");
            Err(Reject::HandlerFailed)
        }
        Err(_) => Err(Reject::HandlerPanicked),
    }
}
