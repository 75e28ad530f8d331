//! Who may subscribe to operational events, and who may publish them.

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::id::ConsumerId;
use waxseal_sender::model::token::Scope;
use waxseal_sender::operations::notices::TYPES;

use crate::api::world::World;

fn endpoint(consumer: &str, event_types: &[&str]) -> Value {
    json!({
        "consumer": consumer,
        "url": format!("https://{consumer}.example/hook"),
        "event_types": event_types,
        "protection": "signed",
    })
}

#[tokio::test]
async fn only_the_operators_consumer_may_subscribe_to_operational_events() {
    let (world, furniture) = World::furnished().await;
    world.directory.set_operator(Some(ConsumerId::parse("beta").unwrap()));
    world.post("/v1/endpoints", endpoint("beta", &TYPES)).await.expect(201);
    let path = format!("/v1/endpoints/{}", furniture.beta);
    world.patch(&path, json!({ "event_types": ["waxseal.key.expiring", "order.created"] })).await.expect(200);
    world.patch(&path, json!({ "event_types": ["waxseal.made.up"] })).await.names(&["event_types"]);

    let scopes = [Scope::Manage, Scope::ConsumerKeys, Scope::Read];
    let bound = world.token(&scopes, Some("acme")).await;
    let before = world.kept().await;
    for name in TYPES {
        let body = endpoint("acme", &[name]);
        world.post("/v1/endpoints", body.clone()).await.names(&["event_types"]);
        world.call(Method::POST, "/v1/endpoints", &bound, Some(body)).await.names(&["event_types"]);
        let path = format!("/v1/endpoints/{}", furniture.acme);
        let change = Some(json!({ "event_types": [name] }));
        world.call(Method::PATCH, &path, &bound, change).await.names(&["event_types"]);
    }
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn nobody_can_publish_an_operational_event() {
    let (world, _) = World::furnished().await;
    world.directory.set_operator(Some(ConsumerId::parse("beta").unwrap()));
    for name in TYPES {
        world.post("/v1/event-types", json!({ "name": name })).await.names(&["name"]);
        let body = json!({ "type": name, "data": {}, "to": { "consumer": "beta" } });
        world.post("/v1/events", body).await.names(&["type"]);
    }
}
