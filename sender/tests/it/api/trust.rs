//! What an operator trusts is what the operator has seen.

use http::Method;
use serde_json::json;
use waxseal_sender::model::token::Scope;

use super::world::World;

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
