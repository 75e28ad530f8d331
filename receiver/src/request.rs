//! One request, from its head to its [`Answer`], for every framework.
//!
//! Relies on `http-body` for reading and on [`process`] for the rest. Guarantees that a request is read within a size
//! and a time; that whatever it begins goes on without its connection, in a task of its own; and that the sender
//! waits no longer than the handler's limit.

use std::{error::Error, future::Future};

use bytes::Bytes;
use http::{Method, Request, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::OwnedSemaphorePermit;
use waxseal_envelope::Event;

use crate::{Answer, Receiver, Reject, check_media_type, process::process, receiver::MAX_BODY};

/// What every body may fail with.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// Answers a request. `handler` looks at a new event, refuses it or gives the future that processes it.
pub(crate) async fn answer<B, H, F>(receiver: &Receiver, request: Request<B>, handler: H) -> Answer
where
    B: Body,
    B::Error: Into<BoxError>,
    H: FnOnce(Event, Parts) -> Result<F, Reject> + Send + 'static,
    F: Future<Output = Result<(), Reject>> + Send + 'static,
{
    attend(receiver, request, handler).await.unwrap_or_else(|reject| {
        receiver.refused(&reject);
        reject.answer()
    })
}

/// What is refused here is not counted yet; what the task refuses is.
async fn attend<B, H, F>(receiver: &Receiver, request: Request<B>, handler: H) -> Result<Answer, Reject>
where
    B: Body,
    B::Error: Into<BoxError>,
    H: FnOnce(Event, Parts) -> Result<F, Reject> + Send + 'static,
    F: Future<Output = Result<(), Reject>> + Send + 'static,
{
    let slot = slot(receiver)?;
    let (head, body) = read(receiver, request).await?;
    let task = {
        let receiver = receiver.clone();
        tokio::spawn(async move {
            let answer = process(&receiver, &body, |event| handler(event, head)).await;
            drop(slot);
            answer
        })
    };
    match tokio::time::timeout(receiver.limits().handler, task).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Reject::HandlerPanicked),
        Err(_) => Err(Reject::HandlerSlow),
    }
}

/// The right to be one of those that are handled at the same time.
pub(crate) fn slot(receiver: &Receiver) -> Result<Option<OwnedSemaphorePermit>, Reject> {
    match &receiver.limits().slots {
        Some(slots) => slots.clone().try_acquire_owned().map(Some).map_err(|_| Reject::Busy),
        None => Ok(None),
    }
}

/// Reads a request as far as it can be judged without its content.
pub(crate) async fn read<B>(receiver: &Receiver, request: Request<B>) -> Result<(Parts, Bytes), Reject>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    if head.method != Method::POST {
        return Err(Reject::Method);
    }
    check_media_type(&head.headers)?;
    if body.size_hint().lower() > u64::try_from(MAX_BODY).unwrap_or(u64::MAX) {
        return Err(Reject::TooLarge { limit: MAX_BODY });
    }
    match tokio::time::timeout(receiver.limits().body, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok((head, body.to_bytes())),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reject::TooLarge { limit: MAX_BODY }),
        Ok(Err(_)) => Err(Reject::BrokenBody),
        Err(_) => Err(Reject::SlowBody),
    }
}
