//! What is read from an answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::sync::Barrier;
use waxseal_keys::Timestamp;
use waxseal_sender::engine::post::{Answer, EXCERPT_LIMIT, RetryAfter};

use crate::egress::open_egress;
use crate::egress::server::{Server, read_request};

async fn answered(status: u16, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let server =
        Server::answering(format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\n\r\n{body}"));
    open_egress().post(&server.await.url("/"), "token").await.unwrap()
}

#[tokio::test]
async fn err_is_read_from_json_answers_of_400_only() {
    const JSON: &str = "Content-Type: application/json; charset=utf-8\r\nContent-Language: en\r\n";
    let body = r#"{"err":"invalid_key","description":"no"}"#;
    assert_eq!(answered(400, JSON, body).await.err.as_deref(), Some("invalid_key"));
    assert_eq!(answered(400, "", body).await.err, None);
    assert_eq!(answered(400, "Content-Type: text/html\r\n", body).await.err, None);
    for status in [202, 401, 500] {
        assert_eq!(answered(status, JSON, body).await.err, None, "{status}");
    }
    for bad in ["", "{}", r#"{"err":7}"#, r#"{"err":"invalid_key""#, r#"["invalid_key"]"#] {
        assert_eq!(answered(400, JSON, bad).await.err, None, "{bad}");
    }
    let twice = r#"{"err":"invalid_key","err":"invalid_audience"}"#;
    assert_eq!(answered(400, JSON, twice).await.err, None, "an ambiguous answer is none");
    let long = format!(r#"{{"err":"invalid_key","description":"{}"}}"#, "a".repeat(EXCERPT_LIMIT));
    let answer = answered(400, JSON, &long).await;
    assert_eq!((answer.err, answer.excerpt.len()), (None, EXCERPT_LIMIT));
}

#[tokio::test]
async fn times_are_read_from_the_head() {
    let date = "Date: Tue, 21 Nov 2026 22:00:00 GMT\r\n";
    let headers = format!("{date}Retry-After: 120\r\n");
    let answer = answered(503, &headers, "").await;
    assert_eq!(answer.retry_after, Some(RetryAfter::In(Duration::from_secs(120))));
    // A wrong weekday is what hand-written servers send; the date itself is what counts.
    let answer = answered(503, "Date: Sat, 21 Nov 2026 22:00:00 GMT\r\n", "").await;
    assert_eq!(answer.date, Some(Timestamp::from_seconds(1_795_298_400)));
    assert_eq!(answered(503, "Date: yesterday\r\nRetry-After: soon\r\n", "").await, Answer::of_status(503));
}

#[tokio::test]
async fn a_connection_is_used_again_after_a_short_answer() {
    let egress = open_egress();
    let long = "a".repeat(10_000);
    for answer in [
        "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        "HTTP/1.1 400 No\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n{\"err\":\"unknown\"}".to_owned(),
        format!("HTTP/1.1 500 No\r\nContent-Length: 10000\r\n\r\n{long}"),
    ] {
        let server = Server::answering(answer.clone()).await;
        for _ in 0..3 {
            egress.post(&server.url("/"), "token").await.unwrap();
        }
        assert_eq!(server.connections(), 1, "{:.60}", answer);
    }
    let too_long = "a".repeat(1_000_000);
    let server =
        Server::answering(format!("HTTP/1.1 500 No\r\nContent-Length: 1000000\r\n\r\n{too_long}")).await;
    for _ in 0..2 {
        egress.post(&server.url("/"), "token").await.unwrap();
    }
    assert_eq!(server.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_endpoint_keeps_its_connections() {
    let server = Server::answering("HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await;
    let (egress, url) = (Arc::new(open_egress()), server.url("/"));
    let workers: Vec<_> = (0..64)
        .map(|_| {
            let (egress, url) = (Arc::clone(&egress), url.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    egress.post(&url, "token").await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    let connections = server.connections();
    println!("{connections} connections for 3200 deliveries");
    assert!(connections < 320, "{connections} connections for 3200 deliveries");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_are_settled_together_find_their_connections_again() {
    // Nobody is answered before all have asked, as when they share a commit: all their connections are idle at once.
    let round = Arc::new(Barrier::new(ROUND));
    let server = Server::start(move |mut stream| {
        let round = Arc::clone(&round);
        async move {
            while read_request(&mut stream).await.is_some() {
                round.wait().await;
                if stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").await.is_err() {
                    break;
                }
            }
        }
    })
    .await;
    let (egress, url) = (open_egress(), server.url("/"));
    for _ in 0..5 {
        for posted in join_all((0..ROUND).map(|_| egress.post(&url, "token"))).await {
            assert_eq!(posted.unwrap().status, 202);
        }
    }
    // A few more than needed are opened where a request comes before a connection is known to be idle.
    let connections = server.connections();
    assert!((ROUND..2 * ROUND).contains(&connections), "{connections} connections");
}

const ROUND: usize = 64;
