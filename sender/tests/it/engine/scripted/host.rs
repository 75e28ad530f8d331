//! A server that plays scripts, byte by byte, over TCP or TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PublicKeyData, date_time_ymd};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use waxseal_sender::model::server_authentication::Pin;

use super::script::{Shown, Step};
use crate::egress::pki::Authority;
use crate::egress::server::read_request;

/// Where a script is played.
pub(crate) struct Host {
    pub(crate) address: SocketAddr,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    connections: AtomicUsize,
    open: AtomicUsize,
}

/// The certificates of these tests, and the key of every server.
pub(crate) struct Certificates {
    trusted: Authority,
    other: Authority,
    key: KeyPair,
}

impl Host {
    /// Plays the first script on the first connection and so on, and the last one on all that follow.
    pub(crate) async fn start(at: &str, tls: Option<ServerConfig>, scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind(at).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::<Counts>::default();
        let (counted, acceptor) = (Arc::clone(&counts), tls.map(|tls| TlsAcceptor::from(Arc::new(tls))));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = counted.connections.fetch_add(1, Ordering::SeqCst);
                let script = scripts[number.min(scripts.len() - 1)].clone();
                let (counted, acceptor) = (Arc::clone(&counted), acceptor.clone());
                counted.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    match acceptor {
                        None => play(stream, script).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                play(stream, script).await;
                            }
                        }
                    }
                    counted.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, counts }
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// How many there are.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(Ordering::SeqCst)
    }
}

async fn play(mut stream: impl Connection, script: Vec<Step>) {
    for step in script {
        let done = match step {
            Step::Request => read_request(&mut stream).await.is_some(),
            Step::Beginning => stream.read_exact(&mut [0; 5]).await.is_ok(),
            Step::Say(bytes) => said(&mut stream, &bytes).await,
            Step::Drip(bytes) => {
                let mut all = true;
                for byte in bytes {
                    all = all && said(&mut stream, &[byte]).await;
                    if !all {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                all
            }
            Step::Flood(bytes) => {
                while said(&mut stream, &bytes).await {}
                false
            }
            Step::Silence => {
                let mut unheard = [0; 4_096];
                while stream.read(&mut unheard).await.is_ok_and(|read| read > 0) {}
                false
            }
            Step::Reset => return stream.reset(),
        };
        if !done {
            return;
        }
    }
    let _ = stream.shutdown().await;
}

async fn said(stream: &mut impl Connection, bytes: &[u8]) -> bool {
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}

trait Connection: AsyncRead + AsyncWrite + Unpin {
    /// Breaks it off.
    fn reset(self);
}

impl Connection for TcpStream {
    fn reset(self) {
        self.set_zero_linger().unwrap();
    }
}

impl Connection for TlsStream<TcpStream> {
    fn reset(self) {
        self.get_ref().0.set_zero_linger().unwrap();
    }
}

impl Certificates {
    pub(crate) fn new() -> Self {
        Self { trusted: Authority::new(), other: Authority::new(), key: KeyPair::generate().unwrap() }
    }

    /// The root that the sender trusts, PEM.
    pub(crate) fn root(&self) -> String {
        self.trusted.pem()
    }

    /// The pin of every server's key.
    pub(crate) fn pin(&self) -> Pin {
        let key = self.key.subject_public_key_info();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key);
        Pin::of_digest(digest.as_ref().try_into().unwrap())
    }

    pub(crate) fn server(&self, shown: Shown) -> ServerConfig {
        let name = if shown == Shown::OtherName { "other.example" } else { "scripted.example" };
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        match shown {
            Shown::Expired => params.not_after = date_time_ymd(2020, 1, 1),
            Shown::NotYetValid => params.not_before = date_time_ymd(2090, 1, 1),
            _ => {}
        }
        let certificate = match shown {
            Shown::SelfSigned => params.self_signed(&self.key).unwrap().der().clone(),
            Shown::OtherAuthority => self.other.certify(params, &self.key),
            _ => self.trusted.certify(params, &self.key),
        };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = if shown == Shown::AsksForOurs {
            let mut roots = RootCertStore::empty();
            roots.add(certificate.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        builder.with_single_cert(vec![certificate], key).unwrap()
    }
}
