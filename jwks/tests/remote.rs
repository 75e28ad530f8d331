//! `RemoteJwks` against a server that counts its requests.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::ready, sync::Arc, time::Duration};

use axum::http::StatusCode;
use url::Url;
use waxseal_jwks::{HttpGet, HttpGetFuture, HttpResponse, JwksError, RemoteJwks, RemotePolicy, ReqwestGet};
use waxseal_keys::{ManualClock, Timestamp};

mod support;

use support::{Counting, JWK_SET, ed25519, p256, set};

const MINUTE: Duration = Duration::from_secs(60);
const COOLDOWN: Duration = Duration::from_secs(30);

struct Setup {
    server: Counting,
    clock: Arc<ManualClock>,
    remote: RemoteJwks,
}

async fn setup(body: String) -> Setup {
    let server = Counting::new(body);
    let url = server.spawn().await;
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
    let http = Arc::new(ReqwestGet::new().unwrap());
    let remote = RemoteJwks::new(url, http, clock.clone(), RemotePolicy::default());
    Setup { server, clock, remote }
}

/// Waits for the server to have been asked `count` times.
async fn asked(server: &Counting, count: usize) {
    let waiting = async {
        while server.fetches() < count {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
}

#[tokio::test]
async fn a_flood_of_unknown_kids_causes_one_fetch_per_cooldown() {
    let Setup { server, clock, remote } = setup(set(&[ed25519("a")])).await;
    for round in 1..=3 {
        let flood = (0..200).map(|n| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.verifying_key(&format!("unknown-{n}")).await.unwrap_err() })
        });
        for refused in flood.collect::<Vec<_>>() {
            let error = refused.await.unwrap();
            assert!(matches!(error, JwksError::UnknownKey | JwksError::CoolingDown { .. }), "{error}");
        }
        assert_eq!(server.fetches(), round);
        let retry_after = COOLDOWN - Duration::from_secs(7);
        clock.advance(Duration::from_secs(7));
        assert_eq!(remote.verifying_key("other").await.unwrap_err(), JwksError::CoolingDown { retry_after });
        assert!(remote.verifying_key("a").await.is_ok(), "known keys do not suffer");
        assert_eq!(server.fetches(), round);
        clock.advance(retry_after);
    }
}

