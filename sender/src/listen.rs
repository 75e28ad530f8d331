//! Serving HTTP/1.1, with or without TLS, with a graceful end.
//!
//! Connections are counted and may not linger ([`ConnectionLimits`]). TLS is rustls with TLS 1.2 as the floor. The certificate and key files are looked at every few seconds and read
//! again when either has changed; a pair that does not load is reported and the old one stays in use.

mod room;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;

pub use self::room::ConnectionLimits;
use self::room::Room;
use crate::config::TlsConfig;

/// A bound address that is not served yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<(RustlsConfig, TlsConfig)>,
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
            Some(files) => Some((load(files).await?, files.clone())),
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
            Some((config, files)) => {
                let watching = tokio::spawn(reload_on_change(config.clone(), files));
                // A place is taken before the handshake, which has ten seconds.
                let acceptor = RustlsAcceptor::new(config).acceptor(room);
                let served = timed(server.acceptor(acceptor), &self.limits).serve(service).await;
                watching.abort();
                served
            }
        };
        ending.abort();
        served
    }
}

/// Completes when the process is asked to stop: SIGINT or SIGTERM.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupt = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! { _ = interrupt => {}, _ = terminate.recv() => {} }
        }
        Err(_) => {
            let _ = interrupt.await;
        }
    }
}

/// HTTP/1 only: where the version is found out from the first bytes, hyper waits for those without a limit.
fn timed<A>(server: Server<SocketAddr, A>, limits: &ConnectionLimits) -> Server<SocketAddr, A> {
    let mut server = server.http1_only();
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(limits.head);
    server
}

async fn load(files: &TlsConfig) -> Result<RustlsConfig, ListenError> {
    // rustls' defaults: TLS 1.2 and 1.3 only. The provider is named once, so that no other crate's choice matters.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let config = read(files).await.map_err(|source| ListenError::Certificate {
        cert: files.cert.display().to_string(),
        key: files.key.display().to_string(),
        source,
    })?;
    Ok(RustlsConfig::from_config(config))
}

/// The certificate and the key, for the one protocol that is spoken here.
async fn read(files: &TlsConfig) -> io::Result<Arc<ServerConfig>> {
    let read = RustlsConfig::from_pem_file(&files.cert, &files.key).await?;
    let mut config = ServerConfig::clone(&read.get_inner());
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn reload_on_change(config: RustlsConfig, files: TlsConfig) {
    let mut seen = (modified(&files.cert), modified(&files.key));
    loop {
        tokio::time::sleep(WATCH).await;
        let now = (modified(&files.cert), modified(&files.key));
        if now == seen {
            continue;
        }
        match read(&files).await {
            Ok(read) => {
                config.reload_from_config(read);
                tracing::info!(cert = %files.cert.display(), "the TLS certificate was read again");
            }
            Err(error) => {
                tracing::error!(cert = %files.cert.display(), %error, "the TLS certificate changed but does not load; the old one stays in use");
            }
        }
        seen = now;
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

/// How long requests under way may take when the server stops.
const GRACE: Duration = Duration::from_secs(10);

/// How often the certificate files are looked at.
const WATCH: Duration = Duration::from_secs(2);
