//! Attacks through the protected header and the serialisation.

use serde_json::{Value, json};
use waxseal_envelope::{HeaderError, JwsError, Limits, Malformed, OpenError, Part, Token, jws};

use crate::forge::{ES256, P256, Parts, b64, claims, header, open, refused, sign, signed};

fn with(member: &str, value: Value) -> String {
    let mut header = header(&ES256);
    header[member] = value;
    sign(&ES256, header, claims())
}

fn refused_member(token: &str) -> HeaderError {
    match refused(token) {
        OpenError::Header(error) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn row_01_alg_none_in_any_spelling_with_or_without_signature() {
    for alg in ["none", "None", "NONE", "noNE", ""] {
        let token = with("alg", alg.into());
        assert_eq!(refused(&token), OpenError::Algorithm, "{alg}");
        let unsigned = &token[..=token.rfind('.').unwrap()];
        assert_eq!(refused(unsigned), OpenError::Algorithm, "{alg}");
        assert_eq!(
            jws::verify(unsigned.as_bytes(), &ES256.verifying_key()),
            Err(JwsError::Algorithm),
            "{alg}"
        );
    }
    let token = signed();
    assert_eq!(refused(&token[..=token.rfind('.').unwrap()]), OpenError::Signature);
}

#[test]
fn row_04_keys_in_the_token() {
    let jwk = ES256.public_jwk().to_json();
    for (member, value) in [
        ("jwk", jwk),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/x")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AA")),
        ("x5t#S256", json!("AA")),
    ] {
        let reason = refused_member(&with(member, value.clone()));
        assert!(matches!(reason, HeaderError::Refused { member: m } if m == member), "{reason:?}");
        let mut sealed = Parts::new(&P256, &signed());
        sealed.header[member] = value;
        assert_eq!(refused_member(&sealed.token()), reason);
    }
}

#[test]
fn row_05_kid_injection() {
    for kid in [
        json!("../../etc/passwd"),
        json!("k' OR 1=1 --"),
        json!("k".repeat(129)),
        json!("kлюч"),
        json!(""),
        json!(["k"]),
        json!(1),
        json!(null),
        json!({"k": 1}),
        json!("k\u{0}"),
        json!("a/b"),
    ] {
        assert_eq!(refused_member(&with("kid", kid.clone())), HeaderError::Value { member: "kid" }, "{kid}");
    }
    // The recipient's own kid is echoed, so more characters are fit for it, but none that breaks out of a text.
    for kid in [
        json!("k' OR 1=1"),
        json!("k\""),
        json!("k\\"),
        json!("k".repeat(129)),
        json!(""),
        json!(["k"]),
        json!("é"),
    ] {
        let mut sealed = Parts::new(&P256, &signed());
        sealed.header["kid"] = kid.clone();
        assert_eq!(refused_member(&sealed.token()), HeaderError::Value { member: "kid" }, "{kid}");
    }
    let mut missing = header(&ES256);
    missing.as_object_mut().unwrap().remove("kid");
    assert_eq!(refused_member(&sign(&ES256, missing, claims())), HeaderError::Missing { member: "kid" });
}

#[test]
fn row_06_unknown_crit() {
    for crit in [json!(["exp"]), json!(["https://example.com/ext"])] {
        let reason = HeaderError::Refused { member: "crit" };
        let token = with("crit", crit.clone());
        assert_eq!(refused_member(&token), reason);
        assert_eq!(
            jws::verify(token.as_bytes(), &ES256.verifying_key()),
            Err(JwsError::Header(reason.clone()))
        );
        let mut sealed = Parts::new(&P256, &signed());
        sealed.header["crit"] = crit;
        assert_eq!(refused_member(&sealed.token()), reason);
    }
}

#[test]
fn row_07_malformed_crit() {
    for crit in [json!([]), json!(["alg"]), json!(["x", "x"]), json!("b64"), json!(null), json!([1])] {
        assert_eq!(refused_member(&with("crit", crit)), HeaderError::Refused { member: "crit" });
    }
}

