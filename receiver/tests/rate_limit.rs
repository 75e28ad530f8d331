//! How often one peer may ask: who counts as one, and what it is told.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    num::NonZeroU32,
};

use axum::{Router, routing::post};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::net::TcpListener;
use tower::{Layer, Service, ServiceExt, service_fn};
use waxseal_receiver::{
    Received,
    axum::webhook,
    tower::{Peer, RateLimitLayer},
};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{Sender, deliver};

type Response = http::Response<Full<Bytes>>;

/// Three in a minute: the next one is twenty seconds away, longer than any of these tests.
fn three() -> RateLimitLayer {
    RateLimitLayer::per_minute(NonZeroU32::new(3).unwrap())
}

fn limited(
    layer: RateLimitLayer,
) -> impl Service<Request<()>, Response = Response, Error = Infallible> + Clone {
    layer.layer(service_fn(|_: Request<()>| async { Ok(Response::default()) }))
}

async fn ask<S>(service: &S, peer: Option<&str>, header: Option<&str>) -> Response
where
    S: Service<Request<()>, Response = Response, Error = Infallible> + Clone,
{
    let mut request = Request::new(());
    if let Some(peer) = peer {
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
    }
    if let Some(header) = header {
        request.headers_mut().insert("x-forwarded-for", header.parse().unwrap());
        request.headers_mut().insert("x-real-ip", header.parse().unwrap());
    }
    service.clone().oneshot(request).await.unwrap()
}

/// How many of six requests come through.
async fn through<S>(service: &S, peers: [Option<&str>; 6]) -> usize
where
    S: Service<Request<()>, Response = Response, Error = Infallible> + Clone,
{
    let mut through = 0;
    for peer in peers {
        through += usize::from(ask(service, peer, None).await.status() == StatusCode::OK);
    }
    through
}

#[tokio::test]
async fn over_the_limit_is_429_and_says_when_to_come_back() {
    let service = limited(three());
    for _ in 0..3 {
        assert_eq!(ask(&service, Some("192.0.2.1"), None).await.status(), StatusCode::OK);
    }
    let refused = ask(&service, Some("192.0.2.1"), None).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((10..=20).contains(&wait), "{wait}");
    assert_eq!(refused.headers()["content-type"], "text/plain; charset=utf-8");
    let body = http_body_util::BodyExt::collect(refused.into_body()).await.unwrap().to_bytes();
    assert_eq!(body, "Too many requests.\n");
    assert_eq!(ask(&service, Some("192.0.2.2"), None).await.status(), StatusCode::OK, "another peer may");
}

#[tokio::test]
async fn an_ipv6_network_is_one_peer_and_an_ipv4_address_is_one_however_written() {
    let same = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::", "2001:db8:0:1::3"];
    let same = [same[0], same[1], same[2], same[3], same[0], same[1]].map(Some);
    assert_eq!(through(&limited(three()), same).await, 3);
    let others = ["2001:db8:0:1::", "2001:db8:0:2::", "2001:db8:0:3::", "2001:db8:1:1::", "::1", "fe80::1"];
    assert_eq!(through(&limited(three()), others.map(Some)).await, 6);
    let mapped = ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "::ffff:c000:201", "192.0.2.1", "192.0.2.1"];
    assert_eq!(through(&limited(three()), mapped.map(Some)).await, 3);
}

#[tokio::test]
async fn those_whose_address_is_not_told_share_one_budget() {
    let service = limited(three());
    assert_eq!(through(&service, [None; 6]).await, 3);
    assert_eq!(ask(&service, Some("192.0.2.1"), None).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_header_is_believed_unless_the_partner_says_whose() {
    let service = limited(three());
    for number in 0..6 {
        let status = ask(&service, Some("192.0.2.1"), Some(&format!("198.51.100.{number}"))).await.status();
        assert_eq!(status == StatusCode::OK, number < 3, "{number}");
    }
    let proxy: IpAddr = "192.0.2.1".parse().unwrap();
    let service = limited(three().behind_proxy(move |connection, headers| {
        headers.get("x-real-ip").filter(|_| connection == proxy)?.to_str().ok()?.parse().ok()
    }));
    for number in 0..6 {
        let header = format!("198.51.100.{number}");
        assert_eq!(ask(&service, Some("192.0.2.1"), Some(&header)).await.status(), StatusCode::OK);
        let status = ask(&service, Some("192.0.2.9"), Some(&header)).await.status();
        assert_eq!(status == StatusCode::OK, number < 3, "not from the proxy: {number}");
    }
}

#[tokio::test]
async fn a_burst_may_be_smaller_or_greater_than_the_rate() {
    let burst = |requests| three().burst(NonZeroU32::new(requests).unwrap());
    assert_eq!(through(&limited(burst(1)), [Some("192.0.2.1"); 6]).await, 1);
    assert_eq!(through(&limited(burst(5)), [Some("192.0.2.1"); 6]).await, 5);
}

#[tokio::test]
async fn in_front_of_a_webhook_the_address_comes_from_axum() {
    let sender = Sender::new("https://hooks.example.com");
    let hook = webhook(sender.receiver(), |_: Received<serde_json::Value>| async { Ok::<_, Infallible>(()) });
    let others = Router::new().route("/other", post(|| async {}));
    let app = Router::new().route("/hook", hook).layer(three()).merge(others);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    for number in 0..5 {
        let response = deliver(&format!("{url}/hook"), sender.signed("acme", &format!("evt_{number}"))).await;
        let expected = if number < 3 { StatusCode::ACCEPTED } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(response.status(), expected, "{number}");
    }
    assert_eq!(deliver(&format!("{url}/other"), Vec::new()).await.status(), StatusCode::OK);
}
