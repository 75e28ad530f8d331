//! Deliveries and their attempts, and delivering once more.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::engine::Arrival;
use waxseal_sender::model::delivery::{Attempt, DeliveryState};
use waxseal_sender::model::token::Scope;
use waxseal_sender::store::{Kept, Outbox, Outcome, Settled, Settlement, Slice};

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
        clock_skew_seconds: Some(75),
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
        "clock_skew_seconds": 75,
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
async fn as_new_it_is_another_event_that_names_the_old_one() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let body = json!({
        "type": "order.created", "data": { "n": 1 }, "to": { "consumer": "acme" }, "id": "order-1",
        "occurred_at": "2026-11-21T09:30:00Z", "ttl_seconds": 60,
    });
    world.post("/v1/events", body).await.expect(202);
    let first = world.engine.arrived.lock().unwrap().pop().unwrap();
    settle(&world, &first, Outcome::Final(DeliveryState::Delivered)).await;
    let path = format!("/v1/deliveries/{}/redeliver", first.delivery.id);
    let made = world.post(&path, json!({ "as_new": true })).await.expect(202);

    let again = world.engine.arrived.lock().unwrap().pop().unwrap();
    assert_ne!(again.delivery.event, first.delivery.event);
    let expected = json!({ "id": again.delivery.id, "event": again.delivery.event, "redelivery_of": first.delivery.event });
    assert_eq!(made, expected);
    assert_eq!(again.delivery.expires_at, first.delivery.expires_at);
    let (old, new) = (first.payload.unwrap(), again.payload.unwrap());
    assert_eq!((new.redelivery_of, old.redelivery_of), (Some(first.delivery.event), None));
    assert_eq!((&new.data, &new.txn, new.occurred_at), (&old.data, &old.txn, old.occurred_at));

    // It is stored like any other: encrypted, readable, for this consumer alone.
    let read = world.get(&format!("/v1/events/{}?data=true", again.delivery.event)).await.expect(200);
    assert_eq!(read["redelivery_of"], json!(first.delivery.event));
    assert_eq!((&read["data"], &read["publisher_id"]), (&json!({ "n": 1 }), &json!("order-1")));
    assert_eq!(read["consumers"], json!(["acme"]));
    let old = world.get(&format!("/v1/events/{}?data=true", first.delivery.event)).await.expect(200);
    assert_eq!(old["redelivery_of"], Value::Null);
    let found = world.get(&format!("/v1/deliveries?event={}", again.delivery.event)).await.expect(200);
    assert_eq!((ids(&found).len(), &found["data"][0]["endpoint"]), (1, &json!(acme)));

    let same = world.post(&path, json!({ "as_new": false })).await.expect(202);
    assert_eq!((&same["event"], &same["redelivery_of"]), (&json!(first.delivery.event), &Value::Null));
    for (body, fields) in [(json!({ "as_new": 1 }), ["as_new"]), (json!({ "new": true }), ["new"])] {
        world.post(&path, body).await.names(&fields);
    }
}

#[tokio::test]
async fn a_test_event_goes_to_one_endpoint_whatever_it_is_subscribed_to() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    world.patch(&format!("/v1/endpoints/{acme}"), json!({ "event_types": ["gold.only"] })).await.expect(200);
    let made = world.act(&format!("/v1/endpoints/{acme}/test")).await.expect(202);
    let arrivals = std::mem::take(&mut *world.engine.arrived.lock().unwrap());
    let [arrival] = arrivals.as_slice() else { panic!("{arrivals:?}") };
    assert_eq!((&made["id"], &made["event"]), (&json!(arrival.delivery.id), &json!(arrival.delivery.event)));
    assert_eq!(arrival.delivery.endpoint.to_string(), acme);
    let event = world.get(&format!("/v1/events/{}?data=true", arrival.delivery.event)).await.expect(200);
    assert_eq!((&event["type"], &event["consumers"]), (&json!("waxseal.test"), &json!(["acme"])));
    assert_eq!((&event["data"]["test"], &event["data"]["endpoint"]), (&json!(true), &json!(acme)));
    assert_eq!(event["expires_at"], "2026-11-21T20:49:58.000Z");

    // Nobody can declare its type, subscribe to it or publish it.
    world.post("/v1/event-types", json!({ "name": "waxseal.test" })).await.names(&["name"]);
    let subscribe = json!({ "event_types": ["waxseal.test"] });
    world.patch(&format!("/v1/endpoints/{beta}"), subscribe).await.names(&["event_types"]);
    world.post("/v1/events", json!({ "type": "waxseal.test", "data": 1 })).await.names(&["type"]);
    let token = world.token(&[Scope::Manage], Some("acme")).await;
    world
        .call(Method::POST, &format!("/v1/endpoints/{beta}/test"), &token, None)
        .await
        .refused(404, "api.not_found");
    world.call(Method::POST, &format!("/v1/endpoints/{acme}/test"), &token, None).await.expect(202);
    let reader = world.token(&[Scope::Read], None).await;
    world
        .call(Method::POST, &format!("/v1/endpoints/{acme}/test"), &reader, None)
        .await
        .refused(403, "api.scope");
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
async fn an_event_whose_content_is_no_longer_kept_is_shown_and_not_delivered_again() {
    let (world, _) = World::furnished().await;
    let arrival = arrive(&world).await;
    let (event, delivery) = (arrival.delivery.event, arrival.delivery.id);
    settle(&world, &arrival, Outcome::Final(DeliveryState::Exhausted)).await;
    let path = format!("/v1/events/{event}");
    assert_eq!(world.get(&path).await.expect(200)["data_kept"], true);
    let slice = Slice { kept: Kept::Contents, until: NOW, after: None, limit: 100 };
    assert_eq!(world.store.prune(slice).await.unwrap().events, 1);

    let shown = world.get(&path).await.expect(200);
    assert_eq!((&shown["data_kept"], &shown["consumers"]), (&json!(false), &json!(["acme"])));
    world.get(&format!("{path}?data=true")).await.refused(410, "api.content_not_kept");
    let attempts = world.get(&format!("/v1/deliveries/{delivery}/attempts")).await.expect(200);
    assert_eq!(attempts["data"][0]["response_excerpt"], "bäd gateway");
    assert_eq!(world.get("/v1/deliveries").await.expect(200)["data"][0]["state"], "exhausted");
    let again = format!("/v1/deliveries/{delivery}/redeliver");
    let before = world.kept().await;
    for body in [json!({}), json!({ "as_new": true })] {
        world.post(&again, body).await.refused(410, "api.content_not_kept");
    }
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
    let first = &attempts["data"][0];
    // It may have pointed us at somebody else's server.
    assert_eq!((&first["status"], &first["response_excerpt"]), (&json!(503), &json!(null)));
    call(Method::POST, &format!("{path}/redeliver")).await.expect(202);
}
