//! What a client asks its authorization server for, and with which keys it proves itself: right and wrong.

use serde_json::json;
use waxseal_tests::sender::SenderFolder;
use waxseal_tests::token_server::{Proof, TokenServer};

use super::{HOUR, client, create, first_attempt, hold, patch};
use crate::support::{publish, register};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_with_the_scope_and_the_audience_that_the_server_wants() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let api = &sender.api;
    register(api, "acme").await;
    let server = TokenServer::start(Proof::SecretPost("s".to_owned()), HOUR).await;
    server.demand("hooks:write events", Some("https://api.acme.example/hooks?v=1&x=y"));
    let asking = |scope: Option<&str>, audience: Option<&str>| {
        let mut asked = client(&server, "client_secret_post", Some("s"));
        let oauth2 = &mut asked["authentication"]["oauth2"];
        (oauth2["scope"], oauth2["audience"]) = (scope.into(), audience.into());
        asked
    };
    let (scope, audience) = ("hooks:write events", "https://api.acme.example/hooks?v=1&x=y");
    let wrong = [
        (None, Some(audience)),
        (Some("hooks:write"), Some(audience)),
        (Some(scope), None),
        (Some(scope), Some("https://api.acme.example/")),
    ];
    for (number, (scope, audience)) in wrong.into_iter().enumerate() {
        let path = create(api, &server.resource_url(), asking(scope, audience)).await;
        publish(api, "acme", json!(1)).await;
        assert_eq!(hold(api, &path).await, "hold.token_refused", "{scope:?} {audience:?}");
        assert_eq!(server.fetches(), vec![400; number + 1]);
        api.expect(reqwest::Method::DELETE, &path, None).await;
    }
    assert!(server.taken().is_empty() && server.refused().is_empty());
    create(api, &server.resource_url(), asking(Some(scope), Some(audience))).await;
    assert_eq!(first_attempt(api).await, "delivered");
    assert_eq!(server.fetches(), [400, 400, 400, 400, 200]);
}

#[tokio::test(flavor = "multi_thread")]
async fn assertions_are_signed_with_whatever_the_ring_has() {
    for algorithm in ["EdDSA", "PS256"] {
        let signing = format!("[signing]\nalgorithm = \"{algorithm}\"\n");
        let folder = SenderFolder::init(&signing, None);
        let sender = folder.start().await;
        let api = &sender.api;
        register(api, "acme").await;
        let keys = api.get("/v1/signing-keys").await;
        assert_eq!(keys["data"][0]["alg"], algorithm);
        let jwks = |folder: &SenderFolder| format!("{}/.well-known/jwks.json", folder.origin);
        let server = TokenServer::start(Proof::PrivateKeyJwt(jwks(&folder)), HOUR).await;
        let path = create(api, &server.resource_url(), client(&server, "private_key_jwt", None)).await;
        assert_eq!(first_attempt(api).await, "delivered");
        assert_eq!((server.fetches(), server.taken()), (vec![200], vec!["token-1".to_owned()]));

        // A server that knows another sender, with keys of the same kind, does not believe this one.
        let stranger = SenderFolder::init(&signing, None);
        let _stranger = stranger.start().await;
        let other = TokenServer::start(Proof::PrivateKeyJwt(jwks(&stranger)), HOUR).await;
        patch(api, &path, client(&other, "private_key_jwt", None)).await;
        publish(api, "acme", json!(2)).await;
        assert_eq!(hold(api, &path).await, "hold.token_refused", "{algorithm}");
        assert_eq!(other.fetches(), [401]);
    }
}
