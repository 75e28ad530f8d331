//! How many connections are open at once, and for how long one may keep us waiting.
//!
//! Anybody who reaches the port can open connections, without a token. Guarantees that they cannot take the descriptors
//! that accepting, delivering and the store need: a connection beyond the limit is closed at once, one that does not
//! send the head of a request in time is closed, too, whether it has sent half of one or nothing, and so is one that
//! does not read its answers. The API itself bounds how long a request may take.

use std::future::{Ready, ready};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

/// What connections may take.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Open at once.
    pub open: usize,
    /// From the opening of a connection, or the end of an answer, to the end of the next request's head. An idle
    /// connection is closed after this time.
    pub head: Duration,
    /// How long an answer may wait to be read. Only Linux can be told.
    pub unread: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self { open: 1_024, head: Duration::from_secs(10), unread: Duration::from_secs(30) }
    }
}

impl ConnectionLimits {
    /// Has the system give up connections whose other side takes nothing more. What is accepted inherits it.
    #[cfg(target_os = "linux")]
    pub(super) fn apply(&self, socket: &TcpListener) -> io::Result<()> {
        let millis = u32::try_from(self.unread.as_millis()).unwrap_or(u32::MAX);
        Ok(rustix::net::sockopt::set_tcp_user_timeout(socket, millis)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn apply(&self, _: &TcpListener) -> io::Result<()> {
        Ok(())
    }
}

/// Lets connections in while there is room.
#[derive(Clone, Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// Whether it was full when somebody last came, so that the log says it once.
    full: Arc<AtomicBool>,
}

impl Room {
    pub(super) fn new(open: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(open)), full: Arc::default() }
    }

    fn enter(&self) -> io::Result<OwnedSemaphorePermit> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                self.full.store(false, Ordering::Relaxed);
                Ok(place)
            }
            Err(_) => {
                metrics::counter!("waxseal_connections_refused_total").increment(1);
                if !self.full.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "there are as many connections as max_connections allows; others are closed"
                    );
                }
                Err(io::ErrorKind::ConnectionRefused.into())
            }
        }
    }
}

impl<I, S> Accept<I, S> for Room {
    type Stream = I;
    type Service = Seated<S>;
    type Future = Ready<io::Result<(I, Seated<S>)>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        ready(self.enter().map(|place| (stream, Seated { service, _place: Arc::new(place) })))
    }
}

/// A connection's service, which lasts as long as the connection, and its place.
#[derive(Clone, Debug)]
pub(super) struct Seated<S> {
    service: S,
    _place: Arc<OwnedSemaphorePermit>,
}

impl<R, S: Service<R>> Service<R> for Seated<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.service.call(request)
    }
}