#[tokio::test]
async fn callers_share_one_fetch_and_its_first_caller_may_go_away() {
    let Setup { server, remote, .. } = setup(set(&[ed25519("a")])).await;
    server.gate.forget_permits(usize::MAX);
    let spawn = || {
        let remote = remote.clone();
        tokio::spawn(async move { remote.verifying_key("a").await })
    };
    let first = spawn();
    asked(&server, 1).await;
    let others: Vec<_> = (0..20).map(|_| spawn()).collect();
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    server.gate.add_permits(1);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap().kid(), "a");
    }
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn a_fetch_whose_only_caller_went_away_is_still_of_use() {
    let Setup { server, remote, .. } = setup(set(&[ed25519("a")])).await;
    server.gate.forget_permits(usize::MAX);
    let only = tokio::spawn({
        let remote = remote.clone();
        async move { remote.set().await }
    });
    asked(&server, 1).await;
    only.abort();
    assert!(only.await.unwrap_err().is_cancelled());
    server.gate.add_permits(1);
    assert!(remote.verifying_key("a").await.is_ok());
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn a_refresh_replaces_the_whole_set() {
    let Setup { server, clock, remote } = setup(set(&[ed25519("old"), p256("kept")])).await;
    assert!(remote.verifying_key("old").await.is_ok());
    server.set_answer(StatusCode::OK, JWK_SET, set(&[p256("kept"), ed25519("new")]));
    assert_eq!(
        remote.verifying_key("new").await.unwrap_err(),
        JwksError::CoolingDown { retry_after: COOLDOWN }
    );
    clock.advance(COOLDOWN);
    assert!(remote.verifying_key("new").await.is_ok());
    assert!(remote.verifying_key("kept").await.is_ok());
    assert!(matches!(remote.verifying_key("old").await.unwrap_err(), JwksError::CoolingDown { .. }));
    assert_eq!(remote.set().await.unwrap().keys().len(), 2);
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn a_set_is_fetched_again_when_it_is_too_old_and_used_for_15_minutes_at_most() {
    let Setup { server, clock, remote } = setup(set(&[ed25519("a")])).await;
    assert!(remote.verifying_key("a").await.is_ok());
    clock.advance(10 * MINUTE - Duration::from_millis(1));
    assert!(remote.verifying_key("a").await.is_ok());
    assert_eq!(server.fetches(), 1);
    server.set_answer(StatusCode::INTERNAL_SERVER_ERROR, JWK_SET, String::new());
    clock.advance(Duration::from_millis(1));
    assert!(remote.verifying_key("a").await.is_ok(), "stale, but the server is down");
    assert_eq!(server.fetches(), 2);
    assert_eq!(remote.last_error().unwrap().code(), "jwks.status");
    assert!(remote.verifying_key("a").await.is_ok(), "within the cooldown nobody asks again");
    assert_eq!(server.fetches(), 2);
    clock.advance(5 * MINUTE - Duration::from_millis(1));
    assert!(remote.verifying_key("a").await.is_ok());
    assert_eq!(server.fetches(), 3);
    clock.advance(Duration::from_millis(1));
    let error = remote.verifying_key("a").await.unwrap_err();
    assert_eq!(error, JwksError::Unavailable { retry_after: COOLDOWN - Duration::from_millis(1) });
    clock.advance(COOLDOWN);
    server.set_answer(StatusCode::OK, JWK_SET, set(&[ed25519("a")]));
    assert!(remote.verifying_key("a").await.is_ok());
    assert!(remote.last_error().is_none());
    assert_eq!(server.fetches(), 4);
}

#[tokio::test]
async fn a_missing_key_is_our_own_trouble_while_the_server_is_down() {
    let Setup { server, clock, remote } = setup(set(&[ed25519("a")])).await;
    assert!(remote.set().await.is_ok());
    server.set_answer(StatusCode::BAD_GATEWAY, JWK_SET, String::new());
    clock.advance(COOLDOWN);
    assert!(matches!(remote.verifying_key("b").await.unwrap_err(), JwksError::Unavailable { .. }));
    assert!(matches!(remote.verifying_key("b").await.unwrap_err(), JwksError::CoolingDown { .. }));
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn refresh_fetches_a_fresh_set_again_outside_the_cooldown_only() {
    let Setup { server, clock, remote } = setup(set(&[ed25519("a")])).await;
    assert!(remote.refresh().await.is_ok());
    assert!(matches!(remote.refresh().await.unwrap_err(), JwksError::CoolingDown { .. }));
    clock.advance(COOLDOWN);
    server.set_answer(StatusCode::OK, JWK_SET, set(&[ed25519("b")]));
    assert!(remote.refresh().await.unwrap().find("b").is_some());
    assert_eq!(server.fetches(), 2);
    clock.advance(COOLDOWN);
    server.set_answer(StatusCode::NOT_FOUND, JWK_SET, String::new());
    assert!(matches!(remote.refresh().await.unwrap_err(), JwksError::Unavailable { .. }));
    assert!(remote.verifying_key("b").await.is_ok());
}

#[tokio::test]
async fn keys_for_encryption_verify_nothing() {
    let enc = p256("e").replace(r#""use":"sig","alg":"ES256""#, r#""use":"enc","alg":"ECDH-ES""#);
    let Setup { remote, .. } = setup(set(&[enc, ed25519("a")])).await;
    assert_eq!(remote.verifying_key("e").await.unwrap_err(), JwksError::UnknownKey);
    assert!(remote.set().await.unwrap().find("e").is_some());
    assert!(remote.verifying_key("a").await.is_ok());
}

/// An answer without a way, so that a fetch lands while callers are still on their way to it.
#[derive(Debug)]
struct Instant(String);

impl HttpGet for Instant {
    fn get<'a>(&'a self, _: &'a Url, _: usize, _: Duration) -> HttpGetFuture<'a> {
        Box::pin(ready(Ok(HttpResponse {
            status: 200,
            content_type: Some(JWK_SET.to_owned()),
            max_age: None,
            body: self.0.clone().into(),
        })))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_set_that_lands_between_the_look_and_the_fetch_is_used() {
    let http = Arc::new(Instant(set(&[ed25519("a")])));
    let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1_800_000_000)));
    let url: Url = "https://hooks.example.com/".parse().unwrap();
    for round in 0..5_000 {
        let remote = RemoteJwks::new(url.clone(), http.clone(), clock.clone(), RemotePolicy::default());
        let callers = (0..8).map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.verifying_key("a").await.map(drop) })
        });
        for caller in callers.collect::<Vec<_>>() {
            assert_eq!(caller.await.unwrap(), Ok(()), "round {round}");
        }
    }
}
