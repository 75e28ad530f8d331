use super::*;

/// A claims set with one member replaced, or removed where the value is empty.
fn claims(name: &str, value: &str) -> String {
    let event = r#"{"https://h.example/events/a":{"data":{"k":1}}}"#;
    let base = [
        ("iss", r#""https://h.example""#),
        ("aud", r#""acme""#),
        ("jti", r#""evt_1""#),
        ("iat", "1795293600"),
        ("toe", "1795293598"),
        ("txn", r#""t""#),
        ("events", event),
    ];
    let mut members: Vec<(&str, &str)> = base.into_iter().filter(|(n, _)| *n != name).collect();
    if !value.is_empty() {
        members.push((name, value));
    }
    let members: Vec<String> = members.into_iter().map(|(n, v)| format!(r#""{n}":{v}"#)).collect();
    format!("{{{}}}", members.join(","))
}

fn refused(json: &str) -> ClaimsError {
    Claims::parse(json.as_bytes()).map(|_| ()).expect_err(json)
}

fn body(body: &str) -> String {
    claims("events", &format!(r#"{{"https://h.example/events/a":{body}}}"#))
}

#[test]
fn claims_are_read() {
    let json = claims("extra", r#"[{"a":1,"a":2}]"#);
    let read = Claims::parse(json.as_bytes()).unwrap();
    assert_eq!(
        (read.iss.as_str(), read.aud.as_str(), read.jti.as_str()),
        ("https://h.example", "acme", "evt_1")
    );
    assert_eq!((read.iat, read.toe), (1_795_293_600, Some(1_795_293_598)));
    assert_eq!(read.event_uri.as_str(), "https://h.example/events/a");
    assert_eq!(read.data, Data::json(br#"{"k":1}"#).unwrap());
    assert_eq!(claimed_issuer(json.as_bytes()).unwrap(), "https://h.example");
}

#[test]
fn optional_claims_may_be_absent_but_not_null() {
    for claim in ["toe", "txn"] {
        assert!(Claims::parse(claims(claim, "").as_bytes()).is_ok());
        assert_eq!(refused(&claims(claim, "null")), ClaimsError::Value { claim });
    }
    for claim in ["iss", "aud", "jti", "iat", "events"] {
        assert_eq!(refused(&claims(claim, "")), ClaimsError::Missing { claim });
    }
    assert_eq!(claimed_issuer(claims("iss", "").as_bytes()), Err(ClaimsError::Missing { claim: "iss" }));
}

#[test]
fn types_are_exact() {
    for (claim, values) in [
        ("iss", &["1", "null", r#"["https://h.example"]"#, "{}"][..]),
        ("aud", &["1", "null", r#"["acme"]"#, r#"["acme","other"]"#, "{}", "true"]),
        ("jti", &["1", r#""""#, r#""a b""#, r#""a.b""#, r#"["evt_1"]"#]),
        (
            "iat",
            &[
                "-1",
                "1.0",
                "1e3",
                "1e300",
                r#""1795293600""#,
                "9007199254740993",
                "18446744073709551616",
                "true",
            ],
        ),
        ("toe", &["-1", "1.5", r#""1""#, "253402300800"]),
        ("txn", &["1", r#""""#, r#""a\u0000""#, r#""a\nb""#]),
        (
            "events",
            &[
                "{}",
                "[]",
                "null",
                r#""x""#,
                r#"{"a":1}"#,
                r#"{"a":[]}"#,
                r#"{"a":{"data":1},"b":{"data":1}}"#,
            ],
        ),
    ] {
        for value in values {
            assert_eq!(refused(&claims(claim, value)), ClaimsError::Value { claim }, "{value}");
        }
    }
    let long = format!(r#""{}""#, "t".repeat(257));
    assert_eq!(refused(&claims("txn", &long)), ClaimsError::Value { claim: "txn" });
}

#[test]
fn claims_of_other_tokens_are_refused() {
    for claim in ["exp", "nbf", "sub"] {
        assert_eq!(refused(&claims(claim, "1")), ClaimsError::Forbidden { claim });
    }
}

#[test]
fn duplicates_are_refused_down_to_the_body() {
    let duplicate = |claim: &str| ClaimsError::Duplicate { claim: claim.into() };
    for (name, again) in
        [("iss", r#""x""#), ("iat", "1"), ("jti", r#""x""#), ("aud", r#""acme""#), ("txn", r#""t""#)]
    {
        let json = claims("x", "1").replacen('{', &format!(r#"{{"{name}":{again},"#), 1);
        assert_eq!(refused(&json), duplicate(name));
    }
    let escaped = claims(r"\u0061ud", r#""other""#);
    assert_eq!(refused(&escaped), duplicate("aud"));
    assert_eq!(refused(&claims("x", r#"1,"x":2"#)), duplicate("x"));
    let event = r#"{"data":1}"#;
    assert_eq!(refused(&claims("events", &format!(r#"{{"u":{event},"u":{event}}}"#))), duplicate("u"));
    assert_eq!(refused(&claims("x", r#"1,"events":{"u":{"data":1}}"#)), duplicate("events"));
    assert_eq!(refused(&body(r#"{"data":1,"data":2}"#)), duplicate("data"));
    assert_eq!(refused(&body(r#"{"data":1,"x":1,"x":1}"#)), duplicate("x"));
    assert_eq!(claimed_issuer(br#"{"iss":"a","iss":"b"}"#), Err(duplicate("iss")));
    assert!(Claims::parse(body(r#"{"data":{"a":1,"a":2}}"#).as_bytes()).is_ok());
}

#[test]
fn bodies() {
    let data = |text: &str| Claims::parse(body(text).as_bytes()).map(|claims| claims.data);
    assert_eq!(data(r#"{"data":null}"#).unwrap(), Data::json(b"null").unwrap());
    let binary = data(r#"{"data_base64":"/+8=","datacontenttype":"a/b"}"#).unwrap();
    assert_eq!(binary, Data::binary("a/b", vec![0xff, 0xef]).unwrap());
    let value = |claim| ClaimsError::Value { claim };
    for (text, reason) in [
        ("{}", ClaimsError::Missing { claim: "data" }),
        (r#"{"datacontenttype":"a/b"}"#, ClaimsError::Missing { claim: "data" }),
        (r#"{"data_base64":""}"#, ClaimsError::Missing { claim: "datacontenttype" }),
        (r#"{"data":1,"data_base64":""}"#, value("data_base64")),
        (r#"{"data":1,"datacontenttype":"a/b"}"#, value("datacontenttype")),
        (r#"{"data_base64":"","datacontenttype":"x"}"#, value("datacontenttype")),
        (r#"{"data_base64":"_-8","datacontenttype":"a/b"}"#, value("data_base64")),
        (r#"{"data_base64":"/+9=","datacontenttype":"a/b"}"#, value("data_base64")),
        (r#"{"data_base64":1,"datacontenttype":"a/b"}"#, value("data_base64")),
        (r#"{"data":1,"redelivery_of":"a b"}"#, value("redelivery_of")),
        (r#"{"data":1,"redelivery_of":null}"#, value("redelivery_of")),
    ] {
        assert_eq!(data(text), Err(reason), "{text}");
    }
    let again = body(r#"{"data":1,"redelivery_of":"evt_0"}"#);
    assert_eq!(Claims::parse(again.as_bytes()).unwrap().redelivery_of, EventId::parse("evt_0").ok());
}

#[test]
fn what_is_no_json_object_is_refused() {
    for json in ["", "[]", "null", "1", "{", "{}{}", "\u{feff}{}", r#"{"iss":"a"#] {
        assert_eq!(refused(json), ClaimsError::Json, "{json}");
        assert_eq!(claimed_issuer(json.as_bytes()), Err(ClaimsError::Json), "{json}");
    }
    assert_eq!(claimed_issuer(b"{\"x\":\"\xff\"}"), Err(ClaimsError::Json));
    let deep = format!(r#"{{"x":{}"#, "[".repeat(100_000));
    assert_eq!(refused(&deep), ClaimsError::Json);
}
