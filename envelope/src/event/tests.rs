use super::*;

#[test]
fn event_ids() {
    let longest = "a".repeat(128);
    for good in ["a", "evt_01JD9Z7Q2M6V8K3N5T1R4W9XYZ", "A-b_9", &longest] {
        assert_eq!(EventId::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", "a.b", "a b", "é", "a/b", "a\n", &"a".repeat(129)] {
        assert_eq!(EventId::parse(bad), Err(NameError::EventId), "{bad}");
    }
}

#[test]
fn issuers() {
    for good in [
        "https://hooks.example.com",
        "https://hooks.example.com:8443/tenant/a",
        "https://127.0.0.1",
        "https://[2001:db8::1]:443",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:9",
    ] {
        assert_eq!(Issuer::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        "https://",
        "hooks.example.com",
        "ftp://a",
        "https://a/",
        "https://a?b",
        "https://a#b",
        "https://a/b?c",
        "https://u@a",
        "https://u:p@a",
        "https://a:0",
        "https://a:65536",
        "https://a:",
        "https://a:+1",
        "https://a..b",
        "https://a//b",
        "https://a/../b",
        "https://a/%2e%2e/b",
        "https://a/.%2E/b",
        "https://a/%2E",
        "https://a/.",
        "https://a b",
        "http://example.com",
        "http://127.0.0.2",
        "http://localhost.example.com",
        "http://[::2]",
        "https://[::1",
        "https://[zz]",
        "HTTPS://a",
        "https://ä.example",
        "https://a/b\\c",
        "https://a\n",
    ] {
        assert_eq!(Issuer::parse(bad), Err(NameError::Issuer), "{bad}");
    }
}

#[test]
fn audiences() {
    for good in ["acme", "con_1", "https://acme.example/hooks", &"x".repeat(256)] {
        assert!(Audience::parse(good).is_ok(), "{good}");
    }
    for bad in ["", "a b", "é", "a\0", &"x".repeat(257)] {
        assert_eq!(Audience::parse(bad), Err(NameError::Audience), "{bad}");
    }
}

#[test]
fn event_types() {
    for good in [
        "order",
        "order.created",
        "a-b.c_d.9",
        "waxseal.verification",
        "https://schemas.example/a?b#c",
        "urn:ietf:x",
    ] {
        assert_eq!(EventType::parse(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a b",
        "a/b",
        "http://a/b",
        "urn:",
        "urn:a",
        "urn:a:",
        "urn::b",
        "https://",
        "https:///a",
        "mailto:a@b",
        "urn:ab:c d",
        "urn:ab:\"",
        &"a".repeat(129),
        &format!("urn:ab:{}", "c".repeat(600)),
    ] {
        assert_eq!(EventType::parse(bad), Err(NameError::EventType), "{bad}");
    }
    assert!(EventType::parse("waxseal.verification").unwrap().is_reserved());
    assert!(EventType::parse("waxseal").unwrap().is_reserved());
    assert!(!EventType::parse("waxseals.seen").unwrap().is_reserved());
}

#[test]
fn type_and_uri_are_inverse() {
    let issuer = Issuer::parse("https://hooks.example.com/t").unwrap();
    for name in ["order.created", "waxseal.verification", "urn:example:a", "https://other.example/events/a"] {
        let event_type = EventType::parse(name).unwrap();
        assert_eq!(issuer.event_type(&issuer.event_uri(&event_type)), Ok(event_type));
    }
    for uri in [
        "order.created",
        "https://hooks.example.com/t/events/",
        "https://hooks.example.com/t/events/a/b",
        "https://hooks.example.com/t/events/urn:x:y",
        "https://hooks.example.com/t/events/a?b",
        "",
    ] {
        assert!(issuer.event_type(uri).is_err(), "{uri}");
    }
    // Another issuer's name is that issuer's URI, not one of ours.
    assert!(issuer.event_type("https://hooks.example.com/events/a").unwrap().is_uri());
}
