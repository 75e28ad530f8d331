//! The tower layer, over plain hyper: the answers of the axum route, and what the service inside sees and decides.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::Router;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn as hyper_service;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore, mpsc},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use waxseal_envelope::{Data, Event};
use waxseal_receiver::{
    Received,
    axum::webhook,
    tower::{Receive, ReceiveLayer},
};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{Sender, deliver, serve};

#[derive(Debug, serde::Deserialize)]
struct Order {
    order: String,
}

type Inside = Request<Full<Bytes>>;

/// Serves `receive` with hyper and nothing else, and gives its URL.
async fn serve_hyper<S>(receive: Receive<S, Order>) -> String
where
    Receive<S, Order>: Service<Request<hyper::body::Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    <Receive<S, Order> as Service<Request<hyper::body::Incoming>>>::Future: Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let receive = receive.clone();
            let service = hyper_service(move |request| receive.clone().oneshot(request));
            tokio::spawn(
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    url
}

/// The bytes of a whole response to raw bytes, without the date.
async fn exchange(url: &str, request: &[u8]) -> String {
    let address = url.trim_start_matches("http://").trim_end_matches("/hook");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = String::new();
    let read = stream.read_to_string(&mut response);
    tokio::time::timeout(Duration::from_secs(20), read).await.unwrap().unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
    lines[1..].sort_unstable();
    format!("{}\n\n{body}", lines.join("\n"))
}

