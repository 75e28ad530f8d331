//! TLS sessions that are an endpoint's own: private roots, pins, client certificates; and that nobody else gets them.

use rcgen::{CertificateParams, KeyPair, PublicKeyData, date_time_ymd};
use url::Url;
use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_sender::engine::egress::guard::{PlainHttp, UrlRefused};
use waxseal_sender::engine::egress::{Access, Egress, EgressPolicy};
use waxseal_sender::engine::post::{Answer, PostError};
use waxseal_sender::model::certificate::{CertificateWithKey, TrustedCertificates};
use waxseal_sender::model::server_authentication::{Pin, ServerAuthentication};

use crate::egress::loopback;
use crate::egress::pki::{Authority, Clients, TlsServer};
use crate::egress::server::Server;

fn now() -> Timestamp {
    SystemClock.now()
}

fn trusting(authority: &Authority) -> ServerAuthentication {
    let ca_certificates = Some(TrustedCertificates::parse(&authority.pem(), now()).unwrap());
    ServerAuthentication { ca_certificates, pins: Vec::new() }
}

fn pin(key: &impl PublicKeyData) -> Pin {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &key.subject_public_key_info());
    Pin::of_digest(digest.as_ref().try_into().unwrap())
}

fn spare() -> Pin {
    pin(&KeyPair::generate().unwrap())
}

async fn post(
    egress: &Egress,
    server: &TlsServer,
    shown: Option<&CertificateWithKey>,
    asked: Option<&ServerAuthentication>,
) -> Result<Answer, PostError> {
    let mut access = Access::default();
    access.own_session(egress, shown, asked).unwrap();
    egress.post_with(&server.url(), "token", Some(&access)).await
}

fn code(posted: Result<Answer, PostError>) -> String {
    match posted {
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.code().to_owned(),
    }
}

#[tokio::test]
async fn a_private_root_takes_the_place_of_all_others() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let at_ours = TlsServer::start(&ours, Clients::Any).await;
    let at_theirs = TlsServer::start(&theirs, Clients::Any).await;
    // The operator trusts `ours` for everybody.
    let roots = Some(ours.pem().into_bytes());
    let egress = Egress::new(EgressPolicy { extra_roots: roots, ..loopback() }).unwrap();
    let private = trusting(&theirs);
    assert_eq!(code(post(&egress, &at_theirs, None, Some(&private)).await), "202");
    assert_eq!(code(post(&egress, &at_ours, None, Some(&private)).await), "post.tls_unknown_issuer");
    assert_eq!(code(egress.post(&at_ours.url(), "token").await), "202");
    assert_eq!(code(egress.post(&at_theirs.url(), "token").await), "post.tls_unknown_issuer");
}

#[tokio::test]
async fn pins_are_looked_for_in_the_validated_chain_and_nowhere_else() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority, Clients::Any).await;
    let egress = Egress::new(loopback()).unwrap();
    let asked = |pins: &[Pin]| ServerAuthentication { pins: pins.to_vec(), ..trusting(&authority) };
    let leaf = pin(&server.key);
    let root = pin(authority.key());
    for (pins, expected) in
        [([leaf, spare()], "202"), ([spare(), root], "202"), ([spare(), spare()], "post.tls_pin")]
    {
        assert_eq!(code(post(&egress, &server, None, Some(&asked(&pins))).await), expected, "{pins:?}");
    }
    // A pin makes nothing valid that was not.
    let stranger = TlsServer::start(&Authority::new(), Clients::Any).await;
    let pins = [pin(&stranger.key), spare()];
    assert_eq!(code(post(&egress, &stranger, None, Some(&asked(&pins))).await), "post.tls_unknown_issuer");
    // A certificate that is sent along proves nothing: anybody can send it.
    let pinned = KeyPair::generate().unwrap();
    let beside = CertificateParams::new(Vec::new()).unwrap().self_signed(&pinned).unwrap();
    let decorated = TlsServer::with_extra(&authority, Clients::Any, Some(beside.der().clone())).await;
    let pins = [pin(&pinned), spare()];
    assert_eq!(code(post(&egress, &decorated, None, Some(&asked(&pins))).await), "post.tls_pin");
    assert_eq!(code(post(&egress, &decorated, None, Some(&asked(&[root, spare()]))).await), "202");
}

