//! Every signing algorithm with every protection, over HTTP and over TLS under a private authority.

use serde_json::json;
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::pki::Pki;
use waxseal_tests::sender::SenderFolder;

use crate::support::{endpoint, key, publish, register};

async fn every_protection(algorithm: &str, tls: Option<&Pki>) {
    let folder = SenderFolder::init(&format!("[signing]\nalgorithm = \"{algorithm}\"\n"), tls);
    let sender = folder.start().await;
    let (p256, p256_set) = key(EncryptionKeyType::P256);
    let (x25519, x25519_set) = key(EncryptionKeyType::X25519);
    let (rsa, rsa_set) = key(EncryptionKeyType::Rsa3072);
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["signed", "p256", "x25519", "rsa"],
        protection: "either",
        keys: &[p256, x25519, rsa],
        fail_first: 0,
        delay_ms: 0,
        tls,
    });
    let scheme = if tls.is_some() { "https://" } else { "http://" };
    assert!(folder.origin.starts_with(scheme) && consumer.origin.starts_with(scheme));
    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &consumer.url("signed"), "signed", None).await;
    for (scope, set) in [("p256", p256_set), ("x25519", x25519_set), ("rsa", rsa_set)] {
        endpoint(&sender.api, "acme", &consumer.url(scope), "sealed", Some(json!({ "jwks": set }))).await;
    }
    let id = publish(&sender.api, "acme", json!({ "total": "12.50", "text": "\u{e4}\u{1f980}" })).await;
    let taken = consumer.until_taken(4).await;
    for scope in ["signed", "p256", "x25519", "rsa"] {
        let one = taken.iter().find(|taken| taken.scope == scope).unwrap();
        assert_eq!(one.id, id);
        assert_eq!(one.event_type, "order.created");
        assert_eq!(one.data, "{\"total\":\"12.50\",\"text\":\"\u{e4}\u{1f980}\"}");
    }
    let keys = sender.api.get("/v1/signing-keys").await;
    assert!(keys["data"].as_array().unwrap().iter().all(|key| key["alg"] == algorithm), "{keys}");
    assert!(sender.process.stop().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn es256_with_every_protection() {
    every_protection("ES256", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eddsa_with_every_protection() {
    every_protection("EdDSA", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ed25519_by_its_new_name_with_every_protection() {
    every_protection("Ed25519", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ps256_with_every_protection() {
    every_protection("PS256", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn es256_with_every_protection_over_tls() {
    every_protection("ES256", Some(&Pki::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eddsa_with_every_protection_over_tls() {
    every_protection("EdDSA", Some(&Pki::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ed25519_by_its_new_name_with_every_protection_over_tls() {
    every_protection("Ed25519", Some(&Pki::new())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ps256_with_every_protection_over_tls() {
    every_protection("PS256", Some(&Pki::new())).await;
}
