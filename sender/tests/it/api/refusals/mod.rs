//! Bad input, by table: each field with a wrong type, missing, unknown, too long, hostile. Each refusal names the
//! field, says what was expected, and leaves everything as it was.

mod authentication;
mod configuration;
mod endpoints;
mod flow;
mod requests;

use serde_json::{Value, json};

use super::world::World;

/// Method, path, body, the fields at fault, and words that the first detail must hold.
type Row = (&'static str, String, Value, &'static [&'static str], &'static str);

async fn refuse_all(world: &World, rows: Vec<Row>) {
    let before = world.kept().await;
    for (method, path, body, fields, words) in rows {
        let reply = world.call(method.parse().unwrap(), &path, &world.admin, Some(body.clone())).await;
        assert_eq!(reply.status, 400, "{method} {path} {body}: {}", reply.text);
        let problem = reply.names(fields);
        let details: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|e| &e["detail"]).collect();
        let said = details.iter().any(|detail| detail.as_str().unwrap().contains(words));
        assert!(said, "{method} {path} {body}: expected `{words}` in {details:?}");
    }
    assert_eq!(world.kept().await, before, "a refused request changed something");
    assert!(world.engine.arrived.lock().unwrap().is_empty());
}

fn long(length: usize) -> String {
    "x".repeat(length)
}

/// Everything that no name may be: of a consumer, a group.
fn bad_names() -> Vec<(Value, &'static str)> {
    vec![
        (json!(1), "expected a string, found a number"),
        (json!(true), "expected a string, found a boolean"),
        (json!([]), "expected a string, found an array"),
        (json!({}), "expected a string, found an object"),
        (json!(""), "expected 1 to 64 characters"),
        (json!(long(65)), "expected 1 to 64 characters"),
        (json!("a b"), "expected 1 to 64 characters"),
        (json!("a/../b"), "expected 1 to 64 characters"),
        (json!("a\u{0}"), "expected 1 to 64 characters"),
        (json!("'; DROP TABLE events; --"), "expected 1 to 64 characters"),
        (json!("<script>"), "expected 1 to 64 characters"),
        (json!("ämter"), "expected 1 to 64 characters"),
    ]
}

fn bad_descriptions() -> Vec<(Value, &'static str)> {
    vec![
        (json!(1), "expected a string, found a number"),
        (json!(["x"]), "expected a string, found an array"),
        (json!(long(513)), "at most 512 characters"),
        (json!("a\u{1b}[31m"), "no control characters"),
    ]
}

fn bad_group_lists() -> Vec<(Value, &'static [&'static str], &'static str)> {
    vec![
        (json!("gold"), &["groups"], "expected an array, found a string"),
        (json!(["gold", 1]), &["groups[1]"], "expected a string, found a number"),
        (json!(["a b", "", "gold"]), &["groups[0]", "groups[1]"], "expected 1 to 64 characters"),
        (json!(["none"]), &["groups"], "there is no group `none`"),
        (json!(vec!["gold"; 257]), &["groups"], "expected at most 256 items, found 257"),
    ]
}

fn leak(field: &str) -> &'static [&'static str] {
    vec![&*field.to_owned().leak()].leak()
}
