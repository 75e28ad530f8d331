//! Consumers, groups, event types and endpoints: made, shown, changed, listed, removed.

use serde_json::{Value, json};
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::id::EndpointId;
use waxseal_sender::store::Outbox;

use super::world::{Furniture, World};

fn names(page: &Value, member: &str) -> Vec<String> {
    page["data"].as_array().unwrap().iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_consumer_lives_and_goes() {
    let world = World::new().await;
    world.post("/v1/groups", json!({ "name": "gold", "description": "pays" })).await.expect(201);
    let made =
        world.post("/v1/consumers", json!({ "id": "acme", "description": "A", "groups": ["gold"] })).await;
    let made = made.expect(201);
    let expected = json!({
        "id": "acme", "description": "A", "groups": ["gold"], "created_at": "2026-11-21T20:39:58.000Z",
    });
    assert_eq!(made, expected);
    assert_eq!(world.get("/v1/consumers/acme").await.expect(200), expected);
    world.post("/v1/consumers", json!({ "id": "acme" })).await.refused(409, "api.exists");

    let changed = world.patch("/v1/consumers/acme", json!({ "description": null })).await.expect(200);
    assert_eq!((&changed["description"], &changed["groups"]), (&Value::Null, &json!(["gold"])));
    let changed =
        world.patch("/v1/consumers/acme", json!({ "groups": [], "description": "B" })).await.expect(200);
    assert_eq!((&changed["description"], &changed["groups"]), (&json!("B"), &json!([])));
    world.patch("/v1/consumers/none", json!({})).await.refused(404, "api.not_found");

    world.delete("/v1/consumers/acme").await.expect(204);
    world.get("/v1/consumers/acme").await.refused(404, "api.not_found");
    world.delete("/v1/consumers/acme").await.refused(404, "api.not_found");
}

#[tokio::test]
async fn a_consumer_without_an_id_is_given_one() {
    let world = World::new().await;
    let made = world.post("/v1/consumers", json!({})).await.expect(201);
    assert!(made["id"].as_str().unwrap().starts_with("con_"), "{made}");
}

#[tokio::test]
async fn a_consumer_takes_its_endpoints_keys_tokens_and_deliveries_along() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let keys = json!({ "jwks": { "keys": [super::world::encryption_jwk()] } });
    world.put("/v1/consumers/acme/encryption-keys", keys).await.expect(200);
    let bound = json!({ "scopes": ["read"], "consumer": "acme" });
    let token = world.post("/v1/tokens", bound).await.expect(201)["token"].as_str().unwrap().to_owned();
    world.post("/v1/events", json!({ "type": "order.created", "data": 1 })).await.expect(202);
    assert_eq!(world.store.backlog().await.unwrap().live, 2);

    world.delete("/v1/consumers/acme").await.expect(204);
    world.get(&format!("/v1/endpoints/{acme}")).await.refused(404, "api.not_found");
    let read = world.call(http::Method::GET, "/v1/consumers", &token, None).await;
    read.refused(401, "api.unauthenticated");
    assert_eq!(world.store.backlog().await.unwrap().live, 1);
    let deliveries = world.get("/v1/deliveries?consumer=acme").await.expect(200);
    assert_eq!(deliveries["data"][0]["state"], "cancelled");
}

#[tokio::test]
async fn groups_are_joined_and_left() {
    let (world, _) = World::furnished().await;
    let groups =
        async |id: &str| world.get(&format!("/v1/consumers/{id}")).await.expect(200)["groups"].clone();
    world.put("/v1/groups/gold/members/beta", json!({})).await.expect(204);
    world.put("/v1/groups/gold/members/beta", json!({})).await.expect(204);
    assert_eq!(groups("beta").await, json!(["gold"]));
    world.delete("/v1/groups/gold/members/beta").await.expect(204);
    assert_eq!(groups("beta").await, json!([]));
    world.put("/v1/groups/none/members/beta", json!({})).await.refused(404, "api.not_found");
    world.put("/v1/groups/gold/members/none", json!({})).await.refused(404, "api.not_found");

    world.delete("/v1/groups/gold").await.refused(409, "api.in_use");
    world.delete("/v1/event-types/gold.only").await.expect(204);
    world.delete("/v1/groups/gold").await.expect(204);
    assert_eq!(groups("acme").await, json!([]));
    world.get("/v1/groups/gold").await.refused(404, "api.not_found");
}

#[tokio::test]
async fn an_event_type_lives_and_goes() {
    let (world, _) = World::furnished().await;
    let made = world.get("/v1/event-types/gold.only").await.expect(200);
    assert_eq!((&made["name"], &made["groups"]), (&json!("gold.only"), &json!(["gold"])));
    world.post("/v1/event-types", json!({ "name": "gold.only" })).await.refused(409, "api.exists");
    let described = world.patch("/v1/event-types/gold.only", json!({ "description": "d" })).await.expect(200);
    assert_eq!(described["groups"], json!(["gold"]), "what is not named stays");
    let opened = world.patch("/v1/event-types/gold.only", json!({ "groups": null })).await.expect(200);
    assert_eq!((&opened["groups"], &opened["description"]), (&Value::Null, &json!("d")));
    let closed = world.patch("/v1/event-types/gold.only", json!({ "groups": [] })).await.expect(200);
    assert_eq!(closed["groups"], json!([]));

    let uri = "https%3A%2F%2Fschemas.example%2Forder";
    world.post("/v1/event-types", json!({ "name": "https://schemas.example/order" })).await.expect(201);
    assert_eq!(
        world.get(&format!("/v1/event-types/{uri}")).await.expect(200)["name"],
        "https://schemas.example/order"
    );
    world.delete(&format!("/v1/event-types/{uri}")).await.expect(204);

    let endpoint = json!({
        "consumer": "beta", "url": "https://b.example/", "event_types": ["order.created"], "protection": "signed",
    });
    world.post("/v1/endpoints", endpoint).await.expect(201);
    world.delete("/v1/event-types/order.created").await.refused(409, "api.in_use");
}

