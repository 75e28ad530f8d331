//! Points of small order and second spellings: refused here, and shown to be dangerous by what the
//! primitives make of them.
#![allow(missing_docs, clippy::unwrap_used)]

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::signature::{self, ED25519};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use waxseal_keys::{Jwk, JwkError};

/// Little-endian; the sign bit of x is varied by the tests.
const ED25519_Y: [&str; 5] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];
const X25519_U: [&str; 5] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
];
/// p, p + 1 and 2^255 - 1: the same field elements as 0, 1 and 18.
const NOT_BELOW_P: [&str; 3] = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn octets(hex: &str) -> [u8; 32] {
    let octet = |index| u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).unwrap();
    std::array::from_fn(octet)
}

fn negative(mut point: [u8; 32]) -> [u8; 32] {
    point[31] |= 0x80;
    point
}

fn refusal(crv: &str, x: [u8; 32]) -> JwkError {
    let x = URL_SAFE_NO_PAD.encode(x);
    Jwk::parse(format!(r#"{{"kty":"OKP","crv":"{crv}","x":"{x}"}}"#).as_bytes()).unwrap_err()
}

#[test]
fn ed25519_points_of_small_order_are_refused() {
    for hex in ED25519_Y {
        for point in [octets(hex), negative(octets(hex))] {
            assert_eq!(refusal("Ed25519", point), JwkError::SmallOrder { crv: "Ed25519" }, "{hex}");
        }
    }
}

#[test]
fn a_point_of_small_order_would_verify_forgeries() {
    // R = identity, S = 0 is a signature of every eighth message or so: no private key is needed.
    let forged = [octets(ED25519_Y[0]), [0; 32]].concat();
    for hex in ED25519_Y {
        let key = signature::UnparsedPublicKey::new(&ED25519, octets(hex));
        assert!((0..=255_u8).any(|message| key.verify(&[message], &forged).is_ok()), "{hex}");
    }
}

#[test]
fn x25519_points_of_small_order_are_refused() {
    let holder = PrivateKey::generate(&X25519).unwrap();
    for hex in X25519_U {
        assert_eq!(refusal("X25519", octets(hex)), JwkError::SmallOrder { crv: "X25519" }, "{hex}");
        let secret = agree(&holder, UnparsedPublicKey::new(&X25519, octets(hex)), (), |_| Ok(()));
        assert!(secret.is_err(), "{hex} agrees on zero, which the library refuses as well");
    }
}

#[test]
fn second_spellings_are_refused() {
    for crv in ["Ed25519", "X25519"] {
        for hex in NOT_BELOW_P {
            assert_eq!(refusal(crv, octets(hex)).code(), "jwk.non_canonical_point", "{crv} {hex}");
        }
    }
    let ordinary = octets("0900000000000000000000000000000000000000000000000000000000000000");
    assert_eq!(refusal("X25519", negative(ordinary)), JwkError::NonCanonicalPoint { crv: "X25519" });
}
