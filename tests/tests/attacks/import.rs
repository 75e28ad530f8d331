//! Attacks through keys that somebody else publishes (rows 9, 12 and 13).

use serde_json::{Value, json};
use waxseal_keys::Jwk;

use crate::forge::{ES256, PS256, b64};

fn refused(jwk: impl ToString) -> &'static str {
    Jwk::parse(jwk.to_string().as_bytes()).expect_err("the key was accepted").code()
}

#[test]
fn row_09_duplicate_members_in_keys() {
    let jwk = ES256.public_jwk().to_json().to_string();
    let twice = jwk.replacen('{', r#"{"kty":"oct","#, 1);
    assert_eq!(refused(twice), "jwk.duplicate_member");
}

#[test]
fn row_12_small_order_and_non_canonical_ed25519_keys() {
    // The eight points of small order with their canonical encodings, and encodings of numbers of p and above.
    let hex = |text: &str| -> Vec<u8> {
        (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    for (point, reason) in [
        ("0100000000000000000000000000000000000000000000000000000000000000", "jwk.small_order"),
        ("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "jwk.small_order"),
        ("0000000000000000000000000000000000000000000000000000000000000000", "jwk.small_order"),
        ("0000000000000000000000000000000000000000000000000000000000000080", "jwk.small_order"),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05", "jwk.small_order"),
        ("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85", "jwk.small_order"),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", "jwk.small_order"),
        ("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa", "jwk.small_order"),
        ("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "jwk.non_canonical_point"),
        ("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", "jwk.non_canonical_point"),
    ] {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": b64(hex(point))});
        assert_eq!(refused(jwk), reason, "{point}");
    }
}

#[test]
fn row_13_weak_rsa_keys() {
    let good = PS256.public_jwk().to_json();
    let with = |member: &str, value: Value| {
        let mut jwk = good.clone();
        jwk[member] = value;
        refused(jwk)
    };
    for exponent in [&[1_u8][..], &[2], &[3], &[1, 0, 0], &[0xff; 5], &[0xff; 255]] {
        assert_eq!(with("e", b64(exponent).into()), "jwk.rsa_exponent", "{exponent:?}");
    }
    assert_eq!(with("e", b64([0, 1, 0, 1]).into()), "jwk.leading_zero");
    assert_eq!(with("e", "".into()), "jwk.encoding");
    assert_eq!(with("n", b64([0xff; 128]).into()), "jwk.rsa_too_small");
    assert_eq!(with("n", b64([0xff; 255]).into()), "jwk.rsa_too_small");
    assert_eq!(with("n", b64([0xff; 1025]).into()), "jwk.rsa_too_large");
}

#[test]
fn row_37_private_and_symmetric_keys() {
    let private = ES256.to_jwk().to_json();
    assert_eq!(refused(&*private), "jwk.private_key");
    assert_eq!(refused(json!({"kty": "oct", "k": b64([7; 32])})), "jwk.symmetric");
}
