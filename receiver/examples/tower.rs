//! A partner's service without axum: the tower layer, served by hyper, with replay entries that outlive the process.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn as hyper_service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tower::{Layer, ServiceExt, service_fn};
use waxseal_receiver::{Protection, Received, Receiver, SqliteGuard, tower::ReceiveLayer};

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

async fn take(request: Request<Full<Bytes>>) -> Result<Response<()>, Infallible> {
    if let Some(received) = request.extensions().get::<Arc<Received<Order>>>() {
        println!("{}: order {}", received.event.id, received.data.order);
    }
    Ok(Response::new(()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let receiver = Receiver::builder()
        .audience("acme")
        .scope("orders")
        .issuer("https://hooks.example.com", Protection::Signed)
        .replay_guard(Arc::new(SqliteGuard::open("replay.db")?))
        .max_concurrent(500)
        .build()?;
    let service = ReceiveLayer::<Order>::new(receiver).layer(service_fn(take));
    let listener = TcpListener::bind("0.0.0.0:8080").await?;
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        let service = hyper_service(move |request| service.clone().oneshot(request));
        // With a timer hyper gives up on heads that do not come; bodies are the receiver's to time.
        let connection =
            http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}
