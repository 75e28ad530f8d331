//! Publishing: who receives, what is kept, and how repetitions are known.

use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::{Value, json};
use waxseal_envelope::{Data, EventType};
use waxseal_sender::directory::To;
use waxseal_sender::publish::{Publication, REMEMBERED};
use waxseal_sender::store::{Catalog, Outbox};

use super::world::{Furniture, Reply, World};

fn receivers(published: &Value) -> Vec<&str> {
    let mut found: Vec<_> =
        published["deliveries"].as_array().unwrap().iter().map(|d| d["endpoint"].as_str().unwrap()).collect();
    found.sort_unstable();
    found
}

async fn publish_with_key(world: &World, path: &str, key: &str, body: &Value) -> Reply {
    let request = Request::post(path)
        .header(AUTHORIZATION, format!("Bearer {}", world.admin))
        .header(CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", key);
    world.send(request.body(body.to_string().into()).unwrap()).await
}

#[tokio::test]
async fn an_event_reaches_those_it_is_for() {
    let (world, Furniture { acme, beta }) = World::furnished().await;
    let second = world.endpoint("acme").await;
    world.post("/v1/consumers", json!({ "id": "gone" })).await.expect(201);
    let all_acme = [acme.as_str(), second.as_str()];
    let mut everybody = vec![acme.as_str(), second.as_str(), beta.as_str()];
    everybody.sort_unstable();
    let mut both = all_acme.to_vec();
    both.sort_unstable();
    for (event_type, to, expected) in [
        ("order.created", json!("all"), everybody.clone()),
        ("order.created", json!({ "consumer": "beta" }), vec![beta.as_str()]),
        ("order.created", json!({ "consumers": ["beta", "acme", "acme"] }), everybody.clone()),
        ("order.created", json!({ "group": "gold" }), both.clone()),
        ("order.created", json!({ "consumer": "gone" }), vec![]),
        ("gold.only", json!("all"), both.clone()),
        ("gold.only", json!({ "group": "gold" }), both.clone()),
    ] {
        let published =
            world.post("/v1/events", json!({ "type": event_type, "data": 1, "to": to })).await.expect(202);
        assert_eq!(receivers(&published), expected, "{event_type} to {to}");
        assert_eq!(published["replayed"], false);
    }
    let unsaid = world.post("/v1/events", json!({ "type": "order.created", "data": 1 })).await.expect(202);
    assert_eq!(receivers(&unsaid), everybody);
    // Leaving the group ends it for what is to come.
    world.delete("/v1/groups/gold/members/acme").await.expect(204);
    let published = world.post("/v1/events", json!({ "type": "gold.only", "data": 1 })).await.expect(202);
    assert_eq!(receivers(&published), [""; 0]);
}

#[tokio::test]
async fn what_was_published_is_kept_byte_for_byte_and_encrypted() {
    let (world, _) = World::furnished().await;
    let data =
        r#"{ "total":12.50, "marker" : "plaintext-marker", "big":123456789012345678901234567890, "e":1E2 }"#;
    let body = format!(
        r#"{{"type":"order.created","data":  {data} ,"id":"order-991","occurred_at":"2026-11-21T20:39:57.5Z"}}"#
    );
    let request = Request::post("/v1/events")
        .header(AUTHORIZATION, format!("Bearer {}", world.admin))
        .header(CONTENT_TYPE, "application/json");
    let published = world.send(request.body(body.into()).unwrap()).await.expect(202);
    let id = published["id"].as_str().unwrap();
    assert!(id.starts_with("evt_"));

    let shown = world.get(&format!("/v1/events/{id}?data=true")).await;
    assert!(shown.text.contains(&format!("\"data\":{data}")), "{}", shown.text);
    let shown = shown.expect(200);
    assert_eq!((&shown["type"], &shown["publisher_id"]), (&json!("order.created"), &json!("order-991")));
    assert_eq!(shown["occurred_at"], "2026-11-21T20:39:57.500Z");
    assert_eq!(shown["consumers"], json!(["acme", "beta"]));
    let bare = world.get(&format!("/v1/events/{id}")).await.expect(200);
    assert!(bare.get("data").is_none() && bare.get("publisher_id").is_none());

    {
        let arrived = world.engine.arrived.lock().unwrap();
        assert_eq!(arrived.len(), 2);
        let content = arrived[0].payload.as_ref().unwrap();
        assert!(matches!(&content.data, Data::Json(json) if json.get() == data));
        assert_eq!(content.id, arrived[0].delivery.event);
    }
    let kept = format!("{:?}", world.store.records().await.unwrap());
    assert!(!kept.contains("s3cret"), "a URL is in the store in the clear");
    world.store.close().await;
}

#[tokio::test]
async fn bytes_travel_as_base64() {
    let (world, _) = World::furnished().await;
    let body =
        json!({ "type": "order.created", "data_base64": "iVBORw0KGgo=", "datacontenttype": "image/png" });
    let id = world.post("/v1/events", body).await.expect(202)["id"].as_str().unwrap().to_owned();
    let shown = world.get(&format!("/v1/events/{id}?data=true")).await.expect(200);
    assert_eq!(
        (&shown["data_base64"], &shown["datacontenttype"]),
        (&json!("iVBORw0KGgo="), &json!("image/png"))
    );
    assert!(shown.get("data").is_none());
}

#[tokio::test]
async fn null_is_data_too() {
    let (world, _) = World::furnished().await;
    let id = world.post("/v1/events", json!({ "type": "order.created", "data": null })).await.expect(202);
    let shown = world.get(&format!("/v1/events/{}?data=true", id["id"].as_str().unwrap())).await;
    assert!(shown.text.contains("\"data\":null"), "{}", shown.text);
}

#[tokio::test]
async fn a_repetition_is_answered_with_the_first_event() {
    let (world, _) = World::furnished().await;
    let body = json!({ "type": "order.created", "data": { "n": 1 }, "id": "order-991" });
    let first = world.post("/v1/events", body.clone()).await.expect(202);
    let again = world.post("/v1/events", body.clone()).await.expect(202);
    assert_eq!(again["id"], first["id"]);
    assert_eq!(receivers(&again), receivers(&first));
    assert_eq!((&first["replayed"], &again["replayed"]), (&json!(false), &json!(true)));
    assert_eq!(world.engine.arrived.lock().unwrap().len(), 2, "the repetition made no delivery");

    let before = world.kept().await;
    for (field, value) in
        [("data", json!({ "n": 2 })), ("to", json!({ "group": "gold" })), ("occurred_at", json!(1))]
    {
        let mut other = body.clone();
        other[field] = value;
        let problem = world.post("/v1/events", other).await.refused(409, "api.idempotency_conflict");
        assert!(problem["detail"].as_str().unwrap().contains(first["id"].as_str().unwrap()));
    }
    assert_eq!(world.kept().await, before);

    world.clock.advance(REMEMBERED + Duration::from_secs(1));
    let forgotten = world.post("/v1/events", body).await.expect(202);
    assert_ne!(forgotten["id"], first["id"]);
}

#[tokio::test]
async fn idempotency_keys_are_as_good_as_ids_and_apart_from_them() {
    let (world, _) = World::furnished().await;
    let body = json!({ "type": "order.created", "data": 1 });
    let first = publish_with_key(&world, "/v1/events", "order-991", &body).await.expect(202);
    let again = publish_with_key(&world, "/v1/events", "order-991", &body).await.expect(202);
    assert_eq!((&again["id"], &again["replayed"]), (&first["id"], &json!(true)));
    let other = json!({ "type": "order.created", "data": 2 });
    publish_with_key(&world, "/v1/events", "order-991", &other)
        .await
        .refused(409, "api.idempotency_conflict");

    let mut with_id = body.clone();
    with_id["id"] = json!("order-991");
    let by_id = world.post("/v1/events", with_id.clone()).await.expect(202);
    assert_ne!(by_id["id"], first["id"]);
    // Where both are given, the id decides.
    let both = publish_with_key(&world, "/v1/events", "another", &with_id).await.expect(202);
    assert_eq!((&both["id"], &both["replayed"]), (&by_id["id"], &json!(true)));

    let longest = "k".repeat(255);
    publish_with_key(&world, "/v1/events", &longest, &body).await.expect(202);
    for bad in ["", &"k".repeat(256), "tab\tbed", "ümlaut"] {
        publish_with_key(&world, "/v1/events", bad, &body).await.names(&["Idempotency-Key"]);
    }
    let request = Request::post("/v1/events")
        .header(AUTHORIZATION, format!("Bearer {}", world.admin))
        .header(CONTENT_TYPE, "application/json")
        .header("Idempotency-Key", "a")
        .header("Idempotency-Key", "b");
    world.send(request.body(body.to_string().into()).unwrap()).await.names(&["Idempotency-Key"]);
}

#[tokio::test]
async fn the_keys_of_a_bound_token_are_its_own() {
    let (world, _) = World::furnished().await;
    let token = world.token(&[waxseal_sender::model::token::Scope::Publish], Some("acme")).await;
    let body = json!({ "type": "order.created", "data": 1, "id": "1", "to": { "consumer": "acme" } });
    let mine = world.call(Method::POST, "/v1/events", &token, Some(body.clone())).await.expect(202);
    let ours = world.post("/v1/events", body).await.expect(202);
    assert_ne!(mine["id"], ours["id"]);
}

#[tokio::test]
async fn requests_at_once_with_one_id_make_one_event() {
    let (world, _) = World::furnished().await;
    let body = json!({ "type": "order.created", "data": 1, "id": "same" });
    let replies =
        futures_util::future::join_all((0..20).map(|_| world.post("/v1/events", body.clone()))).await;
    let answers: Vec<_> = replies.into_iter().map(|reply| reply.expect(202)).collect();
    assert!(answers.iter().all(|answer| answer["id"] == answers[0]["id"]));
    assert_eq!(answers.iter().filter(|answer| answer["replayed"] == false).count(), 1);
    assert_eq!(world.engine.arrived.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_event_in_order() {
    let (world, _) = World::furnished().await;
    let batch = json!({ "events": [
        { "type": "order.created", "data": 1, "id": "a" },
        { "type": "not.declared", "data": 1 },
        { "type": "order.created", "data": 1, "id": "a" },
        { "type": "order.created", "data": 2, "id": "a" },
        "no object",
        { "type": "gold.only", "data": 2 },
    ]});
    let results = world.post("/v1/events/batch", batch).await.expect(202)["results"].clone();
    assert_eq!(results[0]["replayed"], false);
    assert_eq!((&results[1]["status"], &results[1]["errors"][0]["field"]), (&json!(400), &json!("type")));
    assert_eq!((&results[2]["id"], &results[2]["replayed"]), (&results[0]["id"], &json!(true)));
    assert_eq!(results[3]["code"], "api.idempotency_conflict");
    assert_eq!(results[4]["code"], "api.validation");
    assert_eq!(receivers(&results[5]).len(), 1);
    assert_eq!(world.engine.arrived.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn a_batch_with_a_key_can_be_repeated_as_a_whole() {
    let (world, _) = World::furnished().await;
    let event = json!({ "type": "order.created", "data": 1 });
    let batch = json!({ "events": [event, event] });
    let first =
        publish_with_key(&world, "/v1/events/batch", "k", &batch).await.expect(202)["results"].clone();
    let again =
        publish_with_key(&world, "/v1/events/batch", "k", &batch).await.expect(202)["results"].clone();
    assert_ne!(first[0]["id"], first[1]["id"]);
    for place in [0, 1] {
        assert_eq!((&again[place]["id"], &again[place]["replayed"]), (&first[place]["id"], &json!(true)));
    }
}

#[tokio::test]
async fn a_large_batch_goes_through() {
    let (world, _) = World::furnished().await;
    let event = json!({ "type": "order.created", "data": "x".repeat(30 * 1024) });
    let batch = json!({ "events": vec![event; 100] });
    let results = world.post("/v1/events/batch", batch).await.expect(202)["results"].clone();
    assert!(results.as_array().unwrap().iter().all(|result| result["replayed"] == false));
    assert_eq!(world.engine.arrived.lock().unwrap().len(), 200);
}

#[tokio::test]
async fn the_engine_hears_of_an_event_whose_publisher_has_left() {
    let (world, _) = World::furnished().await;
    let publication = Publication {
        event_type: EventType::parse("order.created").unwrap(),
        data: Data::json(b"1").unwrap(),
        to: To::All,
        id: None,
        occurred_at: None,
        expiry: None,
        idempotency_key: None,
        publisher: None,
    };
    // Polled once, so that the store has the event in its hands, then dropped.
    let left = tokio::time::timeout(Duration::ZERO, world.publisher.publish(publication)).await;
    while world.store.backlog().await.unwrap().live == 0 || world.engine.arrived.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.engine.arrived.lock().unwrap().len(), 2, "left: {}", left.is_err());
}

#[tokio::test]
async fn the_content_goes_with_its_consumers() {
    let (world, _) = World::furnished().await;
    let body = json!({ "type": "order.created", "data": 1, "to": { "consumer": "beta" } });
    let id = world.post("/v1/events", body).await.expect(202)["id"].as_str().unwrap().to_owned();
    world.get(&format!("/v1/events/{id}?data=true")).await.expect(200);
    world.delete("/v1/consumers/beta").await.expect(204);
    world.get(&format!("/v1/events/{id}?data=true")).await.refused(410, "api.content_gone");
    world.get("/v1/events/evt_0190a6a0000070008000000000000000").await.refused(404, "api.not_found");
}

#[tokio::test]
async fn a_store_that_is_closed_is_a_reason_to_try_again() {
    let (world, _) = World::furnished().await;
    world.store.close().await;
    let reply = world.post("/v1/events", json!({ "type": "order.created", "data": 1 })).await;
    let problem = reply.refused(503, "api.unavailable");
    assert_eq!(reply.headers["retry-after"], "1");
    assert!(!problem.to_string().contains("store"), "{problem}");
    world.post("/v1/consumers", json!({ "id": "new" })).await.refused(503, "api.unavailable");
    world.get("/v1/consumers/new").await.refused(404, "api.not_found");
}
