//! [`RateLimitLayer`]: how often one peer may ask.
//!
//! Relies on the [budgets](super::budget). Guarantees that a request over the limit is answered before anything else
//! is done with it, and that no header is believed unless the partner says whose.

use std::{
    fmt,
    future::{Future, ready},
    net::IpAddr,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use governor::{Quota, clock::MonotonicClock};
use http::{HeaderMap, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    budget::{Budgets, CAPACITY},
    peer::{Network, Peer},
};
use crate::{Reject, metric};

/// Answers `429` with `Retry-After` to a peer that asks more often than it may. Put it outside of everything else.
///
/// A peer is the address at the other end of the connection, for IPv6 its first 64 bits. The server must tell it:
/// with axum by `into_make_service_with_connect_info::<SocketAddr>()`, otherwise with a [`Peer`] in the extensions of
/// each request. All whose address is not told share one budget. No header is read: behind a proxy all
/// senders are one peer, until [`behind_proxy`](Self::behind_proxy) says otherwise. What a peer may do is kept in this
/// process alone, for 65,536 peers; while more than that ask, the newcomers share one budget.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/mod.rs"));
/// # #[tokio::main]
/// # async fn main() {
/// use std::{net::SocketAddr, num::NonZeroU32};
/// use axum::{Router, routing::post};
/// use waxseal_receiver::tower::RateLimitLayer;
///
/// let limit = RateLimitLayer::per_second(NonZeroU32::new(50).unwrap());
/// let app = Router::new().route("/hooks/orders", post(|| async {})).layer(limit);
/// let service = app.into_make_service_with_connect_info::<SocketAddr>();
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitLayer {
    quota: Quota,
    budgets: Arc<Budgets>,
    proxy: Option<Arc<PeerBehind>>,
    warned: Arc<AtomicBool>,
}

type PeerBehind = dyn Fn(IpAddr, &HeaderMap) -> Option<IpAddr> + Send + Sync;

impl RateLimitLayer {
    /// At most `requests` in a second from each peer, evenly or at once.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use waxseal_receiver::tower::RateLimitLayer;
    ///
    /// let limit = RateLimitLayer::per_second(NonZeroU32::new(50).unwrap());
    /// ```
    pub fn per_second(requests: NonZeroU32) -> Self {
        Self::new(Quota::per_second(requests))
    }

    /// At most `requests` in a minute from each peer, evenly or at once.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use waxseal_receiver::tower::RateLimitLayer;
    ///
    /// let limit = RateLimitLayer::per_minute(NonZeroU32::new(300).unwrap());
    /// ```
    pub fn per_minute(requests: NonZeroU32) -> Self {
        Self::new(Quota::per_minute(requests))
    }

    /// How many requests may come at once, if that is not as many as in the whole time.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use waxseal_receiver::tower::RateLimitLayer;
    ///
    /// let limit = RateLimitLayer::per_second(NonZeroU32::new(50).unwrap());
    /// let limit = limit.burst(NonZeroU32::new(200).unwrap());
    /// ```
    #[must_use]
    pub fn burst(self, requests: NonZeroU32) -> Self {
        Self { proxy: self.proxy, ..Self::new(self.quota.allow_burst(requests)) }
    }

    /// Says who asks when the connection comes from a proxy of one's own: `peer` gets the address of the connection
    /// and the headers, and gives the address behind it, or none if the connection is not the proxy's. Read
    /// only what the proxy itself sets and whoever asks cannot: anybody can send `X-Forwarded-For`.
    ///
    /// ```
    /// use std::{net::IpAddr, num::NonZeroU32};
    /// use waxseal_receiver::tower::RateLimitLayer;
    ///
    /// let proxy: IpAddr = "10.0.0.2".parse().unwrap();
    /// let limit = RateLimitLayer::per_second(NonZeroU32::new(50).unwrap());
    /// let limit = limit.behind_proxy(move |connection, headers| {
    ///     let real = headers.get("x-real-ip").filter(|_| connection == proxy)?;
    ///     real.to_str().ok()?.parse().ok()
    /// });
    /// ```
    #[must_use]
    pub fn behind_proxy(
        self,
        peer: impl Fn(IpAddr, &HeaderMap) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        Self { proxy: Some(Arc::new(peer)), ..self }
    }

    fn new(quota: Quota) -> Self {
        let budgets = Arc::new(Budgets::new(quota, CAPACITY, MonotonicClock));
        Self { quota, budgets, proxy: None, warned: Arc::default() }
    }

    fn check<B>(&self, request: &Request<B>) -> Result<(), Reject> {
        let network = match Peer::of(request.extensions()) {
            Some(connection) => {
                let behind = self.proxy.as_ref().and_then(|peer| peer(connection.0, request.headers()));
                behind.map_or(connection, Peer).network()
            }
            None => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "the server does not tell who asks: the rate limit holds for all together"
                    );
                }
                Network::Unknown
            }
        };
        self.budgets.take(network).map_err(|retry_after| Reject::RateLimited { retry_after })
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, layer: self.clone() }
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("quota", &self.quota).finish_non_exhaustive()
    }
}

/// What [`RateLimitLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct RateLimit<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S, B, R> Service<Request<B>> for RateLimit<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    R: From<Bytes> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.layer.check(&request) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(reject) => {
                tracing::debug!(code = reject.code(), "{reject}");
                metric::refused(&reject);
                Box::pin(ready(Ok(reject.answer().into_http().map(R::from))))
            }
        }
    }
}