fn post(content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /hook HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn every_answer_is_the_one_of_the_axum_route() {
    let sender = Sender::new("https://hooks.example.com");
    let hook = webhook(sender.receiver(), |received: Received<Order>| async move {
        if received.data.order == "991" { Ok(()) } else { Err("out of stock") }
    });
    let axum = serve(Router::new().route("/hook", hook)).await + "/hook";
    let service = service_fn(|request: Inside| async move {
        let order = &request.extensions().get::<Arc<Received<Order>>>().unwrap().data.order;
        let status = if order == "991" { StatusCode::NO_CONTENT } else { StatusCode::PAYMENT_REQUIRED };
        Ok::<_, Infallible>(Response::builder().status(status).header("x-own", "1").body("ours").unwrap())
    });
    let hyper = serve_hyper(ReceiveLayer::new(sender.receiver()).layer(service)).await;

    let token = |json| sender.token(&support::event(&sender.issuer, "acme", "evt_1", json), None);
    let question = sender.token(&sender.verification("acme", "evt_1", "s-123"), None);
    let set = "application/secevent+jwt";
    let requests = [
        ("503", post(set, &token(r#"{"order":"990"}"#))),
        ("400", post(set, &token(r#"[1,2]"#))),
        ("202", post(set, &token(r#"{"order":"991"}"#))),
        ("202", post(set, &token(r#"{"order":"991"}"#))),
        ("200", post(set, &question)),
        ("400", post(set, b"not a token")),
        ("400", post(set, b"")),
        ("400", post(set, &sender.signed("globex", "evt_1"))),
        ("400", post(set, &Sender::new("https://hooks.example.com").signed("acme", "evt_1"))),
        ("415", post("application/json", &token("{}"))),
        ("413", post(set, &vec![b'a'; 256 * 1024 + 1])),
        ("405", b"GET /hook HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_vec()),
    ];
    for (status, request) in requests {
        let (one, other) = (exchange(&axum, &request).await, exchange(&hyper, &request).await);
        assert!(one.starts_with(&format!("HTTP/1.1 {status}")), "{one}");
        assert_eq!(one.to_lowercase(), other.to_lowercase());
    }
}

#[tokio::test]
async fn the_service_inside_gets_the_event_and_its_data_as_a_request() {
    let sender = Sender::new("https://hooks.example.com");
    let (seen, mut requests) = mpsc::unbounded_channel();
    let service = service_fn(move |request: Inside| {
        seen.send(request).unwrap();
        async { Ok::<_, Infallible>(Response::new(())) }
    });
    let url = serve_hyper(ReceiveLayer::new(sender.receiver()).layer(service)).await;
    let body = sender.signed("acme", "evt_1");
    let post = reqwest::Client::new().post(format!("{url}?shop=7")).body(body);
    let post = post.header("Content-Type", "application/secevent+jwt").header("X-Request-Id", "r1");
    assert_eq!(post.send().await.unwrap().status(), StatusCode::ACCEPTED);

    let request = requests.recv().await.unwrap();
    let received = request.extensions().get::<Arc<Received<Order>>>().unwrap();
    assert_eq!((received.event.id.as_str(), received.data.order.as_str()), ("evt_1", "991"));
    assert_eq!(request.uri(), "/hook?shop=7");
    assert_eq!(request.headers()["x-request-id"], "r1");
    assert_eq!(request.headers()["content-type"], "application/json");
    assert_eq!(request.headers()["content-length"], support::ORDER.len().to_string());
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), support::ORDER);
}

#[tokio::test]
async fn binary_data_comes_with_its_own_content_type() {
    let sender = Sender::new("https://hooks.example.com");
    let service = service_fn(|request: Inside| async move {
        assert_eq!(request.headers()["content-type"], "image/png");
        assert_eq!(request.into_body().collect().await.unwrap().to_bytes().as_ref(), [0, 159, 146, 150]);
        Ok::<_, Infallible>(Response::new(()))
    });
    let layer = ReceiveLayer::<serde::de::IgnoredAny>::new(sender.receiver());
    let data = Data::binary("image/png", vec![0, 159, 146, 150]).unwrap();
    let token = sender.token(&Event { data, ..sender.event("acme", "evt_1") }, None);
    let request = Request::post("/").header("Content-Type", "application/secevent+jwt");
    let request = request.body(Full::<Bytes>::from(token)).unwrap();
    assert_eq!(layer.layer(service).oneshot(request).await.unwrap().status(), StatusCode::ACCEPTED);
}

/// Ends as its turn says: with an error before it is called, an error, a panic, a refusal, then well.
#[derive(Clone, Default)]
struct Scripted {
    turn: Arc<AtomicUsize>,
}

impl Service<Inside> for Scripted {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(if self.turn.fetch_add(1, Ordering::SeqCst) == 0 { Err("closed") } else { Ok(()) })
    }

    fn call(&mut self, _: Inside) -> Self::Future {
        std::future::ready(match self.turn.load(Ordering::SeqCst) {
            2 => Err("out of stock"),
            3 => panic!("scripted"),
            4 => Ok(Response::builder().status(StatusCode::CONFLICT).body("secret".to_owned()).unwrap()),
            _ => Ok(Response::new(String::new())),
        })
    }
}

#[tokio::test]
async fn a_service_that_fails_in_any_way_lets_the_next_attempt_through_until_it_succeeds() {
    let sender = Sender::new("https://hooks.example.com");
    let service = Scripted::default();
    let url = serve_hyper(ReceiveLayer::new(sender.receiver()).layer(service.clone())).await;
    for turn in 1..=4 {
        let response = deliver(&url, sender.signed("acme", "evt_1")).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE, "{turn}");
        assert!(response.headers().contains_key("retry-after"));
        assert!(response.bytes().await.unwrap().is_empty());
        assert_eq!(service.turn.load(Ordering::SeqCst), turn);
    }
    for _ in 0..3 {
        assert_eq!(deliver(&url, sender.signed("acme", "evt_1")).await.status(), StatusCode::ACCEPTED);
    }
    assert_eq!(service.turn.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn a_sender_that_hangs_up_does_not_cancel_the_service() {
    let sender = Sender::new("https://hooks.example.com");
    let gate = Arc::new(Semaphore::new(0));
    let (runs, begun) = mpsc::unbounded_channel();
    let begun = Mutex::new(begun);
    let service = {
        let gate = gate.clone();
        service_fn(move |_: Inside| {
            runs.send(()).unwrap();
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(Response::new(()))
            }
        })
    };
    let url = serve_hyper(ReceiveLayer::new(sender.receiver()).layer(service)).await;
    let body = sender.signed("acme", "evt_1");
    let address = url.trim_start_matches("http://").trim_end_matches("/hook");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&post("application/secevent+jwt", &body)).await.unwrap();
    begun.lock().await.recv().await.unwrap();
    drop(stream);
    assert_eq!(deliver(&url, body.clone()).await.status(), StatusCode::SERVICE_UNAVAILABLE);
    gate.add_permits(1);
    let taken = async {
        while deliver(&url, body.clone()).await.status() != StatusCode::ACCEPTED {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), taken).await.unwrap();
    assert!(begun.lock().await.try_recv().is_err(), "it ran once");
}

#[tokio::test]
async fn it_is_a_layer_for_axum_too() {
    async fn take(
        axum::Extension(received): axum::Extension<Arc<Received<Order>>>,
        axum::Json(again): axum::Json<Order>,
    ) {
        assert_eq!(received.data.order, again.order);
    }
    let sender = Sender::new("https://hooks.example.com");
    let app = Router::new().route("/hook", axum::routing::post(take));
    let app = app.layer(ReceiveLayer::<Order>::new(sender.receiver()));
    let url = serve(app).await + "/hook";
    assert_eq!(deliver(&url, sender.signed("acme", "evt_1")).await.status(), StatusCode::ACCEPTED);
    assert_eq!(deliver(&url, b"anything else".to_vec()).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_refused() {
    struct Broken;
    impl Body for Broken {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, &'static str>>> {
            Poll::Ready(Some(Err("reset")))
        }
    }
    let sender = Sender::new("https://hooks.example.com");
    let service = service_fn(|_: Inside| async { Ok::<_, Infallible>(Response::new(())) });
    let layer = ReceiveLayer::<Order>::new(sender.receiver());
    let request = Request::post("/").header("Content-Type", "application/secevent+jwt").body(Broken).unwrap();
    let response = layer.layer(service).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("did not arrive whole"), "{body:?}");
}
