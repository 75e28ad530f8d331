//! Events and batches of them.

use serde_json::{Value, json};

use super::super::world::World;
use super::{long, refuse_all};

#[tokio::test]
async fn events() {
    let (world, _) = World::furnished().await;
    let good = json!({ "type": "order.created", "data": { "n": 1 } });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let deep = (0..65).fold(json!(1), |inner, _| json!([inner]));
    let table: Vec<(Value, &'static [&'static str], &'static str)> = vec![
        (json!({}), &["type", "data"], "required"),
        (json!({ "type": "order.created" }), &["data"], "required"),
        (with("type", json!(4)), &["type"], "expected a string, found a number"),
        (with("type", json!("a b")), &["type"], "an event type is"),
        (with("type", json!("not.declared")), &["type"], "not a declared event type"),
        (with("data", deep), &["data"], "64"),
        (with("data", json!(long(128 * 1024))), &["data"], "at most 131072"),
        (with("data_base64", json!("AA==")), &["data"], "not both"),
        (json!({ "type": "order.created", "data_base64": "AA==" }), &["datacontenttype"], "required"),
        (json!({ "type": "order.created", "datacontenttype": "a/b" }), &["data_base64"], "required"),
        (
            json!({ "type": "order.created", "datacontenttype": "a/b", "data_base64": "A" }),
            &["data_base64"],
            "expected base64",
        ),
        (
            json!({ "type": "order.created", "datacontenttype": "a/b", "data_base64": 1 }),
            &["data_base64"],
            "expected a string, found a number",
        ),
        (
            json!({ "type": "order.created", "datacontenttype": "\r\n", "data_base64": "AA==" }),
            &["data_base64"],
            "",
        ),
        (with("to", json!("everybody")), &["to"], "expected \"all\""),
        (with("to", json!(5)), &["to"], "expected an object, found a number"),
        (with("to", json!({})), &["to"], "expected \"all\""),
        (with("to", json!({ "consumer": "acme", "group": "gold" })), &["to"], "expected \"all\""),
        (with("to", json!({ "consumer": 1 })), &["to.consumer"], "expected a string, found a number"),
        (with("to", json!({ "consumer": "none" })), &["to"], "there is no consumer `none`"),
        (with("to", json!({ "consumers": [] })), &["to.consumers"], "at least one"),
        (with("to", json!({ "consumers": ["acme", 1] })), &["to.consumers[1]"], "found a number"),
        (with("to", json!({ "consumers": ["acme", "none"] })), &["to"], "there is no consumer `none`"),
        (with("to", json!({ "group": "none" })), &["to.group"], "there is no group `none`"),
        (with("to", json!({ "group": "" })), &["to.group"], "expected 1 to 64"),
        (with("to", json!({ "consumer": "acme", "x": 1 })), &["to.x"], "no such field"),
        (with("id", json!(1)), &["id"], "expected a string, found a number"),
        (with("id", json!("")), &["id"], "expected 1 to 256 bytes"),
        (with("id", json!(long(257))), &["id"], "expected 1 to 256 bytes"),
        (with("id", json!("a\nb")), &["id"], "control characters"),
        (with("occurred_at", json!("yesterday")), &["occurred_at"], "RFC 3339"),
        (with("occurred_at", json!(-1)), &["occurred_at"], "RFC 3339"),
        (with("occurred_at", json!(1.5)), &["occurred_at"], "RFC 3339"),
        (with("occurred_at", json!([])), &["occurred_at"], "found an array"),
        (with("occurred_at", json!("1969-12-31T23:59:59Z")), &["occurred_at"], "from 1970 on"),
        (with("occurred_at", json!("2026-11-23T09:00:00Z")), &["occurred_at"], "one day ahead"),
        (with("expires_at", json!("tomorrow")), &["expires_at"], "RFC 3339"),
        (with("expires_at", json!(true)), &["expires_at"], "found a boolean"),
        (with("expires_at", json!("2026-11-21T20:39:58Z")), &["expires_at"], "in the future"),
        (with("expires_at", json!("2026-12-21T20:39:59Z")), &["expires_at"], "at most 30 days ahead"),
        (with("expires_at", json!("9999-12-31T23:59:59Z")), &["expires_at"], "at most 30 days ahead"),
        (
            with("ttl_seconds", json!("60")),
            &["ttl_seconds"],
            "expected a whole number of seconds, found a string",
        ),
        (with("ttl_seconds", json!(0)), &["ttl_seconds"], "from 1 to 2592000"),
        (with("ttl_seconds", json!(-5)), &["ttl_seconds"], "from 1 to 2592000"),
        (with("ttl_seconds", json!(1.5)), &["ttl_seconds"], "from 1 to 2592000"),
        (with("ttl_seconds", json!(2_592_001)), &["ttl_seconds"], "from 1 to 2592000"),
        (with("ttl_seconds", json!(1e300)), &["ttl_seconds"], "from 1 to 2592000"),
        (
            json!({ "type": "order.created", "data": 1, "ttl_seconds": 60, "expires_at": "2026-11-22T00:00:00Z" }),
            &["ttl_seconds"],
            "not both",
        ),
        (with("iss", json!("https://evil.example")), &["iss"], "no such field"),
        (with("jti", json!("x")), &["jti"], "no such field"),
    ];
    let rows =
        table.into_iter().map(|(body, fields, words)| ("POST", "/v1/events".into(), body, fields, words));
    refuse_all(&world, rows.collect()).await;

    let invisible = json!({ "type": "gold.only", "data": 1, "to": { "consumer": "beta" } });
    world.post("/v1/events", invisible).await.names(&["to"]);
}

#[tokio::test]
async fn batches() {
    let (world, _) = World::furnished().await;
    let path = || "/v1/events/batch".to_owned();
    let event = json!({ "type": "order.created", "data": 1 });
    refuse_all(
        &world,
        vec![
            ("POST", path(), json!({}), &["events"], "required"),
            ("POST", path(), json!({ "events": {} }), &["events"], "expected an array"),
            ("POST", path(), json!({ "events": [] }), &["events"], "expected 1 to 100 events, found 0"),
            ("POST", path(), json!({ "events": vec![&event; 101] }), &["events"], "found 101"),
            ("POST", path(), json!({ "events": [event], "more": 1 }), &["more"], "no such field"),
            ("POST", path(), json!([]), &[""], "expected an object, found an array"),
        ],
    )
    .await;
}