#[tokio::test]
async fn pins_work_under_the_systems_and_the_operators_roots_too() {
    let authority = Authority::new();
    let server = TlsServer::start(&authority, Clients::Any).await;
    let roots = Some(authority.pem().into_bytes());
    let egress = Egress::new(EgressPolicy { extra_roots: roots, ..loopback() }).unwrap();
    let asked = |pins: &[Pin]| ServerAuthentication { pins: pins.to_vec(), ca_certificates: None };
    assert_eq!(code(post(&egress, &server, None, Some(&asked(&[pin(&server.key), spare()]))).await), "202");
    assert_eq!(code(post(&egress, &server, None, Some(&asked(&[spare(), spare()]))).await), "post.tls_pin");
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_has_a_code() {
    let authority = Authority::new();
    let egress = Egress::new(loopback()).unwrap();
    let asked = trusting(&authority);
    let year = |from, until| (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    for (name, (from, until), expected) in [
        ("localhost", year(2020, 2090), "202"),
        ("localhost", year(2010, 2015), "post.tls_expired"),
        ("localhost", year(2080, 2090), "post.tls_not_yet_valid"),
        ("hooks.example.com", year(2020, 2090), "post.tls_name"),
    ] {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        (params.not_before, params.not_after) = (from, until);
        let server = TlsServer::of(&authority, params, Clients::Any, None).await;
        assert_eq!(code(post(&egress, &server, None, Some(&asked)).await), expected);
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_whoever_asks_for_it() {
    let authority = Authority::new();
    let clients = Authority::new();
    let server = TlsServer::start(&authority, Clients::Of(&clients)).await;
    let egress = Egress::new(loopback()).unwrap();
    let asked = trusting(&authority);
    let right = clients.client("right");
    assert_eq!(code(post(&egress, &server, Some(&right), Some(&asked)).await), "202");
    assert_eq!(server.seen(), ["right"]);
    assert_eq!(code(post(&egress, &server, None, Some(&asked)).await), "post.tls_client_certificate");
    let wrong = Authority::new().client("wrong");
    assert_eq!(code(post(&egress, &server, Some(&wrong), Some(&asked)).await), "post.tls_client_certificate");
    assert_eq!(server.seen(), ["right"]);
}

/// Connections are kept and used again, but only for the same certificate and the same demands.
#[tokio::test]
async fn no_endpoint_gets_a_session_of_another() {
    let authority = Authority::new();
    let clients = Authority::new();
    let server = TlsServer::start(&authority, Clients::Of(&clients)).await;
    let roots = Some(authority.pem().into_bytes());
    let egress = Egress::new(EgressPolicy { extra_roots: roots, ..loopback() }).unwrap();
    let (a, b) = (clients.client("a"), clients.client("b"));
    let pinned =
        ServerAuthentication { pins: vec![pin(&server.key), spare()], ..ServerAuthentication::default() };
    for (shown, asked) in
        [(&a, None), (&b, None), (&a, None), (&a, Some(&pinned)), (&b, None), (&a, Some(&pinned))]
    {
        assert_eq!(code(post(&egress, &server, Some(shown), asked).await), "202");
    }
    assert_eq!(server.seen(), ["a", "b", "a"], "one session each for a, for b, and for a with pins");
    assert_eq!(code(egress.post(&server.url(), "token").await), "post.tls_client_certificate");
}

#[tokio::test]
async fn what_needs_tls_is_not_sent_without_it() {
    let server = Server::answering("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    let egress = Egress::new(EgressPolicy { http: PlainHttp::AllowedRanges, ..loopback() }).unwrap();
    let mut access = Access::default();
    access.own_session(&egress, Some(&Authority::new().client("a")), None).unwrap();
    let url: Url = server.url("/");
    let posted = egress.post_with(&url, "token", Some(&access)).await;
    assert!(matches!(posted, Err(PostError::Refused(UrlRefused::PlainHttp))), "{posted:?}");
    assert_eq!(server.connections(), 0);
}
