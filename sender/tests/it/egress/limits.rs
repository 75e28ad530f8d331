//! What a hostile or a broken server can do to us: little, and not for long.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;
use url::Url;
use waxseal_jwks::{FetchError, HttpGet};
use waxseal_sender::engine::egress::{Egress, EgressPolicy};
use waxseal_sender::engine::post::{EXCERPT_LIMIT, PostError};

use crate::egress::server::{Server, read_request};
use crate::egress::{loopback, open_egress};

fn hasty() -> Egress {
    let limit = Duration::from_millis(300);
    Egress::new(EgressPolicy { connect_timeout: limit, total_timeout: limit, ..loopback() }).unwrap()
}

#[tokio::test]
async fn an_endless_head_is_cut() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\n").await;
        for number in 0_u64.. {
            if stream.write_all(format!("x-{number}: {}\r\n", "a".repeat(1_000)).as_bytes()).await.is_err() {
                break;
            }
        }
    })
    .await;
    let posted = open_egress().post(&server.url("/"), "token").await;
    assert!(matches!(posted, Err(PostError::Protocol(_))), "{posted:?}");
}

#[tokio::test]
async fn an_endless_body_costs_its_sender_the_connection() {
    let (gone, mut closed) = mpsc::unbounded_channel();
    let server = Server::start(move |mut stream| {
        let gone = gone.clone();
        async move {
            read_request(&mut stream).await;
            let _ = stream.write_all(b"HTTP/1.1 500 Oops\r\n\r\n").await;
            while stream.write_all(&[b'a'; 1_000]).await.is_ok() {}
            gone.send(()).unwrap();
        }
    })
    .await;
    let answer = open_egress().post(&server.url("/"), "token").await.unwrap();
    assert_eq!((answer.status, answer.excerpt), (500, vec![b'a'; EXCERPT_LIMIT]));
    closed.recv().await.unwrap();
}

#[tokio::test]
async fn a_status_is_an_answer_whatever_becomes_of_the_body() {
    for promise in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let server = Server::answering(format!("HTTP/1.1 202 Accepted\r\n{promise}\r\n\r\n5\r\nabc")).await;
        let answer = hasty().post(&server.url("/"), "token").await.unwrap();
        assert_eq!(answer.status, 202);
    }
}

#[tokio::test]
async fn silence_ends_with_the_time_limit() {
    let silent =
        Server::start(|mut stream| async move { while read_request(&mut stream).await.is_some() {} }).await;
    let posted = hasty().post(&silent.url("/"), "token").await;
    assert!(matches!(posted, Err(PostError::Timeout)), "{posted:?}");
    let fetched = hasty().get(&silent.url("/"), 1024, Duration::from_secs(60)).await;
    assert!(matches!(fetched, Err(FetchError::Timeout)), "{fetched:?}");
    // A TLS handshake that never begins counts as connecting.
    let tls = Url::parse(&format!("https://{}/", silent.address)).unwrap();
    let posted = hasty().post(&tls, "token").await;
    assert!(matches!(posted, Err(PostError::Timeout)), "{posted:?}");
}

#[tokio::test]
async fn a_head_in_drips_ends_with_the_time_limit() {
    let server = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
        for byte in b"HTTP/1.1 202 Accepted\r\n".iter().cycle() {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    })
    .await;
    let posted = hasty().post(&server.url("/"), "token").await;
    assert!(matches!(posted, Err(PostError::Timeout)), "{posted:?}");
}

#[tokio::test]
async fn a_compressed_body_stays_compressed() {
    let bomb = b"\x1f\x8b\x08\x00 not even valid";
    let mut bytes = format!(
        "HTTP/1.1 400 No\r\nContent-Encoding: gzip\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        bomb.len()
    )
    .into_bytes();
    bytes.extend_from_slice(bomb);
    let server = Server::answering(bytes).await;
    let answer = open_egress().post(&server.url("/"), "token").await.unwrap();
    assert_eq!((answer.excerpt.as_slice(), answer.err), (&bomb[..], None));
}

#[tokio::test]
async fn what_is_not_http_is_told_from_what_does_not_answer() {
    let egress = open_egress();
    for nonsense in ["SSH-2.0-OpenSSH_9.6\r\n\r\n", "HTTP/1.1 2x2 Accepted\r\n\r\n", "\0\0\0\0"] {
        let server = Server::answering(nonsense).await;
        let posted = egress.post(&server.url("/"), "token").await;
        assert!(matches!(posted, Err(PostError::Protocol(_))), "{nonsense:?}: {posted:?}");
    }
    let closes = Server::start(|mut stream| async move {
        read_request(&mut stream).await;
    })
    .await;
    assert!(matches!(egress.post(&closes.url("/"), "token").await, Err(PostError::Protocol(_))));

    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let url = Url::parse(&format!("http://{nobody}/")).unwrap();
    assert!(matches!(egress.post(&url, "token").await, Err(PostError::Connect(_))));

    // No name server is asked for a label of more than 63 characters.
    let url = Url::parse(&format!("http://{}.example/", "a".repeat(64))).unwrap();
    let posted = egress.post(&url, "token").await;
    assert!(matches!(posted, Err(PostError::Resolve(_))), "{posted:?}");
}

#[tokio::test]
async fn a_fetched_body_is_bounded() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nCache-Control: max-age=90\r\n";
    let server = Server::answering(format!("{answer}Content-Length: 5\r\n\r\nhello")).await;
    let (egress, url, limit) = (open_egress(), server.url("/jwks.json"), Duration::from_secs(5));
    let response = egress.get(&url, 5, limit).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (200, &b"hello"[..]));
    assert_eq!(response.content_type.as_deref(), Some("application/jwk-set+json"));
    assert_eq!(response.max_age, Some(Duration::from_secs(90)));
    assert!(matches!(egress.get(&url, 4, limit).await, Err(FetchError::TooLarge { limit: 4 })));
}