#[test]
fn row_08_b64_with_and_without_crit() {
    for b64 in [json!(false), json!(true), json!("false")] {
        assert_eq!(refused_member(&with("b64", b64)), HeaderError::Refused { member: "b64" });
    }
    let kid = ES256.kid();
    let header =
        format!(r#"{{"typ":"secevent+jwt","alg":"ES256","kid":"{kid}","b64":false,"crit":["b64"]}}"#);
    assert_eq!(refused_member(&sign(&ES256, header, claims())), HeaderError::Refused { member: "b64" });
}

#[test]
fn row_09_duplicate_members() {
    let kid = ES256.kid();
    for (header, member) in [
        (format!(r#"{{"typ":"secevent+jwt","alg":"none","alg":"ES256","kid":"{kid}"}}"#), "alg"),
        (format!(r#"{{"typ":"secevent+jwt","\u0061lg":"none","alg":"ES256","kid":"{kid}"}}"#), "alg"),
        (format!(r#"{{"typ":"secevent+jwt","alg":"ES256","kid":"evil","kid":"{kid}"}}"#), "kid"),
    ] {
        assert_eq!(
            refused_member(&sign(&ES256, header, claims())),
            HeaderError::Duplicate { member: member.into() }
        );
    }
    for (text, again, claim) in [
        (r#"{"iss""#, r#"{"iss":"https://evil.example","iss""#, "iss"),
        (r#"{"iss""#, r#"{"aud":"evil","iss""#, "aud"),
        (r#"{"iss""#, r#"{"x":{},"x":[],"iss""#, "x"),
        (r#"{"data""#, r#"{"data":0,"data""#, "data"),
    ] {
        let claims = claims().to_string();
        assert!(claims.contains(text), "{claims}");
        let token = sign(&ES256, header(&ES256), claims.replacen(text, again, 1));
        let reason = waxseal_envelope::ClaimsError::Duplicate { claim: claim.into() };
        assert_eq!(refused(&token), OpenError::Claims(reason), "{claim}");
    }
}

#[test]
fn row_22_zip_and_row_21_p2c() {
    for (member, value) in [("zip", json!("DEF")), ("p2c", json!(1_000_000_000)), ("p2s", json!("AA"))] {
        let mut sealed = Parts::new(&P256, &signed());
        sealed.header[member] = value;
        let reason = refused_member(&sealed.token());
        assert!(matches!(reason, HeaderError::Refused { member: m } if m == member), "{reason:?}");
    }
}

#[test]
fn row_23_oversize() {
    let token = format!("{}.{}.", signed().split('.').next().unwrap(), "A".repeat(262_144));
    assert_eq!(refused(&token), OpenError::Malformed(Malformed::TooLong { limit: 262_144 }));
    let header = json!({"typ": "secevent+jwt", "alg": "ES256", "kid": "k".repeat(4096)});
    let long = sign(&ES256, header, claims());
    assert_eq!(refused(&long), OpenError::Malformed(Malformed::HeaderTooLong { limit: 4096 }));
    let mut sealed = Parts::new(&P256, &signed());
    sealed.header["kid"] = "k".repeat(4096).into();
    assert_eq!(refused(&sealed.token()), OpenError::Malformed(Malformed::HeaderTooLong { limit: 4096 }));
    // The inner token is held to the same limits.
    assert_eq!(
        refused(&Parts::new(&P256, &long).token()),
        OpenError::Malformed(Malformed::HeaderTooLong { limit: 4096 })
    );
    let tight = Limits { token: 100, header: 50 };
    assert!(matches!(
        Token::parse(signed().as_bytes(), &tight).unwrap_err(),
        OpenError::Malformed(Malformed::TooLong { limit: 100 })
    ));
}

#[test]
fn row_24_deep_json() {
    let deep = format!(r#"{{"epk":{}"#, r#"{"x":"#.repeat(700));
    assert_eq!(
        refused(&format!("{}.e30.AAAA", b64(deep))),
        OpenError::Header(HeaderError::Value { member: "epk" })
    );
    let deep = format!(r#"{{"iss":"https://h.example","x":{}"#, "[".repeat(180_000));
    let token = sign(&ES256, header(&ES256), deep);
    assert_eq!(refused(&token), OpenError::Claims(waxseal_envelope::ClaimsError::Json));
    let deep = format!("{}{}", "[".repeat(90_000), "]".repeat(90_000));
    let claims = claims().to_string().replacen(r#"{"order":"991"}"#, &deep, 1);
    // Depth inside `data` is the publisher's business: it is delimited, not parsed.
    assert!(open(&sign(&ES256, header(&ES256), claims)).is_ok());
}

#[test]
fn row_25_encodings_that_are_not_the_one() {
    let token = signed();
    let parts: Vec<&str> = token.split('.').collect();
    for (bad, at) in [
        (format!("{token}="), token.len()),
        (format!("{token}\n"), token.len()),
        (format!(" {token}"), 0),
        (token.replacen('.', " .", 1), parts[0].len()),
        (format!("{token}\0"), token.len()),
        (token.replacen('.', "+.", 1), parts[0].len()),
        (token.replacen('.', "/.", 1), parts[0].len()),
        (token.replacen('.', "%2E", 1), parts[0].len()),
        (format!("\u{feff}{token}"), 0),
    ] {
        assert_eq!(refused(&bad), OpenError::Malformed(Malformed::Byte { at }), "{bad}");
    }
    for (bad, found) in
        [(format!("{token}."), 4), (format!(".{token}"), 4), (format!("{token}.e30.e30.e30"), 6)]
    {
        assert_eq!(refused(&bad), OpenError::Malformed(Malformed::Segments { found }));
    }
    // 64 bytes are 85 characters and 2 bits: only 4 of the 64 last characters leave the unused bits at zero.
    let mut others = 0;
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        let changed = format!("{}{last}", &token[..token.len() - 1]);
        if changed == token {
            continue;
        }
        let reason = refused(&changed);
        others += usize::from(reason == OpenError::Malformed(Malformed::Base64 { part: Part::Signature }));
        assert!(matches!(reason, OpenError::Malformed(_) | OpenError::Signature));
    }
    assert_eq!(others, 60);
}

#[test]
fn row_26_json_serialisation() {
    let token = signed();
    let parts: Vec<&str> = token.split('.').collect();
    let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]});
    assert_eq!(refused(&flattened.to_string()), OpenError::Malformed(Malformed::Byte { at: 0 }));
    let general =
        json!({"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]});
    assert_eq!(refused(&general.to_string()), OpenError::Malformed(Malformed::Byte { at: 0 }));
}

#[test]
fn row_32_tokens_of_other_kinds() {
    for typ in [json!("JWT"), json!("at+jwt"), json!("logout+jwt"), json!("secevent+jwt2"), json!("")] {
        assert_eq!(refused_member(&with("typ", typ)), HeaderError::Value { member: "typ" });
    }
    let mut untyped = header(&ES256);
    untyped.as_object_mut().unwrap().remove("typ");
    assert_eq!(refused_member(&sign(&ES256, untyped, claims())), HeaderError::Missing { member: "typ" });
    for typ in ["SECEVENT+JWT", "application/secevent+jwt", "Application/SecEvent+JWT"] {
        assert!(open(&with("typ", typ.into())).is_ok(), "{typ}");
    }
    for claim in ["exp", "nbf", "sub"] {
        let mut claims = claims();
        claims[claim] = 1_795_293_700.into();
        let reason = refused(&sign(&ES256, header(&ES256), claims));
        assert!(
            matches!(reason, OpenError::Claims(waxseal_envelope::ClaimsError::Forbidden { claim: c }) if c == claim)
        );
    }
}

#[test]
fn row_42_text_that_is_not_utf8() {
    let json = header(&ES256).to_string();
    let utf16: Vec<u8> = json.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in
        [[b"\xef\xbb\xbf", json.as_bytes()].concat(), utf16, json.replace("ES256", "\u{1}").into_bytes()]
    {
        let input = format!("{}.{}", b64(bytes), b64(claims().to_string()));
        let signature = b64(ES256.sign(input.as_bytes()).unwrap());
        assert_eq!(refused(&format!("{input}.{signature}")), OpenError::Header(HeaderError::Json));
    }
    let invalid = [claims().to_string().trim_end_matches('}').as_bytes(), b"\xff\"}}}}"].concat();
    let input = format!("{}.{}", b64(header(&ES256).to_string()), b64(invalid));
    let token = format!("{input}.{}", b64(ES256.sign(input.as_bytes()).unwrap()));
    assert_eq!(refused(&token), OpenError::Claims(waxseal_envelope::ClaimsError::Json));
}

#[test]
fn unknown_members_are_refused() {
    for member in ["enc", "epk", "apu", "iss", "aud", "cty", "nonce", "url", "ES256"] {
        let value = if member == "epk" {
            json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32])})
        } else {
            json!("x")
        };
        assert_eq!(refused_member(&with(member, value)), HeaderError::Unknown { member: member.into() });
    }
}
