//! [`Intake`]: the service that senders talk to. It stores before it answers.

use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower_service::Service;

use super::Inbox;
use crate::{
    Answer, Begin, GuardError, Received, Receiver, Reject, metric,
    request::{BoxError, read, slot},
    tower::Answering,
};

/// A service for any server: `Router::route_service` of axum, or hyper. It answers as
/// [`axum::webhook`](crate::axum::webhook) does; `202` once the event is on disk. Data that does not fit `T` is `400
/// invalid_request`, so that the sender learns of it while there is somebody to tell.
pub struct Intake<T> {
    receiver: Receiver,
    inbox: Inbox<T>,
}

impl<T> Intake<T> {
    pub(super) fn new(receiver: Receiver, inbox: Inbox<T>) -> Self {
        Self { receiver, inbox }
    }

    /// The receiver, to publish its encryption keys.
    ///
    /// ```
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, Protection, Receiver, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// let builder = Receiver::builder().audience("acme");
    /// let intake = inbox.intake(builder.issuer("https://hooks.example.com", Protection::Signed)).unwrap();
    /// assert!(intake.receiver().encryption_keys().keys().is_empty());
    /// ```
    pub fn receiver(&self) -> &Receiver {
        &self.receiver
    }
}

impl<T: DeserializeOwned + Send + 'static> Intake<T> {
    async fn take<B>(&self, request: Request<B>) -> Result<Answer, Reject>
    where
        B: Body,
        B::Error: Into<BoxError>,
    {
        let _slot = slot(&self.receiver)?;
        let (_, body) = read(&self.receiver, request).await?;
        let opened = self.receiver.open(&body).await?;
        if let Some(state) = opened.verification() {
            metric::event("verified");
            return Ok(Answer::Verified { state: state.to_owned() });
        }
        let event = Received::<T>::new(opened.event)?.event;
        let keeping = self.inbox.keep(self.receiver.replay_key(&event), &event);
        // What waits in the database's queue is stored even if nobody waits for it: the next attempt finds it done.
        let kept = tokio::time::timeout(self.receiver.limits().handler, keeping).await;
        match kept.map_err(|_| Reject::HandlerSlow)?.map_err(GuardError::from)? {
            None => metric::event("taken"),
            Some(Begin::InProgress { retry_after }) => return Err(Reject::InProgress { retry_after }),
            Some(Begin::Done | Begin::New(_)) => metric::event("repeated"),
        }
        Ok(Answer::Taken)
    }
}

impl<T, B> Service<Request<B>> for Intake<T>
where
    T: DeserializeOwned + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let this = self.clone();
        Box::pin(async move {
            let answer = this.take(request).await.unwrap_or_else(|reject| {
                this.receiver.refused(&reject);
                reject.answer()
            });
            Ok(answer.into_http().map(Full::new))
        })
    }
}

impl<T> Clone for Intake<T> {
    fn clone(&self) -> Self {
        Self { receiver: self.receiver.clone(), inbox: self.inbox.clone() }
    }
}

impl<T> fmt::Debug for Intake<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake").field("receiver", &self.receiver).finish_non_exhaustive()
    }
}
