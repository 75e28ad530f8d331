//! What is accepted as a JWK Set, what is left out of it, and what refuses it whole.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waxseal_jwks::{JwkSet, JwkSetError, SetLimits};

mod support;

use support::{ed25519, p256, set};

fn parse(document: &str) -> Result<waxseal_jwks::ParsedSet, JwkSetError> {
    JwkSet::parse(document.as_bytes(), &SetLimits::default())
}

#[test]
fn usable_keys_are_found_by_kid_and_survive_a_round_trip() {
    let parsed = parse(&set(&[ed25519("a"), p256("b")])).unwrap();
    assert!(parsed.ignored.is_empty());
    assert_eq!(parsed.set.find("b"), Some(&parsed.set.keys()[1]));
    assert_eq!(parsed.set.find("c"), None);
    assert_eq!(parse(&parsed.set.to_json()).unwrap().set, parsed.set);
}

#[test]
fn a_key_without_kid_answers_to_its_thumbprint() {
    let bare = ed25519("x").replace(r#""kid":"x","#, "");
    let parsed = parse(&set(&[bare])).unwrap();
    // RFC 8037 appendix A.3
    assert!(parsed.set.find("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k").is_some());
}

#[test]
fn an_empty_set_and_members_that_nobody_defined_are_fine() {
    assert!(parse(r#"{"keys":[],"generated_by":"someone"}"#).unwrap().set.keys().is_empty());
}

#[test]
fn unusable_keys_are_left_out_with_their_reasons() {
    let unusable = [
        r#"{"kty":"unheard-of"}"#.to_owned(),
        r#"{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}"#.to_owned(),
        r#"{"kty":"OKP","crv":"Ed25519","x":"AA"}"#.to_owned(),
        r#"{"crv":"Ed25519"}"#.to_owned(),
        r#"{"kty":7}"#.to_owned(),
    ];
    for key in unusable {
        let parsed = parse(&set(&[key.clone(), ed25519("a")])).unwrap();
        assert_eq!(parsed.set.keys().len(), 1, "{key}");
        assert_eq!(parsed.ignored[0].0, 0, "{key}");
    }
}

#[test]
fn two_usable_keys_with_one_kid_refuse_the_set() {
    let twice = parse(&set(&[ed25519("a"), p256("a")]));
    assert_eq!(twice.unwrap_err(), JwkSetError::DuplicateKid { kid: "a".to_owned() });
    let unusable = r#"{"kty":"unheard-of","kid":"a"}"#.to_owned();
    assert!(parse(&set(&[unusable, p256("a")])).is_ok(), "an unusable key collides with nothing");
}

#[test]
fn a_published_secret_refuses_the_set_whatever_key_it_is_in() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let secret = ed25519("b").replace('}', &format!(r#","{member}":"AA"}}"#));
        let unusable = format!(r#"{{"kty":"unheard-of","{member}":"AA"}}"#);
        for key in [secret, unusable] {
            let error = parse(&set(&[ed25519("a"), key])).unwrap_err();
            assert_eq!(error, JwkSetError::PrivateKey { index: 1, member });
            assert!(error.to_string().contains("compromised"), "{error}");
        }
    }
    for key in [r#"{"kty":"oct","k":"AA"}"#, r#"{"kty":"oct"}"#, r#"{"kty":"EC","k":"AA"}"#] {
        assert_eq!(parse(&set(&[key.to_owned()])).unwrap_err(), JwkSetError::Symmetric { index: 0 });
    }
}

#[test]
fn duplicate_members_refuse_the_set_at_every_depth() {
    let inner = ed25519("a").replace('}', r#","kid":"b"}"#);
    for document in [r#"{"keys":[],"keys":[]}"#.to_owned(), set(&[inner])] {
        assert_eq!(parse(&document).unwrap_err().code(), "jwks.json", "{document}");
    }
}

#[test]
fn limits_count_every_byte_and_every_key() {
    let many: Vec<_> = (0..33).map(|n| format!(r#"{{"kty":"unheard-of","kid":"{n}"}}"#)).collect();
    assert_eq!(parse(&set(&many)).unwrap_err(), JwkSetError::TooManyKeys { count: 33, limit: 32 });
    assert!(parse(&set(&many[..32])).is_ok());
    let mut document = set(&[]);
    document.push_str(&" ".repeat(64 * 1024 - document.len()));
    assert!(parse(&document).is_ok());
    document.push(' ');
    assert_eq!(parse(&document).unwrap_err(), JwkSetError::TooLarge { limit: 64 * 1024 });
}

#[test]
fn what_is_not_a_set_says_so() {
    for document in ["[]", "{}", r#"{"keys":{}}"#, r#"{"keys":["a"]}"#, r#"{"keys":[[]]}"#, "7"] {
        assert_eq!(parse(document).unwrap_err(), JwkSetError::Shape, "{document}");
    }
    let deep = format!(r#"{{"keys":[{{"x5c":{}{}}}]}}"#, "[".repeat(50_000 / 2), "]".repeat(50_000 / 2));
    for document in ["", "{", "\u{feff}{}", "{} {}", deep.as_str()] {
        assert_eq!(parse(document).unwrap_err().code(), "jwks.json");
    }
}
