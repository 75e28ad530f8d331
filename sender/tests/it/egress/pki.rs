//! Certificate authorities, and TLS servers that say which client certificates they were shown.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme};
use url::Url;
use waxseal_keys::{Clock, SystemClock};
use waxseal_sender::model::certificate::{CertificateSummary, CertificateWithKey};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // A name of its own: two that have the same one are told apart by a bad signature only.
        let key = KeyPair::generate().unwrap();
        let name = key.public_key_raw().iter().map(|byte| format!("{byte:02x}")).take(8).collect::<String>();
        params.distinguished_name.push(DnType::CommonName, name);
        Self(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn key(&self) -> &KeyPair {
        self.0.key()
    }

    /// A certificate under it for this key.
    pub(crate) fn certify(&self, params: CertificateParams, key: &KeyPair) -> CertificateDer<'static> {
        params.signed_by(key, &self.0).unwrap().der().clone()
    }

    /// A certificate for a TLS client.
    pub(crate) fn client(&self, name: &str) -> CertificateWithKey {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        CertificateWithKey::parse(&certificate.pem(), &key.serialize_pem(), SystemClock.now()).unwrap()
    }
}

/// Whom a server takes.
pub(crate) enum Clients<'a> {
    Any,
    Of(&'a Authority),
}

/// A server that takes every delivery, if the handshake succeeds.
pub(crate) struct TlsServer {
    pub(crate) key: KeyPair,
    port: u16,
    seen: Arc<Mutex<Vec<String>>>,
}

impl TlsServer {
    /// For `localhost`.
    pub(crate) async fn start(authority: &Authority, clients: Clients<'_>) -> Self {
        Self::with_extra(authority, clients, None).await
    }

    pub(crate) async fn with_extra(
        authority: &Authority,
        clients: Clients<'_>,
        extra: Option<CertificateDer<'static>>,
    ) -> Self {
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        Self::of(authority, params, clients, extra).await
    }

    pub(crate) async fn of(
        authority: &Authority,
        params: CertificateParams,
        clients: Clients<'_>,
        extra: Option<CertificateDer<'static>>,
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut chain = vec![params.signed_by(&key, &authority.0).unwrap().der().clone()];
        chain.extend(extra);
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            Clients::Any => builder.with_no_client_auth(),
            Clients::Of(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).unwrap();
                let provider = Arc::new(default_provider());
                let usual =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap();
                builder.with_client_cert_verifier(Arc::new(Recorder { usual, seen: Arc::clone(&seen) }))
            }
        };
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = builder.with_single_cert(chain, private).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(|| async { http::StatusCode::ACCEPTED });
        let config = RustlsConfig::from_config(Arc::new(config));
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        tokio::spawn(server.serve(app.into_make_service()));
        Self { key, port, seen }
    }

    pub(crate) fn url(&self) -> Url {
        Url::parse(&format!("https://localhost:{}/", self.port)).unwrap()
    }

    /// The names in the certificates that were taken, one for each session.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

/// The usual verifier, and a list of what it took.
#[derive(Debug)]
struct Recorder {
    usual: Arc<dyn ClientCertVerifier>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl ClientCertVerifier for Recorder {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.usual.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.usual.verify_client_cert(end_entity, intermediates, now)?;
        self.seen.lock().unwrap().push(CertificateSummary::of(end_entity).unwrap().subject);
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}
