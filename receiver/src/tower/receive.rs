//! [`ReceiveLayer`]: one request to the service inside for each new event.

use std::{
    convert::Infallible,
    fmt,
    future::{Future, poll_fn},
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    request::Parts,
};
use http_body::Body;
use http_body_util::Full;
use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_service::Service;
use waxseal_envelope::{Data, Event};

use crate::{
    Received, Receiver, Reject,
    request::{BoxError, answer},
};

/// Puts a [`Receiver`] in front of a service.
///
/// For each new event the service gets a request with an `Arc<Received<T>>` among its extensions, and with the event's
/// data as its body: JSON as `application/json`, other data with its own content type. URI and headers are the
/// sender's. A `2xx` commits the event: the sender is answered `202`, and the event is never given again. Any other
/// status, an error or a panic aborts: `503`, and the next attempt comes through. Of the response nothing but its
/// status counts. Data that does not fit `T` is `400 invalid_request`.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
/// # #[tokio::main]
/// # async fn main() {
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
/// use waxseal_receiver::{Received, tower::ReceiveLayer};
///
/// #[derive(serde::Deserialize)]
/// struct Order {
///     order: String,
/// }
///
/// # let sender = Sender::new("https://hooks.example.com");
/// # let receiver = sender.receiver();
/// let service = ServiceBuilder::new().layer(ReceiveLayer::<Order>::new(receiver)).service(service_fn(
///     |request: Request<Full<bytes::Bytes>>| async move {
///         let received = request.extensions().get::<Arc<Received<Order>>>().unwrap();
///         println!("{} is order {}", received.event.id, received.data.order);
///         Ok::<_, std::io::Error>(Response::new(()))
///     },
/// ));
/// # let body = Full::<bytes::Bytes>::from(sender.signed("acme", "evt_1"));
/// let request = Request::post("/hooks/orders").header("Content-Type", "application/secevent+jwt");
/// let response = service.oneshot(request.body(body).unwrap()).await.unwrap();
/// assert_eq!(response.status(), 202);
/// # }
/// ```
pub struct ReceiveLayer<T> {
    receiver: Receiver,
    data: PhantomData<fn() -> T>,
}

impl<T> ReceiveLayer<T> {
    /// A layer that takes what `receiver` takes.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
    /// # fn main() {
    /// # let receiver = Sender::new("https://hooks.example.com").receiver();
    /// use waxseal_receiver::tower::ReceiveLayer;
    ///
    /// let layer = ReceiveLayer::<serde_json::Value>::new(receiver);
    /// # }
    /// ```
    pub fn new(receiver: Receiver) -> Self {
        Self { receiver, data: PhantomData }
    }
}

impl<S, T> Layer<S> for ReceiveLayer<T> {
    type Service = Receive<S, T>;

    fn layer(&self, inner: S) -> Receive<S, T> {
        Receive { inner, layer: self.clone() }
    }
}

impl<T> Clone for ReceiveLayer<T> {
    fn clone(&self) -> Self {
        Self::new(self.receiver.clone())
    }
}

impl<T> fmt::Debug for ReceiveLayer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceiveLayer").field("receiver", &self.receiver).finish()
    }
}

/// What [`ReceiveLayer`] makes of a service. It never fails and is always ready: whether the service inside is ready
/// is asked for each event, within the time of the handler. Bound the number of requests with
/// [`max_concurrent`](crate::ReceiverBuilder::max_concurrent).
#[derive(Debug)]
pub struct Receive<S, T> {
    inner: S,
    layer: ReceiveLayer<T>,
}

impl<S: Clone, T> Clone for Receive<S, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

/// The pending answer of a [`Receive`].
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

impl<S, T, B, R> Service<Request<B>> for Receive<S, T>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    R: 'static,
    T: DeserializeOwned + Send + Sync + 'static,
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
        let (receiver, inner) = (self.layer.receiver.clone(), self.inner.clone());
        Box::pin(async move {
            let run = move |event, head| {
                let received = Received::<T>::new(event)?;
                Ok(forward(inner, request_of(received, head)))
            };
            Ok(answer(&receiver, request, run).await.into_http().map(Full::new))
        })
    }
}

async fn forward<S, R>(mut inner: S, request: Request<Full<Bytes>>) -> Result<(), Reject>
where
    S: Service<Request<Full<Bytes>>, Response = Response<R>>,
    S::Error: Into<BoxError>,
{
    let responding = match poll_fn(|context| inner.poll_ready(context)).await {
        Ok(()) => inner.call(request),
        Err(error) => return Err(failed(&error.into())),
    };
    match responding.await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => Err(failed(&response.status())),
        Err(error) => Err(failed(&error.into())),
    }
}

/// The reason is for the log, at debug level: the sender never sees it.
fn failed(reason: &impl fmt::Display) -> Reject {
    tracing::debug!(code = Reject::HandlerFailed.code(), "{reason}");
    Reject::HandlerFailed
}

/// The sender's request, with the event in the place of the token.
fn request_of<T: Send + Sync + 'static>(received: Received<T>, mut head: Parts) -> Request<Full<Bytes>> {
    let (content_type, data) = data_of(&received.event);
    for told_of_the_token in [CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING] {
        head.headers.remove(told_of_the_token);
    }
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(data.len()));
    match content_type {
        Some(content_type) => head.headers.insert(CONTENT_TYPE, content_type),
        None => head.headers.remove(CONTENT_TYPE),
    };
    head.extensions.insert(Arc::new(received));
    Request::from_parts(head, Full::new(data))
}

fn data_of(event: &Event) -> (Option<HeaderValue>, Bytes) {
    match &event.data {
        Data::Json(json) => {
            let json = Bytes::copy_from_slice(json.get().as_bytes());
            (Some(HeaderValue::from_static("application/json")), json)
        }
        Data::Binary { content_type, bytes } => {
            (HeaderValue::from_str(content_type).ok(), Bytes::copy_from_slice(bytes))
        }
    }
}
