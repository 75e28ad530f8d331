//! Whoever reaches the port without a token cannot keep others away from it for long.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use waxseal_sender::listen::{ConnectionLimits, Listener};

/// Long enough for anything that must happen.
const PATIENCE: Duration = Duration::from_secs(20);
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n";

async fn serve(limits: ConnectionLimits, router: Router) -> SocketAddr {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), None, limits).await.unwrap();
    let address = listener.address();
    tokio::spawn(listener.serve(router, std::future::pending()));
    address
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

fn hasty() -> ConnectionLimits {
    ConnectionLimits { head: Duration::from_millis(200), ..ConnectionLimits::default() }
}

/// What comes until the other side closes; fails if it never does.
async fn rest(stream: &mut TcpStream) -> String {
    let mut rest = Vec::new();
    // A reset is an end like any other.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the connection is closed");
    String::from_utf8(rest).unwrap()
}

#[tokio::test]
async fn a_connection_that_sends_no_head_is_closed() {
    let address = serve(hasty(), hello()).await;
    for sent in ["", "G", "PRI * HTTP/2", "GET / HTTP/1.1\r\nHost: he"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{sent:?}: {answer}");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let address = serve(hasty(), hello()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    assert!(rest(&mut stream).await.contains("hello"));
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_and_those_within_it_served() {
    let limits = ConnectionLimits { open: 2, ..ConnectionLimits::default() };
    let address = serve(limits, hello()).await;
    let mut seated = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        seated.push(stream);
    }
    let mut third = TcpStream::connect(address).await.unwrap();
    assert_eq!(rest(&mut third).await, "");

    drop(seated.pop());
    let next = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await;
            if rest(&mut stream).await.contains("hello") {
                break;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("a place that was left is taken again");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_does_not_read_his_answers_loses_the_connection() {
    let limits =
        ConnectionLimits { open: 1, unread: Duration::from_millis(500), ..ConnectionLimits::default() };
    let long = Router::new().route("/", get(async || vec![b'a'; 16 * 1024 * 1024]));
    let address = serve(limits, long).await;
    let mut deaf = TcpStream::connect(address).await.unwrap();
    deaf.write_all(REQUEST).await.unwrap();
    let mut first = [0; 15];
    deaf.read_exact(&mut first).await.unwrap();
    let next = async {
        loop {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").await;
            if rest(&mut stream).await.contains("200 OK") {
                break;
            }
        }
    };
    timeout(PATIENCE, next).await.expect("its place is given to another");
    drop(deaf);
}
