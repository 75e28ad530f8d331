//! What a token cannot reach in a roundabout way: other consumers' audiences, other people's servers, more rights, more
//! time, or what the operator has decided.

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::model::token::Scope;

use super::world::World;

fn endpoint(audience: Option<&str>) -> Value {
    let mut body = json!({ "url": "https://acme.example/two", "event_types": ["order.created"], "protection": "sealed" });
    if let Some(audience) = audience {
        body["audience"] = json!(audience);
    }
    body
}

#[tokio::test]
async fn nobody_has_tokens_made_for_another_consumers_audience() {
    let (world, endpoints) = World::furnished().await;
    let mut for_acme = endpoint(Some("beta"));
    for_acme["consumer"] = json!("acme");
    let before = world.kept().await;
    world.post("/v1/endpoints", for_acme.clone()).await.names(&["audience"]);
    let path = format!("/v1/endpoints/{}", endpoints.acme);
    world.patch(&path, json!({ "audience": "beta" })).await.names(&["audience"]);
    assert_eq!(world.kept().await, before);

    // An audience that one consumer's endpoint has is taken, as an audience and as a consumer's id.
    world.patch(&path, json!({ "audience": "processor-7" })).await.expect(200);
    for_acme["consumer"] = json!("beta");
    for_acme["audience"] = json!("processor-7");
    world.post("/v1/endpoints", for_acme.clone()).await.names(&["audience"]);
    world.post("/v1/consumers", json!({ "id": "processor-7" })).await.names(&["id"]);
    for_acme["consumer"] = json!("acme");
    world.post("/v1/endpoints", for_acme).await.expect(201);
    world.patch(&path, json!({ "audience": "acme" })).await.expect(200);
}

#[tokio::test]
async fn a_bound_token_chooses_audiences_under_its_own_name() {
    let (world, endpoints) = World::furnished().await;
    let token = world.token(&Scope::ALL, Some("acme")).await;
    let path = format!("/v1/endpoints/{}", endpoints.acme);
    for audience in ["beta", "nobody-yet", "acme2", "acme.x", "https://beta.example/"] {
        let made = world.call(Method::POST, "/v1/endpoints", &token, Some(endpoint(Some(audience)))).await;
        made.names(&["audience"]);
        let changed = world.call(Method::PATCH, &path, &token, Some(json!({ "audience": audience }))).await;
        changed.names(&["audience"]);
    }
    for audience in ["acme", "acme/processor"] {
        world.call(Method::PATCH, &path, &token, Some(json!({ "audience": audience }))).await.expect(200);
    }
}

#[tokio::test]
async fn protection_and_audience_need_their_own_scope_on_new_endpoints_too() {
    let (world, _) = World::furnished().await;
    let token = world.token(&[Scope::Manage], Some("acme")).await;
    let mut signed = endpoint(None);
    signed["protection"] = json!("signed");
    for body in [signed, endpoint(Some("acme/x"))] {
        world.call(Method::POST, "/v1/endpoints", &token, Some(body)).await.refused(403, "api.scope");
    }
    // Sealed to the keys that the consumer has anyway.
    world.call(Method::POST, "/v1/endpoints", &token, Some(endpoint(None))).await.expect(201);
}

#[tokio::test]
async fn the_operators_pause_is_the_operators_to_end() {
    let (world, endpoints) = World::furnished().await;
    let token = world.token(&Scope::ALL, Some("acme")).await;
    let path = |verb: &str| format!("/v1/endpoints/{}/{verb}", endpoints.acme);
    let own = world.call(Method::POST, &path("pause"), &token, None).await.expect(200);
    assert_eq!(own["status"]["reason"], "consumer");
    world.call(Method::POST, &path("resume"), &token, None).await.expect(200);

    world.call(Method::POST, &path("pause"), &token, None).await.expect(200);
    let paused = world.post(&path("pause"), json!({})).await.expect(200);
    assert_eq!(paused["status"]["reason"], "operator", "the operator's word stands over the consumer's");
    let refused = world.call(Method::POST, &path("resume"), &token, None).await;
    refused.refused(403, "api.paused_by_operator");
    let shown = world.get(&format!("/v1/endpoints/{}", endpoints.acme)).await.expect(200);
    assert_eq!(shown["status"]["state"], "paused");
    world.post(&path("resume"), json!({})).await.expect(200);
}

#[tokio::test]
async fn what_a_token_makes_ends_no_later_than_itself() {
    let (world, _) = World::furnished().await;
    let hour = world
        .post("/v1/tokens", json!({ "scopes": ["admin"], "expires_at": "2099-01-01T00:00:00Z" }))
        .await
        .expect(201);
    let token = hour["token"].as_str().unwrap();
    let make = async |body| world.call(Method::POST, "/v1/tokens", token, Some(body)).await;
    let made = make(json!({ "scopes": ["read"] })).await.expect(201);
    assert_eq!(made["expires_at"], hour["expires_at"]);
    make(json!({ "scopes": ["read"], "expires_at": "2099-01-02T00:00:00Z" })).await.names(&["expires_at"]);
    make(json!({ "scopes": ["read"], "expires_at": "2098-01-01T00:00:00Z" })).await.expect(201);
}

#[tokio::test]
async fn null_is_not_taken_for_what_it_may_not_mean() {
    let (world, endpoints) = World::furnished().await;
    let before = world.kept().await;
    world.patch("/v1/consumers/acme", json!({ "groups": null })).await.names(&["groups"]);
    let path = format!("/v1/endpoints/{}", endpoints.acme);
    world.patch(&path, json!({ "event_types": null })).await.names(&["event_types"]);
    let everybody = json!({ "type": "order.created", "data": 1, "to": null });
    world.post("/v1/events", everybody).await.names(&["to"]);
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn a_uri_in_the_place_of_the_issuers_own_names_cannot_be_declared() {
    let (world, _) = World::furnished().await;
    let uri = "https://hooks.example.com/events/order.created";
    world.post("/v1/event-types", json!({ "name": uri })).await.names(&["name"]);
}

#[tokio::test]
async fn a_consumer_has_a_bounded_number_of_tokens() {
    let (world, _) = World::furnished().await;
    let body = json!({ "scopes": ["read"], "consumer": "acme" });
    for _ in 0..100 {
        world.post("/v1/tokens", body.clone()).await.expect(201);
    }
    world.post("/v1/tokens", body).await.names(&["consumer"]);
}
