//! Keys by number, and rings that restart.
#![allow(missing_docs, dead_code, unreachable_pub, clippy::unwrap_used)]

use std::convert::Infallible;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use waxseal_keys::{KeyRing, PrivateJwk, RingRecord, SigningKey, Timestamp};

pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The `number`th Ed25519 key: always the same one.
pub fn key(number: u8) -> SigningKey {
    let seed = [number; 32];
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    let (d, x) = (URL_SAFE_NO_PAD.encode(seed), URL_SAFE_NO_PAD.encode(pair.public_key()));
    let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","d":"{d}","x":"{x}"}}"#);
    SigningKey::from_jwk(&PrivateJwk::parse(jwk.as_bytes()).unwrap()).unwrap()
}

pub fn kids(number: u8) -> String {
    key(number).kid().to_owned()
}

/// Makes the keys from `next` on.
pub fn generator(mut next: u8) -> impl FnMut() -> Result<SigningKey, Infallible> {
    move || {
        let made = key(next);
        next = next.wrapping_add(1);
        Ok(made)
    }
}

pub fn published(ring: &KeyRing, now: Timestamp) -> Vec<String> {
    ring.published_at(now).iter().map(|jwk| jwk.kid().unwrap().to_owned()).collect()
}

/// The ring as it is after the process ended and began again.
pub fn restart(ring: &KeyRing) -> KeyRing {
    let stored = ring.to_record().to_json();
    KeyRing::from_record(&RingRecord::from_json(&stored).unwrap(), *ring.policy()).unwrap()
}
