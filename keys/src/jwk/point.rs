//! The mathematics behind a public key: is it a key of which a signature or a secret means anything?
//!
//! An Ed25519 value whose `y` has no matching `x` passes: it verifies no signature at all, so it is
//! useless rather than dangerous. Points of an X25519 twist are keys by design (RFC 7748 §6).

use aws_lc_rs::agreement::{self, ParsedPublicKey, UnparsedPublicKey};

use crate::alg::Curve;
use crate::jwk::{JwkError, PublicMaterial};

/// Refuses numbers that are no key, or a weak one.
pub(crate) fn check(material: &PublicMaterial) -> Result<(), JwkError> {
    match material {
        PublicMaterial::Ec { curve, x, y } => check_ec(*curve, x, y, &material.point()),
        PublicMaterial::Okp { curve, x } => check_okp(*curve, x),
        PublicMaterial::Rsa { n, e } => check_rsa(n, e),
    }
}

fn check_ec(curve: Curve, x: &[u8], y: &[u8], point: &[u8]) -> Result<(), JwkError> {
    let algorithm = match curve {
        Curve::P256 => &agreement::ECDH_P256,
        Curve::P384 => &agreement::ECDH_P384,
        Curve::Ed25519 | Curve::X25519 => {
            return Err(JwkError::CurveMismatch { crv: curve.name(), kty: "EC" });
        }
    };
    for (member, octets) in [("x", x), ("y", y)] {
        check_len(member, octets, curve)?;
    }
    ParsedPublicKey::try_from(UnparsedPublicKey::new(algorithm, point))
        .map(drop)
        .map_err(|_| JwkError::OffCurve { crv: curve.name() })
}

fn check_okp(curve: Curve, x: &[u8]) -> Result<(), JwkError> {
    let crv = curve.name();
    let kty_fits = curve.key_type() == "OKP";
    if !kty_fits {
        return Err(JwkError::CurveMismatch { crv, kty: "OKP" });
    }
    check_len("x", x, curve)?;
    let mut field: [u8; 32] = x.try_into().map_err(|_| JwkError::OffCurve { crv })?;
    // The top bit is the sign of x for Ed25519 (RFC 8032 §5.1.2) and unused for X25519, where RFC 7748 §5
    // has receivers ignore it: set, it would make a second spelling of the same key.
    let top_bit = field[31] & 0x80 != 0;
    field[31] &= 0x7f;
    let low_order: &[[u8; 32]] = match curve {
        Curve::Ed25519 => &ED25519_SMALL_ORDER,
        _ => &X25519_SMALL_ORDER,
    };
    if (top_bit && curve == Curve::X25519) || !below_p(&field) {
        return Err(JwkError::NonCanonicalPoint { crv });
    }
    if low_order.contains(&field) { Err(JwkError::SmallOrder { crv }) } else { Ok(()) }
}

fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), JwkError> {
    for (member, octets) in [("n", n), ("e", e)] {
        if octets.first().is_none_or(|first| *first == 0) {
            return Err(JwkError::LeadingZero { member });
        }
    }
    let unused = n.first().map_or(0, |first| first.leading_zeros());
    let bits = n.len().saturating_mul(8).saturating_sub(usize::try_from(unused).unwrap_or(0));
    match bits {
        0..RSA_MIN_BITS => return Err(JwkError::RsaTooSmall { bits }),
        RSA_MIN_BITS..=RSA_MAX_BITS => {}
        _ => return Err(JwkError::RsaTooLarge { bits }),
    }
    if n.last().is_none_or(|last| last % 2 == 0) {
        return Err(JwkError::RsaModulus);
    }
    // e = 1 makes every forgery a signature; a large e makes verification slow on purpose.
    let exponent = e.iter().try_fold(0_u32, |value, octet| Some(value.checked_mul(256)? | u32::from(*octet)));
    match exponent {
        Some(e) if e >= RSA_MIN_EXPONENT && e % 2 == 1 => Ok(()),
        Some(_) | None => Err(JwkError::RsaExponent),
    }
}

fn check_len(member: &'static str, octets: &[u8], curve: Curve) -> Result<(), JwkError> {
    let expected = curve.coordinate_len();
    if octets.len() == expected {
        Ok(())
    } else {
        Err(JwkError::Length { member, expected, actual: octets.len() })
    }
}

/// Whether a little-endian number of 255 bits is below p = 2^255 - 19.
fn below_p(field: &[u8; 32]) -> bool {
    field.iter().rev().lt(P.iter().rev())
}

const RSA_MIN_BITS: usize = 2048;
const RSA_MAX_BITS: usize = 8192;
const RSA_MIN_EXPONENT: u32 = 65_537;

/// 2^255 - 19, little-endian.
const P: [u8; 32] = hex(b"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
const ZERO: [u8; 32] = [0; 32];
const ONE: [u8; 32] = hex(b"0100000000000000000000000000000000000000000000000000000000000000");
const MINUS_ONE: [u8; 32] = hex(b"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");

/// `y` of the eight points of Ed25519 whose order divides 8 (either sign of x).
const ED25519_SMALL_ORDER: [[u8; 32]; 5] = [
    ONE,       // order 1
    MINUS_ONE, // order 2
    ZERO,      // order 4
    hex(b"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    hex(b"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
];

/// `u` of the points of Curve25519 and its twist whose order divides 8: they agree on zero with everybody.
const X25519_SMALL_ORDER: [[u8; 32]; 5] = [
    ZERO,
    ONE,
    MINUS_ONE,
    hex(b"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    hex(b"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
];

/// Octets of a lower-case hexadecimal constant.
const fn hex(digits: &[u8; 64]) -> [u8; 32] {
    let mut octets = [0; 32];
    let mut index = 0;
    while index < 32 {
        octets[index] = nibble(digits[2 * index]) << 4 | nibble(digits[2 * index + 1]);
        index += 1;
    }
    octets
}

const fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => panic!("not a lower-case hexadecimal digit"),
    }
}
