//! A token that is bound to a consumer sees and changes that consumer's things alone, whatever its scopes.

use std::time::Duration;

use http::Method;
use http::header::RETRY_AFTER;
use serde_json::{Value, json};
use waxseal_sender::model::token::Scope;

use super::world::{Furniture, NOW, World, encryption_jwk};

async fn bound() -> (World, Furniture, String) {
    let (world, endpoints) = World::furnished().await;
    let token = world.token(&Scope::ALL, Some("acme")).await;
    (world, endpoints, token)
}

fn ids(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn things_of_others_look_as_if_they_were_not_there() {
    let (world, endpoints, token) = bound().await;
    let published = world.post("/v1/events", event(json!({ "consumer": "beta" }))).await.expect(202);
    let (event, delivery) = (text(&published["id"]), text(&published["deliveries"][0]["id"]));
    let other = world.post("/v1/tokens", json!({ "scopes": ["read"] })).await.expect(201);
    let (beta, other) = (&endpoints.beta, text(&other["id"]));
    let key_set = json!({ "jwks": { "keys": [encryption_jwk()] } });
    let before = world.kept().await;
    for (method, path, body) in [
        ("GET", "/v1/consumers/beta".to_owned(), None),
        ("PATCH", "/v1/consumers/beta".to_owned(), Some(json!({ "description": "x" }))),
        ("DELETE", "/v1/consumers/beta".to_owned(), None),
        ("GET", "/v1/consumers/beta/encryption-keys".to_owned(), None),
        ("PUT", "/v1/consumers/beta/encryption-keys".to_owned(), Some(key_set.clone())),
        ("DELETE", "/v1/consumers/beta/encryption-keys".to_owned(), None),
        ("DELETE", "/v1/consumers/beta/encryption-keys/x".to_owned(), None),
        ("POST", "/v1/consumers/beta/encryption-keys/x/admit".to_owned(), None),
        ("GET", format!("/v1/endpoints/{beta}"), None),
        ("PATCH", format!("/v1/endpoints/{beta}"), Some(json!({ "url": "https://evil.example/" }))),
        ("DELETE", format!("/v1/endpoints/{beta}"), None),
        ("POST", format!("/v1/endpoints/{beta}/pause"), None),
        ("POST", format!("/v1/endpoints/{beta}/resume"), None),
        ("GET", format!("/v1/endpoints/{beta}/encryption-keys"), None),
        ("PUT", format!("/v1/endpoints/{beta}/encryption-keys"), Some(key_set)),
        ("GET", format!("/v1/events/{event}"), None),
        ("GET", format!("/v1/events/{event}?data=true"), None),
        ("GET", format!("/v1/deliveries/{delivery}"), None),
        ("GET", format!("/v1/deliveries/{delivery}/attempts"), None),
        ("POST", format!("/v1/deliveries/{delivery}/redeliver"), None),
        ("POST", format!("/v1/deliveries/{delivery}/cancel"), None),
        ("POST", format!("/v1/endpoints/{beta}/cancel"), Some(json!({}))),
        ("POST", format!("/v1/endpoints/{beta}/test"), None),
        ("POST", format!("/v1/deliveries/{delivery}/redeliver"), Some(json!({ "as_new": true }))),
        ("DELETE", format!("/v1/tokens/{other}"), None),
    ] {
        let reply = world.call(method.parse().unwrap(), &path, &token, body).await;
        assert_eq!(reply.refused(404, "api.not_found")["status"], 404, "{method} {path}");
    }
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn what_concerns_everybody_is_closed() {
    let (world, _, token) = bound().await;
    let kid = text(&world.get("/v1/signing-keys").await.expect(200)["data"][0]["kid"]);
    let before = world.kept().await;
    for (method, path, body) in [
        ("POST", "/v1/consumers", Some(json!({ "id": "new" }))),
        ("DELETE", "/v1/consumers/acme", None),
        ("PATCH", "/v1/consumers/acme", Some(json!({ "groups": [] }))),
        ("GET", "/v1/groups", None),
        ("GET", "/v1/groups/gold", None),
        ("POST", "/v1/groups", Some(json!({ "name": "new" }))),
        ("DELETE", "/v1/groups/gold", None),
        ("PUT", "/v1/groups/gold/members/acme", None),
        ("DELETE", "/v1/groups/gold/members/acme", None),
        ("POST", "/v1/event-types", Some(json!({ "name": "new" }))),
        ("PATCH", "/v1/event-types/gold.only", Some(json!({ "groups": null }))),
        ("DELETE", "/v1/event-types/gold.only", None),
        ("POST", "/v1/signing-keys/rotate", None),
        ("POST", &format!("/v1/signing-keys/{kid}/revoke"), None),
        ("POST", &format!("/v1/signing-keys/{kid}/activate"), None),
        ("POST", "/v1/signing-keys", Some(json!({ "pem": "x" }))),
        ("GET", "/v1/audit", None),
        ("GET", "/v1/cluster", None),
        ("GET", "/metrics", None),
    ] {
        let reply = world.call(method.parse().unwrap(), path, &token, body).await;
        assert_eq!(reply.refused(403, "api.consumer_bound")["status"], 403, "{method} {path}");
    }
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn lists_show_its_own_things() {
    let (world, endpoints, token) = bound().await;
    world.post("/v1/events", event(json!("all"))).await.expect(202);
    let get = async |path: &str| world.call(Method::GET, path, &token, None).await.expect(200);
    assert_eq!(ids(&get("/v1/consumers").await), ["acme"]);
    assert_eq!(ids(&get("/v1/consumers?after=acme").await), [""; 0]);
    assert_eq!(ids(&get("/v1/endpoints").await), [&endpoints.acme]);
    assert_eq!(ids(&get("/v1/endpoints?consumer=beta").await), [""; 0]);
    let deliveries = get("/v1/deliveries").await;
    assert_eq!(deliveries["data"].as_array().unwrap().len(), 1);
    assert_eq!(deliveries["data"][0]["consumer"], "acme");
    assert_eq!(ids(&get(&format!("/v1/deliveries?endpoint={}", endpoints.beta)).await), [""; 0]);
    assert_eq!(ids(&get("/v1/deliveries?consumer=beta").await), [""; 0]);
    assert_eq!(get("/v1/tokens").await["data"].as_array().unwrap().len(), 1);
    let event = text(&deliveries["data"][0]["event"]);
    assert_eq!(get(&format!("/v1/events/{event}")).await["consumers"], json!(["acme"]));
}

#[tokio::test]
async fn it_sees_the_types_that_its_consumer_may_see_and_not_why() {
    let (world, _, _) = bound().await;
    world.post("/v1/event-types", json!({ "name": "secret", "groups": [] })).await.expect(201);
    for (consumer, sees) in [("acme", vec!["gold.only", "order.created"]), ("beta", vec!["order.created"])] {
        let token = world.token(&[Scope::Read], Some(consumer)).await;
        let page = world.call(Method::GET, "/v1/event-types", &token, None).await.expect(200);
        let names: Vec<_> = page["data"].as_array().unwrap().iter().map(|t| text(&t["name"])).collect();
        assert_eq!(names, sees);
        assert!(page["data"].as_array().unwrap().iter().all(|t| t.get("groups").is_none()));
        let hidden = world.call(Method::GET, "/v1/event-types/secret", &token, None).await;
        hidden.refused(404, "api.not_found");
    }
}

#[tokio::test]
async fn it_keeps_its_own_house() {
    let (world, endpoints, token) = bound().await;
    let call = async |method: Method, path: &str, body| world.call(method, path, &token, body).await;
    call(Method::PATCH, "/v1/consumers/acme", Some(json!({ "description": "ours" }))).await.expect(200);
    let body =
        json!({ "url": "https://acme.example/two", "event_types": ["gold.only"], "protection": "sealed" });
    let made = call(Method::POST, "/v1/endpoints", Some(body.clone())).await.expect(201);
    assert_eq!(made["consumer"], "acme");
    let mut for_beta = body.clone();
    for_beta["consumer"] = json!("beta");
    let mut for_nobody = body;
    for_nobody["consumer"] = json!("nobody");
    let (beta, nobody) = (
        call(Method::POST, "/v1/endpoints", Some(for_beta)).await.names(&["consumer"]),
        call(Method::POST, "/v1/endpoints", Some(for_nobody)).await.names(&["consumer"]),
    );
    let told = beta["errors"][0]["detail"].as_str().unwrap().replace("beta", "nobody");
    assert_eq!(told, nobody["errors"][0]["detail"], "the answer does not tell who exists");

    let path = format!("/v1/endpoints/{}/encryption-keys", endpoints.acme);
    let keys = json!({ "jwks": { "keys": [encryption_jwk()] } });
    call(Method::PUT, &path, Some(keys)).await.expect(200);
    call(Method::DELETE, &format!("/v1/endpoints/{}", endpoints.acme), None).await.expect(204);
}

#[tokio::test]
async fn it_publishes_to_its_own_consumer_alone() {
    let (world, endpoints, token) = bound().await;
    let mut plain = event(json!("all"));
    plain.as_object_mut().unwrap().remove("to");
    let published = world.call(Method::POST, "/v1/events", &token, Some(plain)).await.expect(202);
    assert_eq!(published["deliveries"].as_array().unwrap().len(), 1);
    assert_eq!(published["deliveries"][0]["endpoint"], json!(endpoints.acme));
    for to in [
        json!("all"),
        json!({ "consumer": "beta" }),
        json!({ "consumers": ["acme", "beta"] }),
        json!({ "group": "gold" }),
    ] {
        world.call(Method::POST, "/v1/events", &token, Some(event(to))).await.names(&["to"]);
    }
}

#[tokio::test]
async fn a_consumer_has_so_many_tests_and_redeliveries_within_an_hour_and_the_operator_as_many_as_it_likes() {
    let (world, endpoints, token) = bound().await;
    let published = world.post("/v1/events", event(json!({ "consumer": "acme" }))).await.expect(202);
    let delivery = text(&published["deliveries"][0]["id"]);
    let test = (format!("/v1/endpoints/{}/test", endpoints.acme), None, 10, "60");
    let same = (format!("/v1/deliveries/{delivery}/redeliver"), None, 200, "3");
    let new = (same.0.clone(), Some(json!({ "as_new": true })), 20, "30");
    for (path, body, at_once, wait) in [test, same, new] {
        let again = world.token(&[Scope::Manage], Some("acme")).await;
        for number in 0..at_once {
            let token = if number % 2 == 0 { &token } else { &again };
            world.call(Method::POST, &path, token, body.clone()).await.expect(202);
        }
        let before = world.kept().await;
        let refused = world.call(Method::POST, &path, &again, body.clone()).await;
        refused.refused(429, "api.by_hand_limit");
        assert_eq!(refused.headers[RETRY_AFTER], wait, "{path}");
        assert_eq!(world.kept().await, before, "nothing was made");
        for _ in 0..=at_once {
            world.call(Method::POST, &path, &world.admin, body.clone()).await.expect(202);
        }
    }
    let beta = world.token(&[Scope::Manage], Some("beta")).await;
    world
        .call(Method::POST, &format!("/v1/endpoints/{}/test", endpoints.beta), &beta, None)
        .await
        .expect(202);
    world.clock.set(NOW.saturating_add(Duration::from_secs(60)));
    let path = format!("/v1/endpoints/{}/test", endpoints.acme);
    world.call(Method::POST, &path, &token, None).await.expect(202);
    world.call(Method::POST, &path, &token, None).await.refused(429, "api.by_hand_limit");
}

fn event(to: Value) -> Value {
    json!({ "type": "order.created", "data": { "n": 1 }, "to": to })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
