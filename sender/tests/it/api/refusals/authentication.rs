//! Authentication of endpoints and of their servers.

use serde_json::{Value, json};

use super::super::endpoint_auth::pem;
use super::super::world::{Furniture, World};
use super::{Row, leak, long, refuse_all};

type Bad = (Value, &'static str, &'static str);

/// On creation and on change alike.
async fn refuse(member: &str, bad: Vec<Bad>) {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let mut rows: Vec<Row> = Vec::new();
    for (value, field, words) in bad {
        let field = leak(format!("{member}.{field}").trim_end_matches('.'));
        let mut whole = json!({
            "consumer": "acme", "url": "https://a.example/h", "event_types": ["*"], "protection": "signed",
        });
        whole[member] = value.clone();
        rows.push(("POST", "/v1/endpoints".into(), whole, field, words));
        rows.push(("PATCH", format!("/v1/endpoints/{acme}"), json!({ member: value }), field, words));
    }
    refuse_all(&world, rows).await;
}

#[tokio::test]
async fn forms_as_such() {
    let basic = json!({ "username": "u", "password": "p" });
    let bearer = json!({ "token": "t" });
    let key = json!({ "header": "Authorization", "value": "Key abc" });
    refuse(
        "authentication",
        vec![
            (json!("none"), "", "expected an object, found a string"),
            (json!([]), "", "expected an object, found an array"),
            (json!({ "digest": {} }), "digest", "no such field"),
            (json!({ "basic": "u:p" }), "basic", "expected an object, found a string"),
            (json!({ "basic": basic, "bearer": bearer }), "", "`basic` and `bearer` both fill"),
            (json!({ "basic": basic, "api_key": key }), "", "`api_key` and `basic` both fill"),
        ],
    )
    .await;
}

#[tokio::test]
async fn headers() {
    let mut bad: Vec<Bad> = vec![
        (json!({ "headers": [] }), "headers", "expected an object of names and values, found an array"),
        (json!({ "headers": { "x-a": 1 } }), "headers.x-a", "expected a string, found a number"),
        (json!({ "headers": { "x-a": null } }), "headers.x-a", "expected a string, found null"),
        (json!({ "headers": { "X-A": "1", "x-a": "2" } }), "headers.x-a", "given twice"),
        (json!({ "headers": { "": "1" } }), "headers", "expected a header name"),
        (json!({ "headers": { "x a": "1" } }), "headers.x a", "expected a header name"),
        (json!({ "headers": { "x-a:": "1" } }), "headers.x-a:", "expected a header name"),
        (json!({ "headers": { "x-a\r\nb": "1" } }), "headers.x-ab", "expected a header name"),
        (json!({ "headers": { "x-ä": "1" } }), "headers.x-ä", "expected a header name"),
    ];
    for name in [
        "Host",
        "Content-Type",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Upgrade",
        "Accept-Encoding",
        "Expect",
        "Date",
        "Proxy-Authorization",
        "Sec-Fetch-Mode",
        "Keep-Alive",
        "Trailer",
        "Cookie",
        "Authorization",
        "X-Forwarded-For",
        "User-Agent",
        "Metadata-Flavor",
        "X-HTTP-Method-Override",
    ] {
        bad.push((json!({ "headers": { name: "x" } }), leak(&format!("headers.{name}"))[0], "cannot be set"));
    }
    for value in ["", " x", "x ", "a\r\nHost: b", "a\nb", "a\u{0}", "a\u{7f}", "ä", &long(4_097)] {
        bad.push((json!({ "headers": { "x-a": value } }), "headers.x-a", "visible ASCII"));
    }
    let many: serde_json::Map<_, _> = (0..17).map(|n| (format!("x-{n}"), json!("v"))).collect();
    bad.push((json!({ "headers": many }), "headers", "expected at most 16 headers, found 17"));
    let large = json!({ "x-a": long(4_000), "x-b": long(4_000), "x-c": long(400) });
    bad.push((json!({ "headers": large }), "headers", "at most 8192 bytes"));
    let key = |header: &str, value: &str| json!({ "api_key": { "header": header, "value": value } });
    bad.extend([
        (key("Host", "x"), "api_key.header", "cannot be set"),
        (key("", "x"), "api_key.header", "expected a header name"),
        (key("x-key", "a\r\nb"), "api_key.value", "visible ASCII"),
        (json!({ "api_key": { "header": "x-key" } }), "api_key.value", "required"),
        (json!({ "api_key": { "value": "x" } }), "api_key.header", "required"),
        (
            json!({ "api_key": { "header": "x-k", "value": "x", "in": "query" } }),
            "api_key.in",
            "no such field",
        ),
        (
            json!({ "api_key": { "header": "X-Key", "value": "x" }, "headers": { "x-key": "y" } }),
            "headers",
            "is the header of `api_key`",
        ),
    ]);
    refuse("authentication", bad).await;
}

