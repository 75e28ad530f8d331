//! Serving HTTP/1.1, with or without TLS, with a graceful end.
//!
//! Connections are counted and may not linger ([`ConnectionLimits`]). TLS is rustls with TLS 1.2 as the floor. The certificate and key files are looked at every few seconds and read
//! again when either has changed; a pair that does not load is reported, and the old one stays in use until it does.

mod certificate;
mod room;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::RustlsAcceptor;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::signal::unix::{SignalKind, signal};

use self::certificate::Certificate;
pub use self::room::ConnectionLimits;
use self::room::Room;
use crate::config::TlsConfig;

/// A bound address that is not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Certificate>,
    limits: ConnectionLimits,
}

/// Why an address cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is not to be had.
    #[error("cannot listen on {address}: {source}")]
    Address {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate and key do not load.
    #[error("cannot use the TLS certificate {cert} with the key {key}: {source}")]
    Certificate {
        /// The certificate's file.
        cert: String,
        /// The key's file.
        key: String,
        /// Why.
        source: io::Error,
    },
}

impl Listener {
    /// Binds, and loads the certificate if there is one.
    ///
    /// # Errors
    /// If the address is taken or not ours, or the certificate and key do not load.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<&TlsConfig>,
        limits: ConnectionLimits,
    ) -> Result<Self, ListenError> {
        let tls = match tls {
            Some(files) => Some(load(files).await?),
            None => None,
        };
        let bound = TcpListener::bind(address).and_then(|socket| {
            socket.set_nonblocking(true)?;
            limits.apply(&socket)?;
            Ok((socket.local_addr()?, socket))
        });
        let (address, socket) = bound.map_err(|source| ListenError::Address { address, source })?;
        Ok(Self { socket, address, tls, limits })
    }

    /// The address that was bound: with the port, where the system chose it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` completes; then requests under way may finish within ten seconds.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn serve(
        self,
        router: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let handle = Handle::new();
        let stopping = handle.clone();
        let ending = tokio::spawn(async move {
            stop.await;
            stopping.graceful_shutdown(Some(GRACE));
        });
        let service = router.into_make_service();
        let room = Room::new(self.limits.open);
        let server = axum_server::from_tcp(self.socket)?.handle(handle);
        let served = match self.tls {
            None => timed(server.acceptor(room), &self.limits).serve(service).await,
            Some(certificate) => {
                // A place is taken before the handshake, which has ten seconds.
                let acceptor = RustlsAcceptor::new(certificate.served()).acceptor(room);
                let watching = tokio::spawn(certificate.keep_renewed());
                let served = timed(server.acceptor(acceptor), &self.limits).serve(service).await;
                watching.abort();
                served
            }
        };
        ending.abort();
        served
    }
}

/// Whether a certificate and its key can be served with.
///
/// # Errors
/// If they do not load, or do not belong together.
pub async fn check(files: &TlsConfig) -> Result<(), ListenError> {
    load(files).await.map(drop)
}

/// Completes when the process is asked to stop, by SIGINT or SIGTERM, from the moment on at which this is called:
/// whoever reads that we serve may stop us at once.
pub fn stop_signal() -> impl Future<Output = ()> + Send {
    let asked = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async {
        let [interrupt, terminate] = asked.map(async |asked| match asked {
            Ok(mut asked) => drop(asked.recv().await),
            // Then the process ends as it does without a handler.
            Err(_) => std::future::pending().await,
        });
        tokio::select! { () = interrupt => {}, () = terminate => {} }
    }
}

/// HTTP/1 only: where the version is found out from the first bytes, hyper waits for those without a limit.
fn timed<A>(server: Server<SocketAddr, A>, limits: &ConnectionLimits) -> Server<SocketAddr, A> {
    let mut server = server.http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    server
}

async fn load(files: &TlsConfig) -> Result<Certificate, ListenError> {
    Certificate::load(files).await.map_err(|source| ListenError::Certificate {
        cert: files.cert.display().to_string(),
        key: files.key.display().to_string(),
        source,
    })
}

/// How long requests under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(10);
