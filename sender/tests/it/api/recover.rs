//! Recoveries as they are asked for, shown and stopped. How they go on is tested with an engine.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::model::token::Scope;

use super::world::{Furniture, NOW, World};

/// Two hours before the world's time.
const SINCE: &str = "2026-11-21T18:39:58Z";

async fn begun(world: &World, endpoint: &str) -> String {
    let path = format!("/v1/endpoints/{endpoint}/recover");
    world.post(&path, json!({ "since": SINCE })).await.expect(202)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_recovery_is_shown_with_what_it_is_about_and_how_far_it_is() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}/recover");
    let body = json!({
        "since": SINCE, "until": "2026-11-21T20:00:00Z", "states": ["expired", "cancelled"],
        "event_types": ["order.created"], "rate": 7,
    });
    let made = world.post(&path, body).await.expect(202);
    let expected = json!({
        "id": made["id"], "endpoint": acme, "consumer": "acme", "state": "running",
        "since": "2026-11-21T18:39:58.000Z", "until": "2026-11-21T20:00:00.000Z",
        "states": ["expired", "cancelled"], "event_types": ["order.created"], "rate": 7,
        "matched": 0, "redelivered": 0, "skipped": 0, "reached": null,
        "created_at": "2026-11-21T20:39:58.000Z", "ended_at": null,
        "remaining": 0, "remaining_is_exact": true,
    });
    assert_eq!(made, expected);
    let path = format!("/v1/recoveries/{}", made["id"].as_str().unwrap());
    assert_eq!(world.get(&path).await.expect(200), expected);
    let cancelled = world.act(&format!("{path}/cancel")).await.expect(200);
    assert_eq!(
        (&cancelled["state"], &cancelled["ended_at"]),
        (&json!("cancelled"), &json!("2026-11-21T20:39:58.000Z"))
    );
    world.act(&format!("{path}/cancel")).await.refused(409, "api.recovery_over");
}

#[tokio::test]
async fn by_default_it_is_about_what_failed_until_now() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}/recover");
    let later = json!({ "since": SINCE, "until": "2027-01-01T00:00:00Z" });
    let made = world.post(&path, later).await.expect(202);
    assert_eq!(made["states"], json!(["exhausted", "refused"]));
    assert_eq!((&made["until"], &made["rate"]), (&json!("2026-11-21T20:39:58.000Z"), &json!(20)));
}

#[tokio::test]
async fn an_endpoint_has_one_recovery_at_a_time_and_the_last_are_remembered() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let first = begun(&world, &acme).await;
    let path = format!("/v1/endpoints/{acme}/recover");
    let refused = world.post(&path, json!({ "since": SINCE })).await.refused(409, "api.exists");
    assert!(refused["detail"].as_str().unwrap().contains(&first), "{refused}");
    begun(&world, &beta).await;
    world.act(&format!("/v1/recoveries/{first}/cancel")).await.expect(200);
    let mut last = first.clone();
    for minute in 1..=20_u64 {
        world.clock.set(NOW.saturating_add(Duration::from_secs(60 * minute)));
        last = begun(&world, &acme).await;
        world.act(&format!("/v1/recoveries/{last}/cancel")).await.expect(200);
    }
    world.get(&format!("/v1/recoveries/{first}")).await.refused(404, "api.not_found");
    let listed = world.get(&format!("/v1/recoveries?endpoint={acme}&limit=15")).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 15);
    let next = listed["next"].as_str().unwrap();
    let listed = world.get(&format!("/v1/recoveries?endpoint={acme}&after={next}")).await.expect(200);
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][4]["id"]), (5, &json!(last)));
}

#[tokio::test]
async fn a_consumer_has_four_recoveries_at_a_time_whoever_asks() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let mut running = vec![begun(&world, &acme).await];
    for _ in 1..4 {
        running.push(begun(&world, &world.endpoint("acme").await).await);
    }
    let fifth = world.endpoint("acme").await;
    let path = format!("/v1/endpoints/{fifth}/recover");
    let token = world.token(&[Scope::Manage], Some("acme")).await;
    let before = world.kept().await;
    for token in [&token, &world.admin] {
        let refused = world.call(Method::POST, &path, token, Some(json!({ "since": SINCE }))).await;
        let refused = refused.refused(409, "api.too_many_recoveries");
        let detail = refused["detail"].as_str().unwrap();
        assert!(running.iter().all(|id| detail.contains(id)) && detail.contains(&acme), "{detail}");
    }
    assert_eq!(world.kept().await, before);
    begun(&world, &beta).await;
    world.act(&format!("/v1/recoveries/{}/cancel", running[2])).await.expect(200);
    begun(&world, &fifth).await;
}

#[tokio::test]
async fn recoveries_go_with_their_endpoint_and_their_consumer() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let (one, two) = (begun(&world, &acme).await, begun(&world, &beta).await);
    world.delete(&format!("/v1/endpoints/{acme}")).await.expect(204);
    world.get(&format!("/v1/recoveries/{one}")).await.refused(404, "api.not_found");
    world.delete("/v1/consumers/beta").await.expect(204);
    world.get(&format!("/v1/recoveries/{two}")).await.refused(404, "api.not_found");
    let left = world.kept().await;
    assert!(!format!("{left:?}").contains("rcv_"), "no record of either is left");
}

#[tokio::test]
async fn a_consumer_sees_and_stops_its_own() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let (own, other) = (begun(&world, &acme).await, begun(&world, &beta).await);
    let token = world.token(&[Scope::Read, Scope::Manage], Some("acme")).await;
    let call =
        async |method: Method, path: &str, body: Option<Value>| world.call(method, path, &token, body).await;
    let since = Some(json!({ "since": SINCE }));
    let path = format!("/v1/endpoints/{beta}/recover");
    call(Method::POST, &path, since).await.refused(404, "api.not_found");
    let path = format!("/v1/recoveries/{other}");
    call(Method::GET, &path, None).await.refused(404, "api.not_found");
    call(Method::POST, &format!("{path}/cancel"), None).await.refused(404, "api.not_found");
    let listed = call(Method::GET, "/v1/recoveries", None).await.expect(200);
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["id"]), (1, &json!(own)));
    let listed = call(Method::GET, "/v1/recoveries?consumer=beta", None).await.expect(200);
    assert!(listed["data"].as_array().unwrap().is_empty());
    call(Method::POST, &format!("/v1/recoveries/{own}/cancel"), None).await.expect(200);
}
