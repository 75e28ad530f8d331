//! Which answers of a server are taken as a JWK Set.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, header::CONTENT_TYPE},
    response::Redirect,
};
use futures_util::stream;
use url::Url;
use waxseal_jwks::{JwksError, RemoteJwks, RemotePolicy, ReqwestGet};
use waxseal_keys::{ManualClock, Timestamp};

mod support;

use support::{Counting, JWK_SET, ed25519, set};

fn remote(url: Url, timeout: Duration) -> RemoteJwks {
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
    let policy = RemotePolicy { timeout, ..RemotePolicy::default() };
    RemoteJwks::new(url, Arc::new(ReqwestGet::new().unwrap()), clock, policy)
}

/// Fetches once; the code of the failure.
async fn failure(url: Url) -> &'static str {
    let remote = remote(url, Duration::from_secs(5));
    assert!(remote.set().await.is_err());
    remote.last_error().unwrap().code()
}

#[tokio::test]
async fn two_media_types_are_accepted_with_any_parameters() {
    let accepted = [JWK_SET, "application/json", "Application/JSON; charset=utf-8"];
    for content_type in accepted {
        let server = Counting::new(String::new());
        server.set_answer(StatusCode::OK, content_type, set(&[ed25519("a")]));
        let remote = remote(server.spawn().await, Duration::from_secs(5));
        assert!(remote.set().await.is_ok(), "{content_type}");
    }
    for content_type in ["text/html", "application/jwk+json", "application/jsonp", "", "json"] {
        let server = Counting::new(String::new());
        server.set_answer(StatusCode::OK, content_type, set(&[ed25519("a")]));
        assert_eq!(failure(server.spawn().await).await, "jwks.content_type", "{content_type}");
    }
}

#[tokio::test]
async fn only_200_is_an_answer_and_a_redirect_is_not_followed() {
    let elsewhere = Counting::new(set(&[ed25519("a")]));
    let target = elsewhere.spawn().await.to_string();
    let redirecting = Router::new().fallback(move || async move { Redirect::temporary(&target) });
    assert_eq!(failure(support::spawn(redirecting).await).await, "jwks.status");
    assert_eq!(elsewhere.fetches(), 0);
    for status in [StatusCode::CREATED, StatusCode::NOT_FOUND, StatusCode::SERVICE_UNAVAILABLE] {
        let server = Counting::new(String::new());
        server.set_answer(status, JWK_SET, set(&[ed25519("a")]));
        assert_eq!(failure(server.spawn().await).await, "jwks.status");
    }
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_not_read_to_its_end() {
    let endless = || async {
        let chunks = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b' '; 1024])));
        ([(CONTENT_TYPE, JWK_SET)], Body::from_stream(chunks))
    };
    let url = support::spawn(Router::new().fallback(endless)).await;
    assert_eq!(failure(url).await, "jwks.too_large");
}

#[tokio::test]
async fn a_server_that_does_not_answer_costs_the_time_limit() {
    let server = Counting::new(set(&[]));
    server.gate.forget_permits(usize::MAX);
    let remote = remote(server.spawn().await, Duration::from_millis(100));
    assert!(matches!(remote.set().await.unwrap_err(), JwksError::Unavailable { .. }));
    assert_eq!(remote.last_error().unwrap().code(), "jwks.timeout");
}

#[tokio::test]
async fn a_set_with_a_private_key_does_not_replace_the_one_before() {
    let server = Counting::new(set(&[ed25519("a")]));
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
    let http = Arc::new(ReqwestGet::new().unwrap());
    let remote = RemoteJwks::new(server.spawn().await, http, clock.clone(), RemotePolicy::default());
    assert!(remote.set().await.is_ok());
    let leaked = ed25519("b").replace('}', r#","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#);
    server.set_answer(StatusCode::OK, JWK_SET, set(&[leaked]));
    clock.advance(Duration::from_secs(30));
    assert!(remote.refresh().await.is_err());
    assert_eq!(remote.last_error().unwrap().code(), "jwks.private_key");
    assert!(remote.verifying_key("a").await.is_ok());
}

#[tokio::test]
async fn nothing_is_asked_over_plain_http_from_another_machine() {
    for url in
        ["http://192.0.2.1/jwks.json", "http://localhost.example/", "https://user:pw@127.0.0.1/", "ftp://h/"]
    {
        assert_eq!(failure(url.parse().unwrap()).await, "jwks.insecure_url", "{url}");
    }
    let refused = Url::parse("http://127.0.0.1:1/jwks.json?token=hunter2").unwrap();
    let remote = remote(refused, Duration::from_secs(5));
    assert!(remote.set().await.is_err());
    let error = remote.last_error().unwrap();
    assert_eq!(error.code(), "jwks.transport");
    assert!(!format!("{error:?} {error} {remote:?}").contains("hunter2"));
}
