//! Consumers, groups, event types and tokens.

use serde_json::{Value, json};

use super::super::world::World;
use super::{Row, bad_descriptions, bad_group_lists, bad_names, long, refuse_all};

#[tokio::test]
async fn consumers() {
    let (world, _) = World::furnished().await;
    let mut rows: Vec<Row> = Vec::new();
    for (name, words) in bad_names() {
        rows.push(("POST", "/v1/consumers".into(), json!({ "id": name }), &["id"], words));
    }
    for (method, path) in [("POST", "/v1/consumers"), ("PATCH", "/v1/consumers/acme")] {
        for (description, words) in bad_descriptions() {
            rows.push((method, path.into(), json!({ "description": description }), &["description"], words));
        }
        for (groups, fields, words) in bad_group_lists() {
            rows.push((method, path.into(), json!({ "groups": groups }), fields, words));
        }
        rows.push((method, path.into(), json!({ "nme": 1 }), &["nme"], "expected any of"));
        rows.push((
            method,
            path.into(),
            json!({ "created_at": "2026-01-01T00:00:00Z" }),
            &["created_at"],
            "no such field",
        ));
        rows.push((method, path.into(), json!([]), &[""], "expected an object, found an array"));
        rows.push((method, path.into(), json!("x"), &[""], "expected an object, found a string"));
    }
    rows.push(("PATCH", "/v1/consumers/acme".into(), json!({ "id": "other" }), &["id"], "no such field"));
    let many = json!({ "id": 5, "description": false, "groups": 7, "x": 1, "y": 2 });
    rows.push(("POST", "/v1/consumers".into(), many, &["id", "description", "groups", "x", "y"], "expected"));
    refuse_all(&world, rows).await;
}

#[tokio::test]
async fn groups_and_event_types() {
    let (world, _) = World::furnished().await;
    let mut rows: Vec<Row> = Vec::new();
    for (name, words) in bad_names() {
        rows.push(("POST", "/v1/groups".into(), json!({ "name": name }), &["name"], words));
    }
    for (description, words) in bad_descriptions() {
        let group = json!({ "name": "new", "description": description.clone() });
        rows.push(("POST", "/v1/groups".into(), group.clone(), &["description"], words));
        rows.push(("POST", "/v1/event-types".into(), group, &["description"], words));
        let path = "/v1/event-types/order.created".into();
        rows.push(("PATCH", path, json!({ "description": description }), &["description"], words));
    }
    for path in ["/v1/groups", "/v1/event-types"] {
        rows.push(("POST", path.into(), json!({}), &["name"], "required"));
        rows.push(("POST", path.into(), json!({ "name": null }), &["name"], "found null"));
        rows.push(("POST", path.into(), json!({ "name": "new", "extra": {} }), &["extra"], "no such field"));
    }
    for (groups, fields, words) in bad_group_lists() {
        let body = json!({ "name": "new", "groups": groups.clone() });
        rows.push(("POST", "/v1/event-types".into(), body, fields, words));
        rows.push((
            "PATCH",
            "/v1/event-types/order.created".into(),
            json!({ "groups": groups }),
            fields,
            words,
        ));
    }
    for (name, words) in [
        (json!(7), "expected a string, found a number"),
        (json!("order..created"), "an event type is"),
        (json!(".order"), "an event type is"),
        (json!("order created"), "an event type is"),
        (json!(long(129)), "an event type is"),
        (json!("javascript:alert(1)"), "an event type is"),
        (json!("http://a.example/t"), "an event type is"),
        (json!("waxseal.verification"), "reserved"),
        (json!("waxseal"), "reserved"),
    ] {
        rows.push(("POST", "/v1/event-types".into(), json!({ "name": name }), &["name"], words));
    }
    let path = "/v1/event-types/order.created".into();
    rows.push(("PATCH", path, json!({ "name": "other" }), &["name"], "no such field"));
    refuse_all(&world, rows).await;
}

#[tokio::test]
async fn tokens() {
    let (world, _) = World::furnished().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({ "scopes": ["read"] });
        body[field] = value;
        body
    };
    let table: Vec<(Value, &'static [&'static str], &'static str)> = vec![
        (json!({}), &["scopes"], "required"),
        (with("scopes", json!("read")), &["scopes"], "expected an array, found a string"),
        (with("scopes", json!([])), &["scopes"], "at least one"),
        (with("scopes", json!(["root"])), &["scopes[0]"], "expected one of `admin`"),
        (with("scopes", json!(["read", 1])), &["scopes[1]"], "found a number"),
        (with("scopes", json!(vec!["read"; 10])), &["scopes"], "at most 9"),
        (with("label", json!(1)), &["label"], "expected a string, found a number"),
        (with("label", json!(long(513))), &["label"], "at most 512"),
        (with("consumer", json!("none")), &["consumer"], "there is no consumer"),
        (with("consumer", json!("a b")), &["consumer"], "expected 1 to 64"),
        (with("expires_at", json!("soon")), &["expires_at"], "RFC 3339"),
        (with("expires_at", json!(1)), &["expires_at"], "in the future"),
        (with("token", json!("wxs_x")), &["token"], "no such field"),
        (with("sha256", json!("00")), &["sha256"], "no such field"),
    ];
    let rows =
        table.into_iter().map(|(body, fields, words)| ("POST", "/v1/tokens".into(), body, fields, words));
    refuse_all(&world, rows.collect()).await;
}
