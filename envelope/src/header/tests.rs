use super::*;

fn refused(json: &str) -> HeaderError {
    Header::parse(json.as_bytes()).expect_err(json)
}

#[test]
fn known_members_are_read() {
    let header = Header::parse(br#"{"typ":"secevent+jwt","\u0061lg":"ES256","kid":"k1"}"#).unwrap();
    assert_eq!(header.alg(), Ok("ES256"));
    assert_eq!(header.require_signer_kid(), Ok("k1"));
    assert_eq!(header.require_typ(), Ok(()));
    assert_eq!(header.require_jws(), Ok(()));
    assert_eq!(header.require_cty(), Err(HeaderError::Missing { member: "cty" }));
}

#[test]
fn members_with_a_will_of_their_own_are_refused() {
    for member in REFUSED {
        let json = format!(r#"{{"alg":"ES256","{member}":null}}"#);
        assert_eq!(refused(&json), HeaderError::Refused { member });
    }
    assert_eq!(refused(r#"{"alg":"ES256","nonce":1}"#), HeaderError::Unknown { member: "nonce".into() });
    let long = "n".repeat(1000);
    assert_eq!(refused(&format!(r#"{{"{long}":1}}"#)), HeaderError::Unknown { member: "n".repeat(64) });
}

#[test]
fn duplicates_and_types() {
    let duplicate = |member: &str| HeaderError::Duplicate { member: member.into() };
    assert_eq!(refused(r#"{"alg":"ES256","alg":"ES256"}"#), duplicate("alg"));
    assert_eq!(refused(r#"{"alg":"ES256","\u0061lg":"none"}"#), duplicate("alg"));
    for value in ["null", "1", "[\"k\"]", "{}", "true"] {
        assert_eq!(refused(&format!(r#"{{"kid":{value}}}"#)), HeaderError::Value { member: "kid" });
    }
    for json in [
        "",
        "[]",
        "null",
        "{",
        "{}x",
        "{\"alg\":\"ES256\",}",
        "\u{feff}{}",
        r#"{"alg":"\ud800"}"#,
        r#"{"kid":"a"#,
    ] {
        assert_eq!(refused(json), HeaderError::Json, "{json}");
    }
    assert_eq!(Header::parse(b"{\"kid\":\"\xff\"}").unwrap_err(), HeaderError::Json);
    assert_eq!(Header::parse(b"{}").unwrap().alg(), Err(HeaderError::Missing { member: "alg" }));
}

#[test]
fn members_of_a_jwe_are_not_for_a_jws() {
    for member in ["enc", "apu", "apv", "iss", "aud"] {
        let json = format!(r#"{{"alg":"ES256","{member}":"x"}}"#);
        let header = Header::parse(json.as_bytes()).unwrap();
        assert_eq!(header.require_jws(), Err(HeaderError::Unknown { member: member.into() }));
    }
}

#[test]
fn typ_and_kid() {
    for (typ, ok) in [
        ("secevent+jwt", true),
        ("SecEvent+JWT", true),
        ("application/secevent+jwt", true),
        ("APPLICATION/secevent+jwt", true),
        ("JWT", false),
        ("", false),
        ("application/", false),
        ("secevent+jwt ", false),
        ("text/secevent+jwt", false),
        ("é", false),
    ] {
        let json = format!(r#"{{"typ":"{typ}"}}"#);
        assert_eq!(Header::parse(json.as_bytes()).unwrap().require_typ().is_ok(), ok, "{typ}");
    }
    for (kid, ok) in [
        ("a", true),
        ("2026-11_es~256.a", true),
        ("", false),
        ("../../etc/passwd", false),
        ("a'b", false),
        ("a b", false),
        ("é", false),
        (&"k".repeat(128), true),
        (&"k".repeat(129), false),
    ] {
        assert_eq!(is_signer_kid(kid), ok, "{kid}");
    }
    for (kid, ok) in
        [("me@example.com#k/1", true), ("", false), ("a b", false), ("é", false), (&"k".repeat(129), false)]
    {
        let json = format!(r#"{{"kid":"{kid}"}}"#);
        assert_eq!(Header::parse(json.as_bytes()).unwrap().require_recipient_kid().is_ok(), ok, "{kid}");
    }
}

#[test]
fn epk_has_exactly_its_public_members() {
    let x = "A".repeat(43);
    let good = format!(r#"{{"epk":{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}}}}"#);
    let epk = Header::parse(good.as_bytes()).unwrap().epk.unwrap();
    assert_eq!((epk.curve, epk.public.len()), (Curve::P256, 64));
    let good = format!(r#"{{"epk":{{"kty":"OKP","crv":"X25519","x":"{x}"}}}}"#);
    assert_eq!(Header::parse(good.as_bytes()).unwrap().epk.unwrap().public.len(), 32);

    let value = || HeaderError::Value { member: "epk" };
    for (members, reason) in [
        (format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{x}","d":"{x}""#), HeaderError::PrivateEpk),
        (format!(r#""kty":"oct","k":"{x}""#), HeaderError::PrivateEpk),
        (format!(r#""kty":"EC","crv":"P-256","x":"{x}""#), value()),
        (format!(r#""kty":"EC","crv":"P-256","y":"{x}""#), value()),
        (format!(r#""kty":"EC","crv":"P-384","x":"{x}","y":"{x}""#), value()),
        (format!(r#""kty":"EC","crv":"secp256k1","x":"{x}","y":"{x}""#), value()),
        (format!(r#""kty":"EC","crv":"P-256","x":"{x}","y":"{x}","kid":"a""#), value()),
        (format!(r#""kty":"OKP","crv":"X25519","x":"{x}","y":"{x}""#), value()),
        (format!(r#""kty":"OKP","crv":"Ed25519","x":"{x}""#), value()),
        (r#""kty":"OKP","crv":"X25519","x":"""#.into(), value()),
        (format!(r#""kty":"OKP","crv":"X25519","x":"{x}=""#), value()),
        (format!(r#""kty":"OKP","crv":"X25519","x":"{x}A""#), value()),
        (format!(r#""kty":"OKP","crv":"X25519","x":["{x}"]"#), value()),
        (
            format!(r#""kty":"OKP","kty":"OKP","crv":"X25519","x":"{x}""#),
            HeaderError::Duplicate { member: "kty".into() },
        ),
    ] {
        assert_eq!(refused(&format!(r#"{{"epk":{{{members}}}}}"#)), reason, "{members}");
    }
    assert_eq!(refused(r#"{"epk":"x"}"#), value());
    assert_eq!(refused(r#"{"epk":null}"#), value());
}

#[test]
fn a_hostile_name_cannot_write_lines_of_its_own_into_a_log() {
    let text = refused(r#"{"a\nINFO forged\u001b[2J":1}"#).to_string();
    assert_eq!(text, r"header member `a\nINFO forged\u{1b}[2J` is not known here");
}