#[tokio::test]
async fn basic_bearer_and_oauth2() {
    let basic =
        |username: Value, password: Value| json!({ "basic": { "username": username, "password": password } });
    let bearer = |token: Value| json!({ "bearer": { "token": token } });
    let oauth2 = |member: &str, value: Value| {
        let mut oauth2 =
            json!({ "token_url": "https://login.example/t", "client_id": "c", "client_secret": "s" });
        if value.is_null() {
            oauth2.as_object_mut().unwrap().remove(member);
        } else {
            oauth2[member] = value;
        }
        json!({ "oauth2": oauth2 })
    };
    let jwt = |member: &str, value: Value| {
        let mut oauth2 = json!({
            "token_url": "https://login.example/t", "client_id": "c", "client_authentication": "private_key_jwt",
        });
        oauth2[member] = value;
        json!({ "oauth2": oauth2 })
    };
    refuse(
        "authentication",
        vec![
            (basic(json!("a:b"), json!("p")), "basic.username", "without a colon"),
            (basic(json!(""), json!("p")), "basic.username", "expected 1 to 255 bytes"),
            (basic(json!("u"), json!("p\n")), "basic.password", "control characters"),
            (basic(json!("u"), json!(5)), "basic.password", "found a number"),
            (json!({ "basic": { "username": "u" } }), "basic.password", "required"),
            (bearer(json!("")), "bearer.token", "visible ASCII"),
            (bearer(json!("Bearer t")), "bearer.token", "without the word"),
            (bearer(json!("t\r\n")), "bearer.token", "visible ASCII"),
            (bearer(json!(long(4_097))), "bearer.token", "1 to 4096"),
            (json!({ "bearer": {} }), "bearer.token", "required"),
            (oauth2("token_url", Value::Null), "oauth2.token_url", "required"),
            (oauth2("token_url", json!("http://login.example/t")), "oauth2.token_url", "https"),
            (oauth2("token_url", json!("https://127.0.0.1/t")), "oauth2.token_url", "not a public address"),
            (
                oauth2("token_url", json!("https://169.254.169.254/t")),
                "oauth2.token_url",
                "not a public address",
            ),
            (
                oauth2("token_url", json!("https://u:p@a.example/t")),
                "oauth2.token_url",
                "user name or password",
            ),
            (oauth2("client_id", Value::Null), "oauth2.client_id", "required"),
            (oauth2("client_id", json!("a\nb")), "oauth2.client_id", "printable"),
            (oauth2("client_secret", Value::Null), "oauth2.client_secret", "required"),
            (oauth2("client_secret", json!("")), "oauth2.client_secret", "printable"),
            (
                oauth2("client_authentication", json!("none")),
                "oauth2.client_authentication",
                "`private_key_jwt`",
            ),
            (oauth2("scope", json!("")), "oauth2.scope", "single spaces"),
            (oauth2("scope", json!("a  b")), "oauth2.scope", "single spaces"),
            (oauth2("scope", json!("a\"b")), "oauth2.scope", "single spaces"),
            (oauth2("audience", json!("a\u{7}")), "oauth2.audience", "printable"),
            (oauth2("ca_certificates", json!("x")), "oauth2.ca_certificates", "certificates in PEM form"),
            (
                oauth2("assertion_audience", json!("https://login.example")),
                "oauth2.assertion_audience",
                "alone",
            ),
            (oauth2("grant_type", json!("password")), "oauth2.grant_type", "no such field"),
            (jwt("client_secret", json!("s")), "oauth2.client_secret", "takes none"),
            (
                jwt("assertion_audience", json!("https://other.example")),
                "oauth2.assertion_audience",
                "worthless",
            ),
            (jwt("assertion_audience", json!("other")), "oauth2.assertion_audience", "worthless"),
        ],
    )
    .await;
}

#[tokio::test]
async fn certificates_and_pins() {
    let (ours, other) = (pem(), pem());
    let uploaded = |certificate: &str, key: &str| json!({ "client_certificate": { "source": "uploaded", "certificate": certificate, "private_key": key } });
    let with_key = format!("{}{}", ours.certificate, ours.key);
    refuse(
        "authentication",
        vec![
            (json!({ "client_certificate": {} }), "client_certificate.source", "required"),
            (
                json!({ "client_certificate": { "source": "acme" } }),
                "client_certificate.source",
                "`own` or `uploaded`",
            ),
            (
                json!({ "client_certificate": { "source": "own", "private_key": "x" } }),
                "client_certificate.private_key",
                "no such field",
            ),
            (uploaded("x", &ours.key), "client_certificate.certificate", "certificates in PEM form"),
            (uploaded(&with_key, &ours.key), "client_certificate.certificate", "compromised"),
            (uploaded(&ours.certificate, "x"), "client_certificate.private_key", "unencrypted private key"),
            (uploaded(&ours.certificate, &other.key), "client_certificate.private_key", "does not belong"),
        ],
    )
    .await;
    let (one, two) = (
        "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    );
    refuse(
        "server_authentication",
        vec![
            (json!("x"), "", "expected an object"),
            (json!({ "verify": false }), "verify", "no such field"),
            (json!({ "ca_certificates": 5 }), "ca_certificates", "found a number"),
            (json!({ "ca_certificates": "" }), "ca_certificates", "certificates in PEM form"),
            (json!({ "ca_certificates": with_key }), "ca_certificates", "compromised"),
            (json!({ "pins": one }), "pins", "expected an array"),
            (json!({ "pins": [one] }), "pins", "at least two"),
            (json!({ "pins": [one, one] }), "pins", "at least two different"),
            (json!({ "pins": [one, "x"] }), "pins[1]", "expected `sha256/`"),
            (json!({ "pins": [one, two, 5] }), "pins[2]", "found a number"),
        ],
    )
    .await;
}
