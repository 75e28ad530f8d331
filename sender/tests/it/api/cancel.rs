//! Taking deliveries back.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::id::DeliveryId;
use waxseal_sender::model::token::Scope;
use waxseal_sender::store::Outbox;

use super::world::{Furniture, NOW, World};

async fn publish(world: &World, event_type: &str) -> String {
    let body = json!({ "type": event_type, "data": 1, "to": { "consumer": "acme" } });
    text(&world.post("/v1/events", body).await.expect(202)["deliveries"][0]["id"])
}

async fn state(world: &World, id: &str) -> String {
    text(&world.get(&format!("/v1/deliveries/{id}")).await.expect(200)["state"])
}

#[tokio::test]
async fn a_live_delivery_is_cancelled_once_and_the_engine_hears_of_it() {
    let (world, _) = World::furnished().await;
    let (waiting, flying) = (publish(&world, "order.created").await, publish(&world, "order.created").await);
    let flying_id = DeliveryId::parse(&flying).unwrap();
    world.engine.in_flight.lock().unwrap().push(flying_id);
    for (id, in_flight) in [(&waiting, false), (&flying, true)] {
        let path = format!("/v1/deliveries/{id}/cancel");
        let expected = json!({ "id": id, "state": "cancelled", "in_flight": in_flight });
        assert_eq!(world.act(&path).await.expect(200), expected);
        let shown = world.get(&format!("/v1/deliveries/{id}")).await.expect(200);
        assert_eq!(
            (&shown["state"], &shown["ended_at"]),
            (&json!("cancelled"), &json!("2026-11-21T20:39:58.000Z"))
        );
        let problem = world.act(&path).await.refused(409, "api.delivery_over");
        assert!(problem["detail"].as_str().unwrap().contains("cancelled"), "{problem}");
    }
    let withdrawn = world.engine.withdrawn.lock().unwrap().clone();
    assert_eq!(withdrawn, [DeliveryId::parse(&waiting).unwrap(), flying_id]);
    assert_eq!(world.store.backlog().await.unwrap().live, 0);
    // It is kept, and can be delivered by hand.
    world.act(&format!("/v1/deliveries/{waiting}/redeliver")).await.expect(202);
}

#[tokio::test]
async fn an_endpoints_deliveries_are_cancelled_by_what_they_are() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let body = json!({ "type": "order.created", "data": 1, "to": { "consumer": "beta" } });
    let other = text(&world.post("/v1/events", body).await.expect(202)["deliveries"][0]["id"]);
    let early = publish(&world, "order.created").await;
    world.clock.set(NOW.saturating_add(Duration::from_secs(60)));
    let (gold, late) = (publish(&world, "gold.only").await, publish(&world, "order.created").await);
    let path = format!("/v1/endpoints/{acme}/cancel");
    let cancel = async |filter: Value| world.post(&path, filter).await.expect(200)["cancelled"].clone();
    assert_eq!(cancel(json!({ "event_types": ["not.there"] })).await, 0);
    assert_eq!(cancel(json!({ "event_types": ["gold.only"], "until": "2026-11-21T20:40:00Z" })).await, 0);
    assert_eq!(cancel(json!({ "event_types": ["gold.only"], "since": "2026-11-21T20:40:00Z" })).await, 1);
    assert_eq!(
        (state(&world, &gold).await.as_str(), state(&world, &late).await.as_str()),
        ("cancelled", "pending")
    );
    assert_eq!(cancel(json!({ "until": 1_795_293_658 })).await, 1);
    assert_eq!(state(&world, &early).await, "cancelled");
    assert_eq!(cancel(json!({})).await, 1);
    assert_eq!(state(&world, &late).await, "cancelled");
    assert_eq!(state(&world, &other).await, "pending", "of another endpoint");
    let token = world.token(&[Scope::Manage], Some("acme")).await;
    let path = format!("/v1/endpoints/{beta}/cancel");
    world.call(Method::POST, &path, &token, Some(json!({}))).await.refused(404, "api.not_found");
}

#[tokio::test]
async fn a_long_backlog_is_cancelled_in_several_requests() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let event = json!({ "type": "order.created", "data": 1, "to": { "consumer": "acme" } });
    for _ in 0..52 {
        world.post("/v1/events/batch", json!({ "events": vec![&event; 100] })).await.expect(202);
    }
    let (path, mut body) = (format!("/v1/endpoints/{acme}/cancel"), json!({}));
    let (mut cancelled, mut requests) = (0, 0);
    loop {
        let answer = world.post(&path, body.clone()).await.expect(200);
        cancelled += answer["cancelled"].as_u64().unwrap();
        requests += 1;
        let Some(next) = answer["next"].as_str() else { break };
        body["after"] = json!(next);
    }
    assert_eq!((cancelled, requests), (5_200, 2));
    assert_eq!(world.store.backlog().await.unwrap().live, 0);
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
