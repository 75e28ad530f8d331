//! [`Leased`]: the extractor for those who write the handler, and settle the event, themselves.

use axum::extract::{FromRef, FromRequest, Request};
use serde::de::DeserializeOwned;

use crate::{Answer, Outcome, Permit, Received, Receiver, request::read};

/// A verified event that is the handler's to process, with its data as `T`.
///
/// Everything else is answered before the handler runs: refused tokens, events that were taken before,
/// verification of the endpoint. The state of the router must contain the [`Receiver`].
///
/// The handler must [`commit`](Permit::commit) when it has succeeded. If it fails, or is cancelled because the
/// sender hung up, dropping the permit aborts, and the next attempt comes through. [`webhook`](super::webhook) does
/// not depend on the connection; prefer it.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
/// # #[tokio::main]
/// # async fn main() {
/// use axum::{Router, http::StatusCode, routing::post};
/// use waxseal_receiver::{Answer, Settled, axum::Leased};
///
/// async fn take(Leased { received, permit, .. }: Leased<serde_json::Value>) -> Result<Answer, StatusCode> {
///     println!("{} is order {}", received.event.id, received.data["order"]);
///     match permit.commit().await {
///         Ok(Settled::Applied) => Ok(Answer::Taken),
///         Ok(Settled::Stale) | Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
///     }
/// }
///
/// # let sender = Sender::new("https://hooks.example.com");
/// # let receiver = sender.receiver();
/// let app = Router::new().route("/hooks/orders", post(take)).with_state(receiver);
/// let url = serve(app).await + "/hooks/orders";
/// assert_eq!(deliver(&url, sender.signed("acme", "evt_1")).await.status(), 202);
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Leased<T> {
    /// The event and its data.
    pub received: Received<T>,
    /// The right to process it.
    pub permit: Permit,
}

impl<T, S> FromRequest<S> for Leased<T>
where
    T: DeserializeOwned + Send,
    Receiver: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Answer;

    async fn from_request(request: Request, state: &S) -> Result<Self, Answer> {
        let receiver = Receiver::from_ref(state);
        let body = match read(&receiver, request).await {
            Ok((_, body)) => body,
            Err(reject) => {
                receiver.refused(&reject);
                return Err(reject.answer());
            }
        };
        match receiver.receive(&body).await {
            Err(reject) => Err(reject.answer()),
            Ok(Outcome::Done) => Err(Answer::Taken),
            Ok(Outcome::Verification { state }) => Err(Answer::Verified { state }),
            Ok(Outcome::New { event, permit }) => match Received::new(*event) {
                Ok(received) => Ok(Self { received, permit }),
                Err(reject) => {
                    receiver.refused(&reject);
                    // Dropped, the permit would abort as well, but perhaps after the answer.
                    drop(permit.abort().await);
                    Err(reject.answer())
                }
            },
        }
    }
}
