//! Which fields of a configured thing differ, told without what nobody may read.
//!
//! Guarantees that the value of a field is told only if the field is in [`HARMLESS`]: one that is added to the model is
//! told by its name until somebody decides otherwise. Nothing is copied out of the serialised things but such values.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The members of a JSON object, each as it is written there.
type Members<'a> = BTreeMap<&'a str, &'a RawValue>;

/// The fields in which two forms of a thing differ; all that it has, if there is but one form.
pub(crate) fn changed(before: Option<&[u8]>, after: Option<&[u8]>) -> BTreeMap<String, Value> {
    let (before, after) = (members(before), members(after));
    let names = before.keys().chain(after.keys()).filter(|name| !UNTOLD.contains(*name));
    let differing = names.filter(|name| text(&before, name) != text(&after, name));
    differing.map(|name| ((*name).to_owned(), told(name, &before, &after))).collect()
}

fn members(json: Option<&[u8]>) -> Members<'_> {
    json.and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

/// As it is written; what is null is not there.
fn text<'a>(members: &Members<'a>, name: &str) -> Option<&'a str> {
    members.get(name).map(|value| value.get()).filter(|text| *text != "null")
}

fn told(name: &str, before: &Members<'_>, after: &Members<'_>) -> Value {
    let value = |members: &Members<'_>| {
        let text = text(members, name).unwrap_or("null");
        let value = serde_json::from_str(text).unwrap_or_default();
        if name == KEYS { thumbprints(&value) } else { value }
    };
    if HARMLESS.contains(&name) || name == KEYS {
        json!({ "before": value(before), "after": value(after) })
    } else {
        Value::Null
    }
}

/// Of a set of encryption keys: which, and which of them are admitted.
fn thumbprints(keys: &Value) -> Value {
    let Some(keys) = keys.as_array() else { return Value::Null };
    let told = keys
        .iter()
        .map(|key| json!({ "thumbprint": key["thumbprint"], "admitted": !key["admitted_at"].is_null() }));
    Value::Array(told.collect())
}

/// Fields whose values tell nothing but how the sender behaves: states, names of types and groups, limits, times.
const HARMLESS: [&str; 15] = [
    "audience",
    "consumer",
    "endpoint",
    "event_types",
    "expires_at",
    "groups",
    "pace",
    "protection",
    "retry",
    "scopes",
    "since",
    "state",
    "status",
    "until",
    "visible_to",
];

/// The public keys of a set, told by their thumbprints.
const KEYS: &str = "keys";

/// What never changes, or is the object itself.
const UNTOLD: [&str; 6] = ["created_at", "id", "live", "name", "owner", "sha256"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differing_fields_are_named_and_only_harmless_values_told() {
        let before = br#"{"id":"ep_1","url":"https://a.example/?key=hunter2","status":{"state":"active"},"description":null,
            "authentication":{"bearer":{"token":"hunter2"}},"protection":"sealed","a_new_one":1}"#;
        let after = br#"{"id":"ep_1","url":"https://b.example/?key=hunter3","status":{"state":"paused"},"description":"hunter4",
            "protection":"sealed","a_new_one":2}"#;
        let found = changed(Some(before), Some(after));
        let status = json!({ "before": { "state": "active" }, "after": { "state": "paused" } });
        let expected = [
            ("a_new_one", Value::Null),
            ("authentication", Value::Null),
            ("description", Value::Null),
            ("status", status),
            ("url", Value::Null),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value)).into());
        assert!(changed(Some(before), Some(before)).is_empty());
        let created = changed(None, Some(after));
        assert_eq!(created["protection"], json!({ "before": null, "after": "sealed" }));
        assert!(!created.contains_key("id") && !created.contains_key("authentication"));
        assert!(!format!("{found:?}{created:?}").contains("hunter"));
    }

    #[test]
    fn keys_are_told_by_their_thumbprints() {
        let set = br#"{"owner":{"consumer":"acme"},"source":{"from":"uri","jwks_uri":"https://a.example/jwks?key=hunter2"},
            "keys":[{"thumbprint":"abc","jwk":{"kty":"EC"},"first_seen":1,"admitted_at":null}]}"#;
        let found = changed(None, Some(set));
        let keys = json!({ "before": null, "after": [{ "thumbprint": "abc", "admitted": false }] });
        assert_eq!(found, [("keys".to_owned(), keys), ("source".to_owned(), Value::Null)].into());
    }
}
