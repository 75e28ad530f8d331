//! Deliveries and their attempts, and delivering once more.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::engine::Arrival;
use waxseal_sender::model::delivery::{Attempt, DeliveryState};
use waxseal_sender::model::token::Scope;
use waxseal_sender::store::{Outbox, Outcome, Settled, Settlement};

use super::world::{Furniture, NOW, World};

/// Publishes to `acme` and returns what the engine was given.
async fn arrive(world: &World) -> Arrival {
    let body = json!({ "type": "order.created", "data": { "n": 1 }, "to": { "consumer": "acme" } });
    world.post("/v1/events", body).await.expect(202);
    world.engine.arrived.lock().unwrap().pop().unwrap()
}

async fn settle(world: &World, arrival: &Arrival, outcome: Outcome) {
    let delivery = arrival.delivery.clone();
    let number = delivery.attempts_made + 1;
    let context = format!("attempt|{}|{number}", delivery.id);
    let key = world.data_keys.of(&delivery.consumer).unwrap();
    let next_at = match outcome {
        Outcome::Again { due_at } => Some(due_at),
        Outcome::Final(_) => None,
    };
    let attempt = Attempt {
        number,
        started_at: NOW,
        duration_ms: 12,
        status: Some(503),
        result: "answer.status".to_owned(),
        signing_kid: "kid-1".to_owned(),
        encryption_kid: None,
        excerpt: key.encrypt(context.as_bytes(), "bäd gateway".as_bytes()),
        next_at,
    };
    let settlement = Settlement { delivery, attempt: Some(attempt), outcome, at: NOW, changes: Vec::new() };
    assert_eq!(world.store.settle(settlement).await.unwrap(), Settled::Recorded);
}

fn ids(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|d| d["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_delivery_shows_how_it_stands() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let arrival = arrive(&world).await;
    let path = format!("/v1/deliveries/{}", arrival.delivery.id);
    let pending = world.get(&path).await.expect(200);
    let expected = json!({
        "id": arrival.delivery.id, "event": arrival.delivery.event, "endpoint": acme, "consumer": "acme",
        "state": "pending", "attempts_made": 0, "due_at": "2026-11-21T20:39:58.000Z", "last_attempt_at": null,
        "expires_at": null, "ended_at": null,
    });
    assert_eq!(pending, expected);
    assert_eq!(world.get(&format!("{path}/attempts")).await.expect(200), json!({ "data": [], "next": null }));

    settle(&world, &arrival, Outcome::Again { due_at: NOW.saturating_add(Duration::from_secs(5)) }).await;
    let retrying = world.get(&path).await.expect(200);
    assert_eq!((&retrying["state"], &retrying["attempts_made"]), (&json!("retrying"), &json!(1)));
    let attempts = world.get(&format!("{path}/attempts")).await.expect(200);
    let expected = json!([{
        "number": 1, "started_at": "2026-11-21T20:39:58.000Z", "duration_ms": 12, "status": 503,
        "result": "answer.status", "signing_kid": "kid-1", "encryption_kid": null,
        "response_excerpt": "bäd gateway", "next_at": "2026-11-21T20:40:03.000Z",
    }]);
    assert_eq!(attempts["data"], expected);
}

#[tokio::test]
async fn deliveries_are_found_by_what_they_are() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let done = arrive(&world).await;
    settle(&world, &done, Outcome::Final(DeliveryState::Delivered)).await;
    let body = json!({ "type": "order.created", "data": 1 });
    let event = world.post("/v1/events", body).await.expect(202)["id"].as_str().unwrap().to_owned();
    let count =
        async |query: &str| ids(&world.get(&format!("/v1/deliveries?{query}")).await.expect(200)).len();
    assert_eq!(count("").await, 3);
    assert_eq!(count("state=delivered").await, 1);
    assert_eq!(count("state=pending").await, 2);
    assert_eq!(count(&format!("event={event}")).await, 2);
    assert_eq!(count(&format!("endpoint={acme}")).await, 2);
    assert_eq!(count("consumer=beta").await, 1);
    assert_eq!(count(&format!("consumer=beta&endpoint={acme}")).await, 0);
    assert_eq!(count(&format!("event={event}&endpoint={beta}&state=pending")).await, 1);
    assert_eq!(count("state=pending,delivered").await, 3);
    assert_eq!(count("type=order.created&consumer=acme&state=pending").await, 1);
    assert_eq!(count("type=gold.only").await, 0);
}

