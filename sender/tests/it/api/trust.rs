//! What an operator trusts is what the operator has seen: a URL, a protection and a source of keys; and it ends with
//! them, whoever changes them.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use waxseal_sender::model::token::Scope;

use super::world::{World, encryption_jwk};

const URL: &str = "https://acme.example/h";

impl World {
    async fn trusted(&self, protection: &str) -> String {
        let body = json!({
            "consumer": "acme", "url": URL, "event_types": ["*"], "protection": protection, "trusted": true,
        });
        let made = self.post("/v1/endpoints", body).await.expect(201);
        format!("/v1/endpoints/{}", made["id"].as_str().unwrap())
    }

    async fn status(&self, path: &str) -> String {
        let shown = self.get(path).await.expect(200);
        shown["verification"]["status"].as_str().unwrap().to_owned()
    }

    async fn trust_again(&self, path: &str) {
        let shown = self.get(path).await.expect(200);
        let meant = json!({ "trusted": true, "url": shown["url"], "protection": shown["protection"] });
        self.patch(path, meant).await.expect(200);
    }

    /// What the operator is told of trust that has ended, and forgets it.
    async fn told(&self) -> Vec<Value> {
        let mut told = Vec::new();
        for notice in self.directory.notices() {
            self.directory.forget_notice(notice.event).await.unwrap();
            if notice.event_type.as_str() == "waxseal.endpoint.trust_ended" {
                told.push(notice.data.clone());
            }
        }
        told
    }
}

fn set(keys: &[&Value]) -> Value {
    json!({ "jwks": { "keys": keys } })
}

#[tokio::test]
async fn whoever_trusts_an_endpoint_says_which_url_and_protection_are_meant() {
    let (world, _) = World::furnished().await;
    let bound = world.token(&[Scope::Manage, Scope::ConsumerKeys], Some("acme")).await;
    let path = world.trusted("sealed").await;
    world.patch(&path, json!({ "trusted": false })).await.expect(200);
    let before = world.kept().await;
    world.patch(&path, json!({ "trusted": true })).await.names(&["protection", "url"]);
    world.patch(&path, json!({ "trusted": true, "url": URL })).await.names(&["protection"]);
    world.patch(&path, json!({ "trusted": true, "protection": "sealed" })).await.names(&["url"]);
    assert_eq!(world.kept().await, before);

    // The consumer changes both between the operator's look and word: what the operator meant is set and trusted.
    let elsewhere = json!({ "url": "https://evil.example/", "protection": "signed" });
    world.call(Method::PATCH, &path, &bound, Some(elsewhere)).await.expect(200);
    let meant = json!({ "trusted": true, "url": URL, "protection": "sealed" });
    let shown = world.patch(&path, meant).await.expect(200);
    assert_eq!((&shown["url"], &shown["protection"]), (&json!(URL), &json!("sealed")));
    assert_eq!(shown["verification"]["status"], "trusted");
    world.patch(&path, json!({ "trusted": false })).await.expect(200);
    assert_eq!(world.status(&path).await, "pending", "withdrawing it needs neither");
}

#[tokio::test]
async fn trust_ends_when_the_consumer_changes_where_keys_come_from() {
    let (world, _) = World::furnished().await;
    let bound = world.token(&[Scope::Manage, Scope::ConsumerKeys], Some("acme")).await;
    let (sealed, signed) = (world.trusted("sealed").await, world.trusted("signed").await);
    let (own, all) = (format!("{sealed}/encryption-keys"), "/v1/consumers/acme/encryption-keys");
    let (one, two) = (encryption_jwk(), encryption_jwk());
    let id = sealed.rsplit('/').next().unwrap();
    let uri = json!({ "jwks_uri": "https://acme.example/jwks.json" });
    let other_uri = json!({ "jwks_uri": "https://acme.example/other.json" });
    let automatic = json!({ "jwks_uri": "https://acme.example/other.json", "admission": "automatic" });
    for (path, keys, ends) in [
        (all, Some(set(&[&one])), true),
        (all, Some(set(&[&one])), false),
        (all, Some(set(&[&one, &two])), true),
        (all, Some(set(&[&two])), false),
        (own.as_str(), Some(set(&[&two])), false),
        (&own, Some(set(&[&one])), true),
        (&own, None, true),
        (all, Some(uri.clone()), true),
        (all, Some(uri), false),
        (all, Some(other_uri), true),
        (all, Some(automatic), true),
        (all, Some(set(&[&one])), true),
        (all, None, false),
        (all, Some(set(&[&one])), true),
    ] {
        world.told().await;
        // So much is told of one endpoint within an hour.
        world.clock.advance(Duration::from_secs(60 * 60));
        let (method, status) = if keys.is_some() { (Method::PUT, 200) } else { (Method::DELETE, 204) };
        let reply = world.call(method, path, &bound, keys.clone()).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.text);
        let told = world.told().await;
        if ends {
            assert_eq!(world.status(&sealed).await, "pending", "{path} {keys:?}");
            let expected = json!({
                "consumer": "acme", "code": "hold.endpoint_unverified", "because": "encryption_keys",
                "endpoints": [id], "total": 1,
            });
            assert_eq!(told, [expected]);
            world.trust_again(&sealed).await;
        } else {
            assert_eq!((world.status(&sealed).await.as_str(), told.len()), ("trusted", 0), "{path} {keys:?}");
        }
        assert_eq!(world.status(&signed).await, "trusted", "nothing is sealed to it");
    }
}

#[tokio::test]
async fn an_operator_may_give_the_keys_of_a_trusted_endpoint() {
    let (world, _) = World::furnished().await;
    let path = world.trusted("sealed").await;
    let (own, all) = (format!("{path}/encryption-keys"), "/v1/consumers/acme/encryption-keys");
    for keys in [all, &own] {
        world.put(keys, set(&[&encryption_jwk()])).await.expect(200);
        world.put(keys, json!({ "jwks_uri": "https://acme.example/jwks.json" })).await.expect(200);
        world.put(keys, set(&[&encryption_jwk()])).await.expect(200);
    }
    world.delete(&own).await.expect(204);
    assert_eq!((world.status(&path).await.as_str(), world.told().await.len()), ("trusted", 0));
}

#[tokio::test]
async fn who_ended_trust_is_on_record_at_the_endpoint_and_at_the_keys() {
    let (world, _) = World::furnished().await;
    let bound = world.token(&[Scope::Manage, Scope::ConsumerKeys], Some("acme")).await;
    let path = world.trusted("sealed").await;
    let keys = Some(set(&[&encryption_jwk()]));
    world.call(Method::PUT, "/v1/consumers/acme/encryption-keys", &bound, keys).await.expect(200);
    let page = world.get("/v1/audit?consumer=acme&limit=2").await.expect(200);
    let entries = page["data"].as_array().unwrap();
    let mut actions: Vec<_> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    assert_eq!(actions, ["encryption_keys.create", "endpoint.update"]);
    let of_endpoint = entries.iter().find(|entry| entry["action"] == "endpoint.update").unwrap();
    assert_eq!(of_endpoint["object"], path.rsplit('/').next().unwrap());
    assert!(of_endpoint["changed"].get("verification").is_some(), "{of_endpoint}");
    assert_eq!(entries[0]["actor"], entries[1]["actor"]);
}
