//! What is wrong before any field is looked at: queries, media types, JSON itself.

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request};
use serde_json::json;

use super::super::world::{Furniture, World};

#[tokio::test]
async fn queries() {
    let (world, _) = World::furnished().await;
    for (path, fields, words) in [
        ("/v1/consumers?limit=0", &["limit"] as &[_], "from 1 to 200"),
        ("/v1/consumers?limit=201", &["limit"], "from 1 to 200"),
        ("/v1/consumers?limit=-1", &["limit"], "from 1 to 200"),
        ("/v1/consumers?limit=ten", &["limit"], "from 1 to 200"),
        ("/v1/consumers?limit=", &["limit"], "from 1 to 200"),
        ("/v1/consumers?limit=5&limit=6", &["limit"], "once"),
        ("/v1/consumers?after=a%20b", &["after"], "expected 1 to 64"),
        ("/v1/consumers?page=2", &["page"], "expected `limit`, `after`"),
        ("/v1/groups?after=%2F", &["after"], "expected 1 to 64"),
        ("/v1/event-types?after=..", &["after"], "an event type is"),
        ("/v1/endpoints?after=dlv_1", &["after"], "expected `ep_`"),
        ("/v1/endpoints?consumer=", &["consumer"], "expected 1 to 64"),
        (
            "/v1/deliveries?event=x&endpoint=y&after=z&consumer=%20&state=done",
            &["event", "endpoint", "after", "consumer", "state"],
            "expected `evt_`",
        ),
        ("/v1/deliveries?status=pending", &["status"], "no such query parameter"),
        ("/v1/tokens?after=x", &["after"], "expected `tok_`"),
        ("/v1/consumers/acme?verbose=1", &["verbose"], "expected none"),
        ("/v1/events/evt_0190a6a0000070008000000000000000?data=yes", &["data"], "`true` or `false`"),
        ("/v1/signing-keys?limit=5", &["limit"], "expected none"),
        ("/health?x", &["x"], "expected none"),
    ] {
        let problem = world.get(path).await.names(fields);
        assert!(problem["errors"].to_string().contains(words), "{path}: {problem}");
    }
    let before = world.kept().await;
    world.post("/v1/consumers?dry_run=1", json!({ "id": "new" })).await.names(&["dry_run"]);
    world.delete("/v1/consumers/acme?force=1").await.names(&["force"]);
    let flood = (0..1_000).map(|n| format!("p{n}=1&")).collect::<String>();
    world.get(&format!("/v1/consumers?{flood}")).await.names(&[""]);
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn bodies_that_are_no_json_objects() {
    let (world, _) = World::furnished().await;
    let before = world.kept().await;
    let send = async |path: &str, content_type: Option<&str>, body: Vec<u8>| {
        let request = Request::post(path).header(AUTHORIZATION, format!("Bearer {}", world.admin));
        let request = content_type.into_iter().fold(request, |r, value| r.header(CONTENT_TYPE, value));
        world.send(request.body(body.into()).unwrap()).await
    };
    for path in [
        "/v1/consumers",
        "/v1/groups",
        "/v1/event-types",
        "/v1/endpoints",
        "/v1/events",
        "/v1/events/batch",
        "/v1/tokens",
    ] {
        for body in
            ["", "{", "nope", "{} {}", "{\"a\":1,}", "\u{feff}{}", "{\"a\":\"\\ud800\"}", "{\"a\":1e999}"]
        {
            let reply = send(path, Some("application/json"), body.into()).await;
            reply.refused(400, "api.malformed_json");
        }
        send(path, Some("application/json"), b"{\"a\":\"\xff\"}".to_vec())
            .await
            .refused(400, "api.malformed_json");
        let nested = "[".repeat(50_000).into_bytes();
        send(path, Some("application/json"), nested).await.refused(400, "api.malformed_json");
        for twice in ["{\"a\":1,\"a\":1}", "{\"x\":{\"a\":1,\"\\u0061\":2}}"] {
            let reply = send(path, Some("application/json"), twice.into()).await;
            reply.refused(400, "api.duplicate_member");
        }
        for other in
            [None, Some("text/plain"), Some("application/jsonx"), Some("application/x-www-form-urlencoded")]
        {
            send(path, other, b"{}".to_vec()).await.refused(415, "api.media_type");
        }
        let limit = if path.ends_with("batch") { 4 << 20 } else { 256 << 10 };
        let reply = send(path, Some("application/json"), vec![b' '; limit + 1]).await;
        reply.refused(413, "api.too_large");
    }
    for accepted in ["application/json; charset=utf-8", "Application/JSON"] {
        send("/v1/groups", Some(accepted), b"{}".to_vec()).await.names(&["name"]);
    }
    assert_eq!(world.kept().await, before);
}

#[tokio::test]
async fn routes_without_a_body_take_none() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let before = world.kept().await;
    world.post(&format!("/v1/endpoints/{acme}/pause"), json!({ "until": "x" })).await.names(&["until"]);
    world
        .call(Method::DELETE, "/v1/consumers/acme", &world.admin, Some(json!({ "x": 1 })))
        .await
        .names(&["x"]);
    assert_eq!(world.kept().await, before);
    world.post(&format!("/v1/endpoints/{acme}/pause"), json!({})).await.expect(200);
}
