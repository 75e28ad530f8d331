//! Endpoints and encryption keys.

use serde_json::{Value, json};

use super::super::world::{Furniture, World, encryption_jwk};
use super::{Row, bad_descriptions, bad_names, leak, long, refuse_all};

#[tokio::test]
async fn endpoints() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let good = json!({ "consumer": "acme", "url": "https://a.example/h", "event_types": ["*"], "protection": "signed" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let mut rows: Vec<Row> = Vec::new();
    for field in ["consumer", "url", "event_types", "protection"] {
        let mut body = good.clone();
        body.as_object_mut().unwrap().remove(field);
        rows.push(("POST", "/v1/endpoints".into(), body, leak(field), "required"));
    }
    for (name, words) in bad_names() {
        rows.push(("POST", "/v1/endpoints".into(), with("consumer", name), &["consumer"], words));
    }
    rows.push((
        "POST",
        "/v1/endpoints".into(),
        with("consumer", json!("none")),
        &["consumer"],
        "there is no consumer",
    ));
    let path = format!("/v1/endpoints/{acme}");
    let mut both = |field: &str, value: Value, fields: &'static [&'static str], words: &'static str| {
        rows.push(("POST", "/v1/endpoints".into(), with(field, value.clone()), fields, words));
        rows.push(("PATCH", path.clone(), json!({ field: value }), fields, words));
    };
    for (url, words) in [
        (json!(5), "expected a string, found a number"),
        (json!(""), "expected an absolute https URL"),
        (json!("hook"), "expected an absolute https URL"),
        (json!("https:a.example"), "expected an absolute https URL"),
        (json!("https://a.example/ b"), "without white space"),
        (json!("https://a.example/\u{7}"), "without white space"),
        (json!("https://a.example/#frag"), "without a fragment"),
        (json!("https://user:pass@a.example/"), "user name or password"),
        (json!("http://a.example/"), "https"),
        (json!("ftp://a.example/"), "https"),
        (json!("https://127.0.0.1/"), "not a public address"),
        (json!("https://169.254.169.254/latest"), "not a public address"),
        (json!("https://[::1]/"), "not a public address"),
        (json!("https://0x7f000001/"), "not a public address"),
        (json!(format!("https://a.example/{}", long(2_048))), "at most 2048"),
    ] {
        both("url", url, &["url"], words);
    }
    for (protection, words) in [
        (json!(true), "expected a string, found a boolean"),
        (json!("none"), "expected `signed` or `sealed`"),
        (json!("SEALED"), "expected `signed` or `sealed`"),
    ] {
        both("protection", protection, &["protection"], words);
    }
    for (types, fields, words) in [
        (json!("*"), &["event_types"] as &[_], "expected an array, found a string"),
        (json!([]), &["event_types"], "at least one"),
        (json!(["*", "order.created"]), &["event_types"], "\"*\" alone"),
        (json!(["order.created", 7]), &["event_types[1]"], "expected a string, found a number"),
        (json!(["order..created"]), &["event_types[0]"], "an event type is"),
        (json!(["not.declared"]), &["event_types"], "is not an event type that consumer `acme` may see"),
        (json!(vec!["order.created"; 257]), &["event_types"], "at most 256 items"),
    ] {
        both("event_types", types, fields, words);
    }
    for (audience, words) in [
        (json!(1), "expected a string, found a number"),
        (json!(""), "an audience is"),
        (json!(long(257)), "an audience is"),
        (json!("a b"), "an audience is"),
    ] {
        both("audience", audience, &["audience"], words);
    }
    for (description, words) in bad_descriptions() {
        both("description", description, &["description"], words);
    }
    for (limit, fields, words) in [
        (json!(5), &["rate_limit"] as &'static [&'static str], "expected an object, found a number"),
        (json!({}), &["rate_limit.per_second"], "required"),
        (json!({ "per_second": "5" }), &["rate_limit.per_second"], "expected a number of POSTs a second"),
        (json!({ "per_second": 0 }), &["rate_limit.per_second"], "from 1/60 to 10000"),
        (json!({ "per_second": 0.016 }), &["rate_limit.per_second"], "from 1/60 to 10000"),
        (json!({ "per_second": 1e300 }), &["rate_limit.per_second"], "from 1/60 to 10000"),
        (json!({ "per_second": 1, "burst": 0 }), &["rate_limit.burst"], "from 1 to 10000"),
        (json!({ "per_second": 1, "burst": 1.5 }), &["rate_limit.burst"], "a whole number"),
        (json!({ "per_second": 1, "burst": 10_001 }), &["rate_limit.burst"], "from 1 to 10000"),
        (json!({ "per_second": 1, "per_minute": 1 }), &["rate_limit.per_minute"], "no such field"),
    ] {
        both("rate_limit", limit, fields, words);
    }
    for concurrency in [json!(0), json!(65), json!(-1), json!(2.5), json!("4"), json!(true)] {
        both("concurrency", concurrency, &["concurrency"], "expected a whole number from 1 to 64");
    }
    for (order, words) in [(json!("lifo"), "expected `any` or `fifo`"), (json!(true), "expected a string")] {
        both("order", order, &["order"], words);
    }
    for (time, words) in [
        (json!(5), "expected a string, found a number"),
        (json!("soon"), "expected a duration"),
        (json!("0s"), "from \"1h\""),
        (json!("59m"), "from \"1h\""),
        (json!("366d"), "to \"365d\""),
        (json!("Never"), "or \"never\""),
    ] {
        both("disable_after", time, &["disable_after"], words);
    }
    both("health", json!({}), &["health"], "no such field");
    for (retry, fields, words) in [
        (json!("5s"), &["retry"] as &[_], "expected an object, found a string"),
        (json!([5]), &["retry"], "expected an object, found an array"),
        (json!({}), &["retry.schedule_seconds"], "required"),
        (json!({ "schedule_seconds": 5 }), &["retry.schedule_seconds"], "expected an array, found a number"),
        (json!({ "schedule_seconds": [5, "x"] }), &["retry.schedule_seconds[1]"], "found a string"),
        (
            json!({ "schedule_seconds": [1.5] }),
            &["retry.schedule_seconds[0]"],
            "whole seconds from 1 to 604800",
        ),
        (json!({ "schedule_seconds": [0] }), &["retry.schedule_seconds"], "whole seconds from 1 to 604800"),
        (json!({ "schedule_seconds": [604_801] }), &["retry.schedule_seconds"], "from 1 to 604800"),
        (json!({ "schedule_seconds": [-1] }), &["retry.schedule_seconds[0]"], "from 1 to 604800"),
        (json!({ "schedule_seconds": vec![1; 31] }), &["retry.schedule_seconds"], "at most 30 items"),
        (json!({ "schedule_seconds": vec![604_800; 5] }), &["retry.schedule_seconds"], "30 days"),
        (json!({ "schedule_seconds": [5], "jitter": 1.1 }), &["retry.jitter"], "from 0 to 1"),
        (json!({ "schedule_seconds": [5], "jitter": -0.1 }), &["retry.jitter"], "from 0 to 1"),
        (json!({ "schedule_seconds": [5], "jitter": "0.2" }), &["retry.jitter"], "found a string"),
        (json!({ "schedule_seconds": [5], "max": 3 }), &["retry.max"], "no such field"),
    ] {
        both("retry", retry, fields, words);
    }
    both("id", json!("ep_1"), &["id"], "no such field");
    both("status", json!("active"), &["status"], "no such field");
    for field in ["url", "protection"] {
        rows.push(("PATCH", path.clone(), json!({ field: null }), leak(field), "cannot be cleared"));
    }
    rows.push(("PATCH", path.clone(), json!({ "consumer": "beta" }), &["consumer"], "no such field"));
    let cancel = format!("{path}/cancel");
    for (body, fields, words) in [
        (json!([]), &[""] as &[_], "expected an object"),
        (json!({ "event_types": "order.created" }), &["event_types"], "expected an array"),
        (json!({ "event_types": ["a b"] }), &["event_types[0]"], "an event type is"),
        (json!({ "since": "yesterday", "until": false }), &["since", "until"], "RFC 3339"),
        (json!({ "after": "ep_1" }), &["after"], "dlv_"),
        (json!({ "states": ["pending"] }), &["states"], "no such field"),
    ] {
        rows.push(("POST", cancel.clone(), body, fields, words));
    }
    let recover = format!("{path}/recover");
    let since = "2026-11-21T00:00:00Z";
    for (body, fields, words) in [
        (json!({}), &["since"] as &[_], "required"),
        (json!({ "since": "yesterday" }), &["since"], "RFC 3339"),
        (json!({ "since": "2027-01-01T00:00:00Z" }), &["since"], "before `until`"),
        (json!({ "since": since, "until": since }), &["since"], "before `until`"),
        (json!({ "since": since, "until": [] }), &["until"], "found an array"),
        (json!({ "since": since, "states": "exhausted" }), &["states"], "expected an array"),
        (json!({ "since": since, "states": [] }), &["states"], "at least one"),
        (json!({ "since": since, "states": ["delivered"] }), &["states[0]"], "`cancelled`"),
        (json!({ "since": since, "states": ["exhausted", "pending"] }), &["states[1]"], "`cancelled`"),
        (json!({ "since": since, "event_types": ["a b"] }), &["event_types[0]"], "an event type is"),
        (json!({ "since": since, "rate": 0 }), &["rate"], "from 1 to 500"),
        (json!({ "since": since, "rate": 501 }), &["rate"], "from 1 to 500"),
        (json!({ "since": since, "rate": 1.5 }), &["rate"], "from 1 to 500"),
        (json!({ "since": since, "rate": "fast" }), &["rate"], "found a string"),
        (json!({ "since": since, "filter": {} }), &["filter"], "no such field"),
    ] {
        rows.push(("POST", recover.clone(), body, fields, words));
    }
    rows.push(("PATCH", path, json!({ "event_types": ["gold.only", "none"] }), &["event_types"], "`none`"));
    refuse_all(&world, rows).await;
}

