//! API tokens: made once, shown once, never more than their maker.

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::model::token::Scope;
use waxseal_sender::store::Catalog;

use super::world::World;

#[tokio::test]
async fn a_token_is_shown_once_and_works_until_it_is_withdrawn() {
    let (world, _) = World::furnished().await;
    let body = json!({ "label": "ci", "scopes": ["read", "publish"], "expires_at": "2027-01-01T00:00:00Z" });
    let made = world.post("/v1/tokens", body).await.expect(201);
    let secret = made["token"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("wxs_") && secret.len() == 47, "the form that secret scanners look for");
    assert_eq!(made["scopes"], json!(["publish", "read"]));
    assert_eq!(made["expires_at"], "2027-01-01T00:00:00.000Z");

    let listed = world.get("/v1/tokens").await;
    assert!(!listed.text.contains(&secret) && !listed.text.contains("sha256"), "{}", listed.text);
    let listed = listed.expect(200);
    let own = listed["data"].as_array().unwrap().iter().find(|token| token["id"] == made["id"]).unwrap();
    assert_eq!((&own["label"], own.get("token")), (&json!("ci"), None));
    let kept = format!("{:?}", world.store.records().await.unwrap());
    assert!(!kept.contains(&secret[4..]));

    world.call(Method::GET, "/v1/consumers", &secret, None).await.expect(200);
    world.delete(&format!("/v1/tokens/{}", made["id"].as_str().unwrap())).await.expect(204);
    world.call(Method::GET, "/v1/consumers", &secret, None).await.refused(401, "api.unauthenticated");
    world.delete(&format!("/v1/tokens/{}", made["id"].as_str().unwrap())).await.refused(404, "api.not_found");
}

#[tokio::test]
async fn nobody_hands_out_or_withdraws_more_than_they_have() {
    let (world, _) = World::furnished().await;
    let maker = world.token(&[Scope::Tokens, Scope::Read], None).await;
    let bound = world.token(&[Scope::Admin], Some("acme")).await;
    let tokens = world.get("/v1/tokens").await.expect(200)["data"].clone();
    let unbound_admin = |token: &&Value| token["scopes"] == json!(["admin"]) && token["consumer"].is_null();
    let admin =
        tokens.as_array().unwrap().iter().find(unbound_admin).unwrap()["id"].as_str().unwrap().to_owned();
    let before = world.kept().await;
    for (token, body) in [
        (&maker, json!({ "scopes": ["admin"] })),
        (&maker, json!({ "scopes": ["read", "publish"] })),
        (&bound, json!({ "scopes": ["read"], "consumer": "beta" })),
    ] {
        let reply = world.call(Method::POST, "/v1/tokens", token, Some(body)).await;
        reply.refused(403, "api.grant");
    }
    let path = format!("/v1/tokens/{admin}");
    world.call(Method::DELETE, &path, &maker, None).await.refused(403, "api.grant");
    world.call(Method::DELETE, &path, &bound, None).await.refused(404, "api.not_found");
    assert_eq!(world.kept().await, before);

    let read = json!({ "scopes": ["read"], "consumer": "beta" });
    world.call(Method::POST, "/v1/tokens", &maker, Some(read)).await.expect(201);
    let own = world
        .call(Method::POST, "/v1/tokens", &bound, Some(json!({ "scopes": ["admin"] })))
        .await
        .expect(201);
    assert_eq!(own["consumer"], "acme", "a bound token makes bound tokens");
}
