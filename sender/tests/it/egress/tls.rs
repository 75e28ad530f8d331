//! TLS: a private authority is trusted if it is given, and a certificate is for its own host.

use std::net::TcpListener;

use axum_server::tls_rustls::RustlsConfig;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use url::Url;
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::engine::post::PostError;

use crate::egress::loopback;

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// A server for `name` that takes everything; returns its port.
    async fn serve(&self, name: &str) -> u16 {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.0).unwrap();
        let pem = (certificate.pem().into_bytes(), key.serialize_pem().into_bytes());
        let config = RustlsConfig::from_pem(pem.0, pem.1).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let app = axum::Router::new().fallback(|| async { http::StatusCode::ACCEPTED });
        let server = axum_server::from_tcp_rustls(listener, config).unwrap();
        tokio::spawn(server.serve(app.into_make_service()));
        port
    }

    fn trusted(&self) -> Egress {
        let roots = Some(self.0.pem().into_bytes());
        Egress::new(EgressPolicy { extra_roots: roots, ..loopback() }).unwrap()
    }
}

#[tokio::test]
async fn only_a_trusted_certificate_for_the_host_is_talked_to() {
    let authority = Authority::new();
    let localhost = authority.serve("localhost").await;
    let elsewhere = authority.serve("hooks.example.com").await;
    let url = |port| Url::parse(&format!("https://localhost:{port}/")).unwrap();

    assert_eq!(authority.trusted().post(&url(localhost), "token").await.unwrap().status, 202);

    let posted = authority.trusted().post(&url(elsewhere), "token").await;
    assert!(matches!(posted, Err(PostError::Tls(_))), "{posted:?}");

    let posted = Authority::new().trusted().post(&url(localhost), "token").await;
    assert!(matches!(posted, Err(PostError::Tls(_))), "{posted:?}");

    let posted = Egress::new(loopback()).unwrap().post(&url(localhost), "token").await;
    assert!(matches!(posted, Err(PostError::Tls(_))), "{posted:?}");
}
