//! Promise 8: nowhere but where the operator lets us, by no detour.

use std::process::Command;

use tokio::sync::mpsc;
use url::Url;
use waxseal_jwks::HttpGet;
use waxseal_sender::engine::egress::guard::{PlainHttp, UrlRefused};
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::engine::post::PostError;

use crate::egress::server::{Server, read_request};
use crate::egress::{loopback, open_egress};

const TAKEN: &[u8] = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn a_loopback_address_is_refused_in_every_form_and_never_connected_to() {
    let server = Server::answering(TAKEN).await;
    let egress =
        Egress::new(EgressPolicy { http: PlainHttp::AllowedRanges, ..EgressPolicy::default() }).unwrap();
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "[64:ff9b::7f00:1]", "0.0.0.0"] {
        for scheme in ["https", "http"] {
            let url = Url::parse(&format!("{scheme}://{host}:{port}/")).unwrap();
            let posted = egress.post(&url, "token").await;
            assert!(matches!(posted, Err(PostError::Refused(UrlRefused::Address(_)))), "{url}: {posted:?}");
            let fetched = egress.get(&url, 1024, std::time::Duration::from_secs(5)).await;
            assert!(fetched.is_err(), "{url}");
        }
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn an_allowed_range_is_reached_by_literal_and_by_name() {
    let server = Server::answering(TAKEN).await;
    let egress = open_egress();
    assert_eq!(egress.post(&server.url("/"), "token").await.unwrap().status, 202);
    let by_name = Url::parse(&format!("http://localhost:{}/", server.address.port())).unwrap();
    assert_eq!(egress.post(&by_name, "token").await.unwrap().status, 202);
}

#[tokio::test]
async fn plain_http_needs_more_than_an_allowed_range() {
    let server = Server::answering(TAKEN).await;
    let egress = Egress::new(EgressPolicy { http: PlainHttp::Never, ..loopback() }).unwrap();
    let posted = egress.post(&server.url("/"), "token").await;
    assert!(matches!(posted, Err(PostError::Refused(UrlRefused::PlainHttp))), "{posted:?}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let target = Server::answering(TAKEN).await;
    for status in [301, 302, 303, 307, 308] {
        let answer =
            format!("HTTP/1.1 {status} Go\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", target.url("/"));
        let server = Server::answering(answer).await;
        assert_eq!(open_egress().post(&server.url("/"), "token").await.unwrap().status, status);
    }
    assert_eq!(target.connections(), 0);
}

#[tokio::test]
async fn the_request_is_what_the_wire_format_says_and_no_more() {
    let (heard, mut requests) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let heard = heard.clone();
        async move {
            heard.send(read_request(&mut stream).await.unwrap()).unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut stream, TAKEN).await.unwrap();
        }
    })
    .await;
    open_egress().post(&server.url("/in?key=1"), "a.b.c".to_owned()).await.unwrap();
    let (head, body) = requests.recv().await.unwrap();
    assert_eq!(body, b"a.b.c");
    let mut lines: Vec<_> = head.lines().collect();
    lines.sort_unstable();
    let host = format!("host: {}", server.address);
    let agent = format!("user-agent: waxseal/{}", env!("CARGO_PKG_VERSION"));
    let mut expected = [
        "post /in?key=1 http/1.1",
        "accept: application/json",
        "content-length: 5",
        "content-type: application/secevent+jwt",
        &host,
        &agent,
    ];
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

/// Runs the test above once more in a process that has every proxy variable set.
#[test]
fn proxy_variables_of_the_environment_are_ignored() {
    // Nothing listens on the discard port: whoever obeys the variable gets no answer.
    let proxy = "http://127.0.0.1:9";
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "egress::guard::an_allowed_range_is_reached_by_literal_and_by_name"]);
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        child.env(name, proxy).env(name.to_lowercase(), proxy);
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy").env_remove("REQUEST_METHOD");
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