#[tokio::test]
async fn deliveries_are_found_by_their_time_and_paged_in_both_orders() {
    let (world, _) = World::furnished().await;
    let mut made = Vec::new();
    for minute in 0..6_u64 {
        world.clock.set(NOW.saturating_add(Duration::from_secs(60 * minute)));
        made.push(arrive(&world).await.delivery.id.to_string());
    }
    let get = async |query: &str| world.get(&format!("/v1/deliveries?{query}")).await.expect(200);
    let newest_first: Vec<_> = made.iter().rev().collect();
    assert_eq!(ids(&get("").await), newest_first);
    assert_eq!(ids(&get("order=oldest").await), made);
    assert_eq!(ids(&get("since=2026-11-21T20:42:58Z").await), newest_first[..3]);
    assert_eq!(ids(&get("since=2026-11-21T20:42:58.001Z").await), newest_first[..2]);
    assert_eq!(ids(&get("until=2026-11-21T20:42:58Z").await), newest_first[3..]);
    assert_eq!(ids(&get("since=1795293658&until=1795293718").await), [&made[1]]);
    assert_eq!(ids(&get("since=2026-11-21T20:42:58Z&until=2026-11-21T20:40:00Z").await), [""; 0]);
    for (order, expected) in [("oldest", made.clone()), ("newest", made.iter().rev().cloned().collect())] {
        let base = format!("order={order}&limit=2&consumer=acme&state=pending&since=2026-11-21T20:40:00Z");
        let expected: Vec<_> = expected.into_iter().filter(|id| *id != made[0]).collect();
        let (mut paged, mut query) = (Vec::new(), base.clone());
        loop {
            let page = get(&query).await;
            paged.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            query = format!("{base}&after={next}");
        }
        assert_eq!(paged, expected, "{order}");
    }
}

#[tokio::test]
async fn a_search_that_cannot_be_understood_is_refused() {
    let (world, _) = World::furnished().await;
    for (query, field, words) in [
        ("state=gone", "state", "expected one of pending"),
        ("state=pending,", "state", "expected one of pending"),
        ("state=pending&state=expired", "state", "once"),
        ("type=a%20b", "type", "an event type is"),
        ("since=yesterday", "since", "RFC 3339"),
        ("since=-1", "since", "RFC 3339"),
        ("until=2026-11-21", "until", "RFC 3339"),
        ("order=up", "order", "`newest` or `oldest`"),
        ("after=evt_0190a6a0000070008000000000000000", "after", "dlv_"),
        ("limit=0", "limit", "from 1 to 200"),
        ("txn=x", "txn", "no such query parameter"),
    ] {
        let problem = world.get(&format!("/v1/deliveries?{query}")).await.names(&[field]);
        let detail = problem["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_delivery_is_made_again_under_the_same_event() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let first = arrive(&world).await;
    settle(&world, &first, Outcome::Final(DeliveryState::Exhausted)).await;
    let path = format!("/v1/deliveries/{}/redeliver", first.delivery.id);
    let made = world.act(&path).await.expect(202);

    let again = world.engine.arrived.lock().unwrap().pop().unwrap();
    assert_eq!(made["id"], json!(again.delivery.id));
    assert_ne!(again.delivery.id, first.delivery.id);
    assert_eq!(again.delivery.event, first.delivery.event);
    assert_eq!(again.payload.unwrap().data, first.payload.unwrap().data);
    let shown = world.get(&format!("/v1/deliveries/{}", again.delivery.id)).await.expect(200);
    assert_eq!((&shown["state"], &shown["endpoint"]), (&json!("pending"), &json!(acme)));
    // One that is still live can be made again too: nobody has to wait for its schedule.
    world.act(&format!("/v1/deliveries/{}/redeliver", again.delivery.id)).await.expect(202);
}

#[tokio::test]
async fn what_cannot_be_delivered_again_is_refused() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    world
        .act("/v1/deliveries/dlv_0190a6a0000070008000000000000000/redeliver")
        .await
        .refused(404, "api.not_found");
    world.act("/v1/deliveries/evt_1/redeliver").await.refused(404, "api.not_found");

    let gold = world.post("/v1/events", json!({ "type": "gold.only", "data": 1 })).await.expect(202);
    let gold = format!("/v1/deliveries/{}/redeliver", gold["deliveries"][0]["id"].as_str().unwrap());
    world.delete("/v1/groups/gold/members/acme").await.expect(204);
    let before = world.kept().await;
    world.act(&gold).await.refused(409, "api.not_visible");
    assert_eq!(world.kept().await, before);

    let arrival = arrive(&world).await;
    let path = format!("/v1/deliveries/{}/redeliver", arrival.delivery.id);
    world.delete(&format!("/v1/endpoints/{acme}")).await.expect(204);
    let before = world.kept().await;
    world.act(&path).await.refused(409, "api.endpoint_gone");
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn a_consumer_can_look_after_its_own_deliveries() {
    let (world, _) = World::furnished().await;
    let arrival = arrive(&world).await;
    settle(&world, &arrival, Outcome::Final(DeliveryState::Refused)).await;
    let token = world.token(&[Scope::Read, Scope::Manage], Some("acme")).await;
    let path = format!("/v1/deliveries/{}", arrival.delivery.id);
    let call = async |method: Method, path: &str| world.call(method, path, &token, None).await;
    assert_eq!(call(Method::GET, &path).await.expect(200)["state"], "refused");
    let attempts = call(Method::GET, &format!("{path}/attempts")).await.expect(200);
    assert_eq!(attempts["data"][0]["response_excerpt"], "bäd gateway");
    call(Method::POST, &format!("{path}/redeliver")).await.expect(202);
}