#[tokio::test]
async fn an_endpoint_lives_and_goes() {
    let (world, _) = World::furnished().await;
    let body = json!({
        "consumer": "acme",
        "url": "https://acme.example/two?token=t",
        "event_types": ["order.created", "gold.only"],
        "protection": "sealed",
        "audience": "third-party",
        "description": "two",
        "encryption_keys": { "jwks": { "keys": [super::world::encryption_jwk()] } },
    });
    let made = world.post("/v1/endpoints", body).await.expect(201);
    let path = format!("/v1/endpoints/{}", made["id"].as_str().unwrap());
    assert_eq!(made["url"], "https://acme.example/two?token=t");
    assert_eq!(made["event_types"], json!(["gold.only", "order.created"]));
    assert_eq!((&made["protection"], &made["audience"]), (&json!("sealed"), &json!("third-party")));
    assert_eq!(made["status"], json!({ "state": "active" }));
    let keys = world.get(&format!("{path}/encryption-keys")).await.expect(200);
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);

    let change = json!({ "audience": null, "event_types": ["*"], "protection": "signed", "url": "https://b.example/" });
    let changed = world.patch(&path, change).await.expect(200);
    assert_eq!((&changed["audience"], &changed["event_types"]), (&json!("acme"), &json!(["*"])));
    assert_eq!((&changed["url"], &changed["description"]), (&json!("https://b.example/"), &json!("two")));

    let paused = world.act(&format!("{path}/pause")).await.expect(200);
    let expected = json!({ "state": "paused", "reason": "operator", "since": "2026-11-21T20:39:58.000Z" });
    assert_eq!(paused["status"], expected);
    world.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(world.act(&format!("{path}/pause")).await.expect(200)["status"], expected);
    assert_eq!(
        world.act(&format!("{path}/resume")).await.expect(200)["status"],
        json!({ "state": "active" })
    );

    world.post("/v1/events", json!({ "type": "order.created", "data": 1 })).await.expect(202);
    assert_eq!(world.store.backlog().await.unwrap().live, 3);
    world.delete(&path).await.expect(204);
    assert_eq!(world.store.backlog().await.unwrap().live, 2);
    world.get(&path).await.refused(404, "api.not_found");
}

#[tokio::test]
async fn an_endpoint_shows_why_nothing_is_sent() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let id = EndpointId::parse(&acme).unwrap();
    world.engine.holds.lock().unwrap().push((id, Hold::NoUsableKey));
    let hold = async |id: &str| world.get(&format!("/v1/endpoints/{id}")).await.expect(200)["hold"].clone();
    assert_eq!(hold(&acme).await, "hold.no_usable_key");
    assert_eq!(hold(&beta).await, Value::Null);
    let page = world.get("/v1/endpoints").await.expect(200);
    let holds: Vec<_> = page["data"].as_array().unwrap().iter().map(|e| e["hold"].is_null()).collect();
    assert_eq!(holds.iter().filter(|none| **none).count(), 1);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repetition() {
    let world = World::new().await;
    for n in 0..7 {
        world.post("/v1/consumers", json!({ "id": format!("c{n}") })).await.expect(201);
        world.post("/v1/groups", json!({ "name": format!("g{n}") })).await.expect(201);
        world.post("/v1/event-types", json!({ "name": format!("t{n}") })).await.expect(201);
        world.endpoint(&format!("c{n}")).await;
    }
    for n in 0..3 {
        world.post("/v1/events", json!({ "type": "t0", "data": n })).await.expect(202);
    }
    let lists = [
        ("/v1/consumers", "id", 7),
        ("/v1/groups", "name", 7),
        ("/v1/event-types", "name", 7),
        ("/v1/endpoints", "id", 7),
        ("/v1/deliveries", "id", 21),
        ("/v1/tokens", "id", 1),
    ];
    for (path, member, total) in lists {
        let all = names(&world.get(&format!("{path}?limit=200")).await.expect(200), member);
        assert_eq!(all.len(), total, "{path}");
        for limit in [1, 3, 7] {
            let mut seen = Vec::new();
            let mut next = String::new();
            loop {
                let page = world.get(&format!("{path}?limit={limit}{next}")).await.expect(200);
                seen.extend(names(&page, member));
                assert!(page["data"].as_array().unwrap().len() <= limit);
                let Some(after) = page["next"].as_str() else { break };
                next = format!("&after={after}");
            }
            assert_eq!(seen, all, "{path} by {limit}");
        }
    }
}
