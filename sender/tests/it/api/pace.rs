//! An endpoint's rate, concurrency, order and patience: given, changed, cleared, shown; and how it does.

use serde_json::{Value, json};
use waxseal_keys::Timestamp;
use waxseal_sender::engine::condition::{BreakerState, Condition};
use waxseal_sender::id::EndpointId;
use waxseal_sender::model::endpoint::EndpointStatus;

use super::world::{Furniture, NOW, World};

fn pace(endpoint: &Value) -> Value {
    json!([endpoint["rate_limit"], endpoint["concurrency"], endpoint["order"], endpoint["disable_after"]])
}

#[tokio::test]
async fn a_pace_is_given_changed_and_cleared() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    let of = async |body: Value| pace(&world.patch(&path, body).await.expect(200));
    assert_eq!(pace(&world.get(&path).await.expect(200)), json!([null, null, "any", null]));

    let limit = json!({ "per_second": 2.5, "burst": 5 });
    let body = json!({ "rate_limit": limit, "concurrency": 3, "order": "fifo", "disable_after": "3d" });
    assert_eq!(of(body).await, json!([limit, 3, "fifo", "3days"]));
    // What is shown can be given back; what is not named stays.
    assert_eq!(of(json!({ "disable_after": "3days" })).await, json!([limit, 3, "fifo", "3days"]));
    assert_eq!(of(json!({ "rate_limit": limit, "order": "any" })).await, json!([limit, 3, "any", "3days"]));
    let slow = json!({ "per_second": 1.0 / 60.0 });
    let slow = of(json!({ "rate_limit": slow, "disable_after": "never" })).await;
    assert_eq!(slow, json!([{ "per_second": 0.016667, "burst": 1 }, 3, "any", "never"]));
    let cleared = json!({ "rate_limit": null, "concurrency": null, "order": null, "disable_after": null });
    assert_eq!(of(cleared).await, json!([null, null, "any", null]));

    let new = json!({
        "consumer": "acme", "url": "https://acme.example/2", "event_types": ["*"], "protection": "signed",
        "rate_limit": { "per_second": 10 }, "concurrency": 1, "order": "fifo", "disable_after": "1h",
    });
    let made = world.post("/v1/endpoints", new).await.expect(201);
    assert_eq!(pace(&made), json!([{ "per_second": 10.0, "burst": 10 }, 1, "fifo", "1h"]));
}

#[tokio::test]
async fn how_an_endpoint_does_is_shown() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let well = json!({
        "breaker": "closed", "open_since": null, "next_probe_at": null, "consecutive_failures": 0,
        "failing_since": null, "resting_until": null, "rate_limited_until": null,
    });
    let later = |seconds| Timestamp::from_seconds(NOW.as_seconds() + seconds);
    let condition = Condition {
        breaker: BreakerState::Open,
        open_since: Some(NOW),
        next_probe_at: Some(later(10)),
        failures: 12,
        failing_since: Some(later(-60)),
        rests_until: Some(later(20)),
        rate_limited_until: Some(later(1)),
    };
    world.engine.conditions.lock().unwrap().insert(EndpointId::parse(&acme).unwrap(), condition);
    let health =
        async |id: &str| world.get(&format!("/v1/endpoints/{id}")).await.expect(200)["health"].clone();
    assert_eq!(health(&beta).await, well);
    let expected = json!({
        "breaker": "open",
        "open_since": "2026-11-21T20:39:58.000Z",
        "next_probe_at": "2026-11-21T20:40:08.000Z",
        "consecutive_failures": 12,
        "failing_since": "2026-11-21T20:38:58.000Z",
        "resting_until": "2026-11-21T20:40:18.000Z",
        "rate_limited_until": "2026-11-21T20:39:59.000Z",
    });
    assert_eq!(health(&acme).await, expected);
    let page = world.get("/v1/endpoints").await.expect(200);
    for shown in page["data"].as_array().unwrap() {
        let as_expected = if shown["id"] == acme { &expected } else { &well };
        assert_eq!(shown["health"], *as_expected);
    }
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn what_is_kept_of_an_endpoint_that_fails_ends_with_a_resumption_and_with_the_endpoint() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    for id in [&acme, &beta] {
        let id = EndpointId::parse(id).unwrap();
        let consumer = world.directory.endpoint(id).unwrap().consumer.clone();
        let health = waxseal_sender::model::health::EndpointHealth {
            endpoint: id,
            consumer,
            failing_since: NOW,
            attempts: 3,
            open: None,
        };
        let edit = world.directory.begin_health(id, Some(health)).unwrap();
        waxseal_sender::store::Catalog::change(&*world.store, vec![edit.change()]).await.unwrap();
        edit.adopt();
    }
    assert_eq!(world.directory.failing().len(), 2);
    world.act(&format!("/v1/endpoints/{acme}/pause")).await.expect(200);
    assert_eq!(world.directory.failing().len(), 2);
    world.act(&format!("/v1/endpoints/{acme}/resume")).await.expect(200);
    assert_eq!(world.directory.failing().len(), 1);
    world.delete("/v1/consumers/beta").await.expect(204);
    assert_eq!(world.directory.failing().len(), 0);
    let kind = waxseal_sender::store::RecordKind::EndpointHealth;
    let records = waxseal_sender::store::Catalog::records(&*world.store).await.unwrap();
    assert!(records.iter().all(|record| record.kind != kind));
    let endpoint = world.directory.endpoint(EndpointId::parse(&acme).unwrap()).unwrap();
    assert_eq!(endpoint.status, EndpointStatus::Active);
}
