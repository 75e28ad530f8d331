//! A receiver that cannot work is not built, and says why.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use waxseal_receiver::{Protection, Receiver, ReceiverBuilder, TrustedIssuer};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::decryption_key;

const ISSUER: &str = "https://hooks.example.com";

fn builder() -> ReceiverBuilder {
    Receiver::builder().audience("acme").scope("orders")
}

#[test]
fn each_mistake_has_its_own_code() {
    let signed = TrustedIssuer::new(ISSUER, Protection::Signed);
    let key = decryption_key();
    let encryption_only = waxseal_jwks::JwkSet::new(vec![key.public_jwk()]);
    let cases = [
        (builder(), "build.missing_issuer"),
        (Receiver::builder().scope("orders").trust(signed.clone()), "build.missing_audience"),
        (Receiver::builder().audience("acme").trust(signed.clone()), "build.missing_scope"),
        (builder().scope("").trust(signed.clone()), "build.missing_scope"),
        (builder().audience("ac me").trust(signed.clone()), "build.name"),
        (builder().issuer("https://hooks.example.com/?q", Protection::Signed), "build.name"),
        (builder().issuer("http://hooks.example.com", Protection::Signed), "build.name"),
        (builder().trust(signed.clone()).trust(signed.clone()), "build.duplicate_issuer"),
        (builder().issuer(ISSUER, Protection::Sealed), "build.missing_decryption_key"),
        (
            builder().trust(signed.clone()).decryption_key(key.clone()).decryption_key(key),
            "build.duplicate_key",
        ),
        (builder().trust(signed.clone().jwks_url("http://keys.example.com/")), "build.jwks_url"),
        (builder().trust(signed.clone().jwks_url("keys.json")), "build.jwks_url"),
        (builder().trust(signed.pinned(encryption_only)), "build.pinned_key"),
    ];
    for (builder, code) in cases {
        assert_eq!(builder.build().unwrap_err().code(), code);
    }
}

#[test]
#[cfg(feature = "axum")]
fn the_readme_shows_the_example() {
    let example = include_str!("../examples/axum.rs");
    let code = example.split_once("\n\n").unwrap().1;
    assert!(include_str!("../README.md").contains(code));
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 25, "{lines} lines");
}
