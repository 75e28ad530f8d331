//! An event that is worth delivering only for some time.

use http::Method;
use serde_json::{Value, json};
use waxseal_keys::Timestamp;

use super::world::{NOW, World};

async fn publish(world: &World, field: &str, value: Value) -> Value {
    let mut body = json!({ "type": "order.created", "data": 1, "to": { "consumer": "acme" } });
    body[field] = value;
    world.post("/v1/events", body).await.expect(202)
}

#[tokio::test]
async fn it_is_given_as_a_moment_or_as_a_time_to_live_and_shown() {
    let (world, _) = World::furnished().await;
    for (field, value, expires_at) in [
        ("expires_at", json!("2026-11-21T21:39:58+01:00"), None),
        ("expires_at", json!("2026-11-22T08:00:00Z"), Some("2026-11-22T08:00:00.000Z")),
        ("expires_at", json!(1_795_293_658), Some("2026-11-21T20:40:58.000Z")),
        ("ttl_seconds", json!(60), Some("2026-11-21T20:40:58.000Z")),
        ("ttl_seconds", json!(2_592_000), Some("2026-12-21T20:39:58.000Z")),
    ] {
        let Some(expires_at) = expires_at else {
            let mut body = json!({ "type": "order.created", "data": 1 });
            body[field] = value;
            world.post("/v1/events", body).await.names(&[field]); // that is now, in another time zone
            continue;
        };
        let published = publish(&world, field, value).await;
        let event = world.get(&format!("/v1/events/{}", published["id"].as_str().unwrap())).await.expect(200);
        assert_eq!(event["expires_at"], expires_at);
        let delivery = published["deliveries"][0]["id"].as_str().unwrap();
        let delivery = world.get(&format!("/v1/deliveries/{delivery}")).await.expect(200);
        assert_eq!(delivery["expires_at"], expires_at);
        let arrival = world.engine.arrived.lock().unwrap().pop().unwrap();
        let known: Timestamp = arrival.delivery.expires_at.unwrap();
        assert!(known > NOW, "the engine knows it as well");
    }
}

#[tokio::test]
async fn a_repetition_with_a_time_to_live_is_one_however_late_it_comes() {
    let (world, _) = World::furnished().await;
    let body = json!({ "type": "order.created", "data": 1, "id": "order-1", "ttl_seconds": 60 });
    let first = world.post("/v1/events", body.clone()).await.expect(202);
    world.clock.set(NOW.saturating_add(std::time::Duration::from_secs(30)));
    let again = world.post("/v1/events", body.clone()).await.expect(202);
    assert_eq!((&again["id"], &again["replayed"]), (&first["id"], &json!(true)));
    let mut other = body;
    other["ttl_seconds"] = json!(61);
    world.post("/v1/events", other).await.refused(409, "api.idempotency_conflict");
}

#[tokio::test]
async fn a_redelivery_keeps_the_time_while_it_lies_ahead_and_has_none_afterwards() {
    let (world, _) = World::furnished().await;
    let published = publish(&world, "ttl_seconds", json!(60)).await;
    let path = format!("/v1/deliveries/{}/redeliver", published["deliveries"][0]["id"].as_str().unwrap());
    let shown = async |made: Value| {
        let path = format!("/v1/deliveries/{}", made["id"].as_str().unwrap());
        world.call(Method::GET, &path, &world.admin, None).await.expect(200)["expires_at"].clone()
    };
    let in_time = world.act(&path).await.expect(202);
    assert_eq!(shown(in_time).await, "2026-11-21T20:40:58.000Z");
    world.clock.set(NOW.saturating_add(std::time::Duration::from_secs(60)));
    let late = world.act(&path).await.expect(202);
    assert_eq!(shown(late).await, Value::Null);
}

#[tokio::test]
async fn a_repetition_is_answered_as_the_first_time_whatever_would_be_refused_by_now() {
    let (world, _) = World::furnished().await;
    world.post("/v1/event-types", json!({ "name": "order.gone" })).await.expect(201);
    world.post("/v1/consumers", json!({ "id": "gone" })).await.expect(201);
    let bodies = [
        json!({ "type": "order.created", "data": 1, "id": "a", "expires_at": "2026-11-21T20:40:58Z" }),
        json!({ "type": "order.gone", "data": 1, "id": "b" }),
        json!({ "type": "order.created", "data": 1, "id": "c", "to": { "consumers": ["acme", "gone"] } }),
    ];
    let mut first = Vec::new();
    for body in &bodies {
        first.push(world.post("/v1/events", body.clone()).await.expect(202));
    }
    world.clock.set(NOW.saturating_add(std::time::Duration::from_secs(61)));
    world.delete("/v1/event-types/order.gone").await.expect(204);
    world.delete("/v1/consumers/gone").await.expect(204);
    for ((body, first), field) in bodies.iter().zip(&first).zip(["expires_at", "type", "to"]) {
        let again = world.post("/v1/events", body.clone()).await.expect(202);
        assert_eq!((&again["id"], &again["replayed"]), (&first["id"], &json!(true)));
        assert_eq!(again["deliveries"], first["deliveries"]);
        let mut other = body.clone();
        other["data"] = json!(2);
        world.post("/v1/events", other.clone()).await.refused(409, "api.idempotency_conflict");
        other["id"] = json!("new");
        world.post("/v1/events", other).await.names(&[field]);
    }
    // After a day it is not remembered any more.
    world.clock.set(NOW.saturating_add(std::time::Duration::from_secs(24 * 60 * 60)));
    world.post("/v1/events", bodies[1].clone()).await.names(&["type"]);
}
