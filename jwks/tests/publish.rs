//! The router that publishes a set, over real HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use reqwest::{Client, Method, Response, StatusCode};
use url::Url;
use waxseal_jwks::{
    JwkSet, SetLimits, WELL_KNOWN,
    publish::{self, PublishedKeys},
};

mod support;

use support::{ed25519, p256, set};

struct Changing(Mutex<JwkSet>);

impl PublishedKeys for Changing {
    fn published(&self) -> JwkSet {
        self.0.lock().unwrap().clone()
    }
}

fn parsed(keys: &[String]) -> JwkSet {
    JwkSet::parse(set(keys).as_bytes(), &SetLimits::default()).unwrap().set
}

async fn serve() -> (Arc<Changing>, Url) {
    let keys = Arc::new(Changing(Mutex::new(parsed(&[ed25519("a")]))));
    let url = support::spawn(publish::router(keys.clone(), Duration::from_secs(300))).await;
    (keys, url.join(WELL_KNOWN).unwrap())
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

async fn get_if_none_match(url: &Url, tags: &str) -> Response {
    Client::new().get(url.clone()).header("If-None-Match", tags).send().await.unwrap()
}

#[tokio::test]
async fn the_set_is_served_with_its_media_type_and_may_be_cached() {
    let (keys, url) = serve().await;
    let response = reqwest::get(url).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(header(&response, "content-type"), "application/jwk-set+json");
    assert_eq!(header(&response, "cache-control"), "public, max-age=300");
    assert!(header(&response, "etag").starts_with('"'), "a strong validator");
    let body = response.bytes().await.unwrap();
    assert_eq!(JwkSet::parse(&body, &SetLimits::default()).unwrap().set, keys.published());
}

#[tokio::test]
async fn who_has_the_set_gets_304_until_it_changes() {
    let (keys, url) = serve().await;
    let etag = header(&reqwest::get(url.clone()).await.unwrap(), "etag").to_owned();
    for tags in [etag.clone(), format!("\"other\", {etag}"), format!("W/{etag}"), "*".to_owned()] {
        let response = get_if_none_match(&url, &tags).await;
        assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{tags}");
        assert_eq!(header(&response, "etag"), etag);
        assert_eq!(header(&response, "cache-control"), "public, max-age=300");
        assert!(response.bytes().await.unwrap().is_empty());
    }
    assert_eq!(get_if_none_match(&url, "\"other\"").await.status(), StatusCode::OK);
    *keys.0.lock().unwrap() = parsed(&[ed25519("a"), p256("b")]);
    let changed = get_if_none_match(&url, &etag).await;
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(header(&changed, "etag"), etag);
}

#[tokio::test]
async fn scripts_of_any_origin_may_read_and_nobody_may_write() {
    let (_, url) = serve().await;
    let client = Client::new();
    let read = client.get(url.clone()).header("Origin", "https://app.example").send().await.unwrap();
    assert_eq!(header(&read, "access-control-allow-origin"), "*");
    assert_eq!(header(&read, "access-control-expose-headers").to_ascii_lowercase(), "etag");
    let preflight = client
        .request(Method::OPTIONS, url.clone())
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "GET");
    assert_eq!(header(&preflight.send().await.unwrap(), "access-control-allow-methods"), "GET");
    let head = client.head(url.clone()).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    let written = client.post(url).body("{}").send().await.unwrap();
    assert_eq!(written.status(), StatusCode::METHOD_NOT_ALLOWED);
}
