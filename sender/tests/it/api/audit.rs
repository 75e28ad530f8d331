//! The audit trail: who changed what, what it says of it, and who may read it.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::audit::{Actor, acting};
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::endpoint::PauseReason;
use waxseal_sender::model::token::Scope;
use waxseal_sender::store::{AuditFilter, Catalog};

use crate::api::world::{Furniture, World, encryption_jwk};

/// The entries, newest first.
async fn trail(world: &World, query: &str) -> Vec<Value> {
    world.get(&format!("/v1/audit?limit=200&{query}")).await.expect(200)["data"].as_array().unwrap().clone()
}

async fn latest(world: &World) -> Value {
    trail(world, "").await.remove(0)
}

/// Entries of the same moment are in order only if the same part of the sender made them: what follows is later.
async fn furnished() -> (World, Furniture) {
    let (world, furniture) = World::furnished().await;
    world.clock.advance(Duration::from_secs(1));
    (world, furniture)
}

fn actions(trail: &[Value]) -> Vec<&str> {
    trail.iter().map(|entry| entry["action"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_change_has_one_entry_with_who_and_what() {
    let (world, furniture) = furnished().await;
    let path = format!("/v1/endpoints/{}", furniture.acme);
    let me = trail(&world, "action=group.create").await[0]["actor"].clone();
    assert!(me.as_str().unwrap().starts_with("tok_"));
    let before = trail(&world, "").await.len();

    let reply =
        world.patch(&path, json!({ "protection": "sealed", "url": "https://new.example/?t=hunter2" })).await;
    let request = reply.headers["x-request-id"].to_str().unwrap().to_owned();
    let entry = latest(&world).await;
    assert_eq!(
        (&entry["action"], &entry["object"]),
        (&"endpoint.update".into(), &furniture.acme.clone().into())
    );
    assert_eq!((&entry["consumer"], &entry["actor"]), (&"acme".into(), &me));
    assert_eq!((&entry["request"], &entry["erased"]), (&request.into(), &false.into()));
    let protection = json!({ "before": "signed", "after": "sealed" });
    assert_eq!(entry["changed"], json!({ "protection": protection, "url": null, "verification": null }));

    for (path, body, action) in [
        (format!("{path}/pause"), Value::Null, "endpoint.pause"),
        (format!("{path}/resume"), Value::Null, "endpoint.resume"),
        ("/v1/consumers".to_owned(), json!({ "id": "gamma" }), "consumer.create"),
        ("/v1/groups".to_owned(), json!({ "name": "silver" }), "group.create"),
        ("/v1/event-types".to_owned(), json!({ "name": "a.b" }), "event_type.create"),
        ("/v1/tokens".to_owned(), json!({ "scopes": ["read"], "label": "hunter3" }), "token.create"),
        (format!("{path}/test"), Value::Null, "endpoint.test"),
        (format!("{path}/recover"), json!({ "since": "2026-11-20T00:00:00Z" }), "recovery.create"),
        (format!("{path}/cancel"), json!({}), "endpoint.cancel"),
    ] {
        let reply = if body.is_null() { world.act(&path).await } else { world.post(&path, body).await };
        assert!(reply.status.is_success(), "{path}: {}", reply.text);
        assert_eq!(latest(&world).await["action"], action);
    }
    let keys = json!({ "jwks": { "keys": [encryption_jwk()] } });
    world.put("/v1/consumers/acme/encryption-keys", keys).await.expect(200);
    let entry = latest(&world).await;
    assert_eq!((&entry["action"], &entry["object"]), (&"encryption_keys.create".into(), &"acme".into()));
    let known = &entry["changed"]["keys"]["after"][0];
    assert_eq!((&known["admitted"], known["thumbprint"].as_str().unwrap().len()), (&true.into(), 43));
    world.put("/v1/groups/silver/members/beta", json!({})).await.expect(204);
    world.delete("/v1/groups/silver").await.expect(204);
    let entry = latest(&world).await;
    assert_eq!((&entry["action"], &entry["changed"]["consumer"]), (&"group.delete".into(), &1.into()));
    world.delete(&path).await.expect(204);
    assert_eq!(latest(&world).await["action"], "endpoint.delete");
    assert_eq!(trail(&world, "").await.len(), before + 14);
    // What is neither harmless nor needed to know who did what is nowhere in it.
    assert!(!format!("{:?}", trail(&world, "").await).contains("hunter"));
}

#[tokio::test]
async fn what_changes_nothing_and_what_is_refused_has_no_entry() {
    let (world, furniture) = furnished().await;
    let before = trail(&world, "").await.len();
    let path = format!("/v1/endpoints/{}", furniture.acme);
    world.patch(&path, json!({ "protection": "signed" })).await.expect(200);
    world.act(&format!("{path}/resume")).await.expect(200);
    world.patch(&path, json!({ "protection": "none" })).await.names(&["protection"]);
    world.post("/v1/consumers", json!({ "id": "acme" })).await.refused(409, "api.exists");
    let reader = world.token(&[Scope::Read], None).await;
    assert_eq!(world.call(Method::DELETE, &path, &reader, None).await.status, 403);
    world.post("/v1/events", json!({ "type": "order.created", "data": 1, "to": "all" })).await;
    // The token was made without a request.
    assert_eq!(actions(&trail(&world, "").await[..1]), ["token.create"]);
    assert_eq!(trail(&world, "").await.len(), before + 1);
}

#[tokio::test]
async fn deliveries_by_hand_and_signing_keys_are_on_record() {
    let (world, furniture) = furnished().await;
    let body = json!({ "type": "order.created", "data": 1, "to": { "consumer": "acme" } });
    let published = world.post("/v1/events", body).await.expect(202);
    let delivery = published["deliveries"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/deliveries/{delivery}");
    world.act(&format!("{path}/cancel")).await.expect(200);
    world.act(&format!("{path}/cancel")).await.refused(409, "api.delivery_over");
    world.act(&format!("{path}/redeliver")).await.expect(202);
    world.post(&format!("{path}/redeliver"), json!({ "as_new": true })).await.expect(202);
    let of_delivery = trail(&world, &format!("object={delivery}")).await;
    assert_eq!(actions(&of_delivery), ["delivery.redeliver", "delivery.redeliver", "delivery.cancel"]);
    assert!(of_delivery.iter().all(|entry| entry["consumer"] == "acme"));
    assert_eq!(trail(&world, &format!("object={}", furniture.acme)).await.len(), 1);

    let keys = world.get("/v1/signing-keys").await.expect(200);
    let active = keys["data"].as_array().unwrap().iter().find(|key| key["state"] == "active").unwrap();
    let kid = active["kid"].as_str().unwrap();
    world.act(&format!("/v1/signing-keys/{kid}/revoke")).await.expect(200);
    let of_key = trail(&world, &format!("object={kid}")).await;
    assert_eq!(actions(&of_key), ["signing_key.revoke", "signing_key.activate", "signing_key.create"]);
    let actors: Vec<_> = of_key.iter().map(|entry| entry["actor"].as_str().unwrap()).collect();
    assert!(actors[0].starts_with("tok_") && actors[1..] == ["engine", "engine"], "{actors:?}");
}

#[tokio::test]
async fn what_the_engine_and_programs_do_is_put_down_to_them() {
    let (world, furniture) = furnished().await;
    let endpoint = world.directory.endpoint(EndpointId::parse(&furniture.acme).unwrap()).unwrap();
    let pause = world
        .directory
        .begin_pause(&endpoint, PauseReason::Gone, endpoint.created_at)
        .await
        .unwrap()
        .unwrap();
    world.store.change(pause.changes()).await.unwrap();
    pause.adopt();
    let entry = latest(&world).await;
    assert_eq!((&entry["action"], &entry["actor"]), (&"endpoint.pause".into(), &"engine".into()));
    assert_eq!(entry["changed"]["status"]["after"]["reason"], "gone");

    let id = ConsumerId::parse("acme").unwrap();
    let rename = world.directory.update_consumer(&id, |consumer| {
        consumer.description = Some("hunter2".to_owned());
        Ok(())
    });
    acting(Actor::Program("billing"), rename).await.unwrap();
    let entry = latest(&world).await;
    assert_eq!((&entry["actor"], &entry["changed"]), (&"billing".into(), &json!({ "description": null })));
}

#[tokio::test]
async fn an_erasure_destroys_the_details_and_leaves_that_it_was() {
    let (world, furniture) = furnished().await;
    let path = format!("/v1/endpoints/{}", furniture.acme);
    world.patch(&path, json!({ "protection": "sealed" })).await.expect(200);
    world.delete("/v1/consumers/acme").await.expect(204);

    let of_acme = trail(&world, "consumer=acme").await;
    assert_eq!(
        actions(&of_acme),
        ["consumer.delete", "endpoint.update", "endpoint.create", "consumer.create"],
        "that something was done stays, and by whom"
    );
    assert_eq!((&of_acme[0]["erased"], &of_acme[0]["changed"]["endpoint"]), (&false.into(), &1.into()));
    for entry in &of_acme[1..] {
        assert_eq!(entry["erased"], true);
        assert!(entry.get("changed").is_none() && entry.get("request").is_none(), "{entry}");
        assert!(entry["actor"].as_str().unwrap().starts_with("tok_"));
    }
    // A consumer of the same name reads nothing of the old one's.
    world.post("/v1/consumers", json!({ "id": "acme" })).await.expect(201);
    assert_eq!(trail(&world, "consumer=acme").await[2]["erased"], true);
    let beta = trail(&world, "consumer=beta").await;
    assert!(beta.iter().all(|entry| entry["erased"] == false));
}

#[tokio::test]
async fn the_trail_is_searched_and_paged_and_only_the_operator_reads_it() {
    let (world, _) = furnished().await;
    for number in 0..5 {
        world.clock.advance(Duration::from_secs(60));
        world.post("/v1/groups", json!({ "name": format!("g{number}") })).await.expect(201);
    }
    let groups =
        trail(&world, "action=group.create&since=2026-11-21T20:41:00Z&until=2026-11-21T20:44:00Z").await;
    let objects: Vec<_> = groups.iter().map(|entry| entry["object"].as_str().unwrap()).collect();
    assert_eq!(objects, ["g3", "g2", "g1"]);
    assert_eq!(groups[0]["at"], "2026-11-21T20:43:59.000Z");

    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/audit?limit=2{after}")).await.expect(200);
        found.extend(page["data"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(found, trail(&world, "").await);
    world.get("/v1/audit?consumer=a%20b&since=soon&wat=1").await.names(&["consumer", "since", "wat"]);

    for (scopes, consumer, status) in [
        (&[Scope::Audit][..], None, 200),
        (&[Scope::Read, Scope::Manage, Scope::Tokens], None, 403),
        (&[Scope::Admin], Some("acme"), 403),
        (&[Scope::Audit], Some("acme"), 403),
    ] {
        let token = world.token(scopes, consumer).await;
        let reply = world.call(Method::GET, "/v1/audit", &token, None).await;
        assert_eq!(reply.status.as_u16(), status, "{scopes:?} {consumer:?}");
    }
}

#[tokio::test]
async fn an_entry_that_was_tampered_with_does_not_pass() {
    let (world, _) = World::furnished().await;
    let action = Some("group.create".to_owned());
    let page = world.store.audit(AuditFilter { action, limit: 1, ..AuditFilter::default() }).await.unwrap();
    let row = page.rows[0].clone();
    let read = |row| world.directory.recorder().read(row);
    assert!(read(row.clone()).details.is_some());
    let (mut actor, mut object, mut sealed) = (row.clone(), row.clone(), row);
    actor.actor = "engine".to_owned();
    object.object = "another".to_owned();
    *sealed.sealed.last_mut().unwrap() ^= 1;
    for forged in [actor, object, sealed] {
        assert_eq!(read(forged).details, None);
    }
}