#[tokio::test]
async fn encryption_keys() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let key = encryption_jwk();
    let other = |member: &str, value: Value| {
        let mut key = key.clone();
        key[member] = value;
        json!([key])
    };
    let twice = json!([key, key]);
    let mut same_kid = [encryption_jwk(), encryption_jwk()];
    same_kid.iter_mut().for_each(|key| key["kid"] = json!("k"));
    let sets: Vec<(Value, &'static str, &'static str)> = vec![
        (json!([]), "jwks.keys", "expected 1 to 32 keys, found 0"),
        (json!(vec![&key; 33]), "jwks.keys", "expected 1 to 32 keys, found 33"),
        (json!("x"), "jwks.keys", "found a string"),
        (json!(["x"]), "jwks.keys[0]", ""),
        (json!([{}]), "jwks.keys[0]", ""),
        (twice, "jwks.keys[1]", "twice"),
        (json!(same_kid), "jwks.keys[1]", "same `kid`"),
        (other("d", json!("AQ")), "jwks.keys[0]", "compromised"),
        (other("use", json!("sig")), "jwks.keys[0]", ""),
        (other("crv", json!("P-521")), "jwks.keys[0]", ""),
        (other("x", json!("AAAA")), "jwks.keys[0]", ""),
        (other("alg", json!("RSA-OAEP")), "jwks.keys[0]", ""),
        (other("alg", json!("ES256")), "jwks.keys[0]", ""),
        (json!([{ "kty": "oct", "k": "AAAA" }]), "jwks.keys[0]", ""),
    ];
    let mut sources: Vec<(Value, &'static [&'static str], &'static str)> = sets
        .into_iter()
        .map(|(keys, field, words)| (json!({ "jwks": { "keys": keys } }), leak(field), words))
        .collect();
    sources.extend([
        (json!({}), &["jwks"] as &[_], "required"),
        (json!({ "jwks": {} }), &["jwks.keys"], "required"),
        (json!({ "jwks": [] }), &["jwks"], "a JWK Set"),
        (json!({ "jwks": { "keys": [key] }, "jwks_uri": "https://a.example/k" }), &["jwks_uri"], "not both"),
        (json!({ "jwks": { "keys": [key] }, "admission": "approve" }), &["admission"], "no such field"),
        (json!({ "jwks_uri": 5 }), &["jwks_uri"], "expected a string, found a number"),
        (json!({ "jwks_uri": "http://a.example/k" }), &["jwks_uri"], "https"),
        (json!({ "jwks_uri": "https://10.0.0.1/k" }), &["jwks_uri"], "not a public address"),
        (
            json!({ "jwks_uri": "https://a.example/k", "admission": "always" }),
            &["admission"],
            "`approve` or `automatic`",
        ),
        (json!({ "jwks_uri": "https://a.example/k", "keys": [] }), &["keys"], "no such field"),
    ]);
    let mut rows: Vec<Row> = Vec::new();
    for (source, fields, words) in sources {
        for path in ["/v1/consumers/acme".to_owned(), format!("/v1/endpoints/{acme}")] {
            rows.push(("PUT", format!("{path}/encryption-keys"), source.clone(), fields, words));
        }
        let nested: Vec<&str> =
            fields.iter().map(|field| &*format!("encryption_keys.{field}").leak()).collect();
        let body = json!({
            "consumer": "acme", "url": "https://a.example/h", "event_types": ["*"], "protection": "sealed",
            "encryption_keys": source,
        });
        rows.push(("POST", "/v1/endpoints".into(), body, nested.leak(), words));
    }
    refuse_all(&world, rows).await;
}
