//! Attacks through signed claims: a signer that is hostile, or a token that was meant for somebody else.

use serde_json::{Value, json};
use waxseal_envelope::{ClaimsError, OpenError};

use crate::forge::{
    ES256, P256, Parts, X25519, claims, claims_with, header, open, open_with, refused, sign, signed,
};

fn with(name: &str, value: Value) -> OpenError {
    refused(&sign(&ES256, header(&ES256), claims_with(name, value)))
}

fn raw(name: &str, json: &str) -> OpenError {
    let claims = claims_with(name, json!("REPLACED")).replace("\"REPLACED\"", json);
    refused(&sign(&ES256, header(&ES256), claims))
}

#[test]
fn row_30_surreptitious_forwarding() {
    // Another consumer decrypts what it got and encrypts the signed token to us.
    let for_evil = sign(&ES256, header(&ES256), claims_with("aud", "evil".into()));
    assert_eq!(refused(&Parts::new(&P256, &for_evil).token()), OpenError::Audience);
    for aud in ["Acme", "acme ", "acm", "acme2", ""] {
        assert_eq!(with("aud", aud.into()), OpenError::Audience, "{aud}");
    }
}

#[test]
fn row_31_outer_claims_that_disagree() {
    for (member, honest) in [("iss", "https://h.example"), ("aud", "acme")] {
        let mut sealed = Parts::new(&P256, &signed());
        sealed.header[member] = honest.into();
        assert!(open(&sealed.token()).is_ok());
        sealed.header[member] = "https://other.example".into();
        assert!(matches!(refused(&sealed.token()), OpenError::Outer { member: m } if m == member));
        sealed.header[member] = json!([honest]);
        let reason = refused(&sealed.token());
        assert!(
            matches!(reason, OpenError::Header(waxseal_envelope::HeaderError::Value { member: m }) if m == member)
        );
    }
    // A kid outside names one key and no other.
    let mut sealed = Parts::new(&P256, &signed());
    sealed.header["kid"] = X25519.kid().into();
    assert_eq!(refused(&sealed.token()), OpenError::UnknownKey);
    assert_eq!(open_with(sealed.token().as_bytes(), &ES256, &X25519).unwrap_err(), OpenError::Decrypt);
}

#[test]
fn row_35_clocks_and_numbers() {
    let value = |claim| OpenError::Claims(ClaimsError::Value { claim });
    for iat in [
        "-1",
        "1795293600.0",
        "1795293600.5",
        "1e9",
        "1e300",
        "1e400",
        "9007199254740993",
        "18446744073709551616",
        "99999999999999999999999999",
        "\"1795293600\"",
        "true",
        "[]",
        "{}",
        "253402300800",
    ] {
        // What is no number at all to the parser is no JSON; everything else is a wrong value.
        let expected = if iat == "1e400" { OpenError::Claims(ClaimsError::Json) } else { value("iat") };
        assert_eq!(raw("iat", iat), expected, "{iat}");
    }
    assert_eq!(raw("toe", "1e300"), value("toe"));
    assert_eq!(with("iat", Value::Null), OpenError::Claims(ClaimsError::Missing { claim: "iat" }));
    assert_eq!(raw("iat", "null"), value("iat"));
    assert_eq!(with("iat", 253_402_300_799_u64.into()).code(), "open.future");
    assert_eq!(with("iat", 0.into()).code(), "open.stale");
    for (iat, code) in [
        (1_795_293_600 - 300, None),
        (1_795_293_600 - 301, Some("open.stale")),
        (1_795_293_600 + 60, None),
        (1_795_293_600 + 61, Some("open.future")),
    ] {
        let token = sign(&ES256, header(&ES256), claims_with("iat", iat.into()));
        assert_eq!(open(&token).err().map(|error| error.code()), code, "{iat}");
    }
}

#[test]
fn row_36_types_of_claims() {
    let value = |claim| OpenError::Claims(ClaimsError::Value { claim });
    for aud in [json!(["acme"]), json!(["acme", "evil"]), json!(1), json!({"acme": 1}), json!(true)] {
        assert_eq!(with("aud", aud), value("aud"));
    }
    for jti in [
        json!(""),
        json!("a".repeat(129)),
        json!(1),
        json!(["evt_1"]),
        json!("evt 1"),
        json!("evt.1"),
        json!("évt"),
    ] {
        assert_eq!(with("jti", jti), value("jti"));
    }
    let event = json!({"data": 1});
    let uri = "https://h.example/events/a";
    for events in [
        json!({}),
        json!([]),
        json!("x"),
        json!({uri: 1}),
        json!({uri: []}),
        json!({uri: "x"}),
        json!({uri: null}),
        json!([event]),
        json!({uri: event, "https://h.example/events/b": event}),
        json!({"order.created": event}),
        json!({"https://h.example/events/": event}),
        json!({"https://h.example/events/a/b": event}),
        json!({"http://h.example/events/a": event}),
        json!({"javascript:x": event}),
        json!({"": event}),
    ] {
        assert_eq!(with("events", events.clone()), value("events"), "{events}");
    }
    assert_eq!(with("events", json!({uri: {}})), OpenError::Claims(ClaimsError::Missing { claim: "data" }));
    for (claim, wrong) in
        [("iss", json!(["https://h.example"])), ("iss", json!(1)), ("txn", json!(1)), ("txn", json!(""))]
    {
        assert_eq!(with(claim, wrong), value(claim));
    }
    for claim in ["iss", "aud", "jti", "iat", "events"] {
        assert!(matches!(
            with(claim, Value::Null),
            OpenError::Claims(ClaimsError::Missing { claim: missing }) if missing == claim
        ));
    }
    for payload in ["", "[]", "null", "\"claims\"", "1", "{}x"] {
        let token = sign(&ES256, header(&ES256), payload);
        assert_eq!(refused(&token), OpenError::Claims(ClaimsError::Json), "{payload}");
    }
}

#[test]
fn unknown_claims_are_ignored() {
    let mut claims = claims();
    claims["nonce"] = json!({"deep": [1, 2]});
    claims["sub_id"] = json!({"format": "opaque", "id": "1"});
    assert!(open(&sign(&ES256, header(&ES256), claims)).is_ok());
}
