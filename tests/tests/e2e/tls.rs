//! Everything over TLS under a private authority.

use serde_json::json;
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::consumer::{Consumer, ConsumerSetup};
use waxseal_tests::pki::Pki;
use waxseal_tests::sender::SenderFolder;

use crate::support::{endpoint, key, publish, register, trusted_endpoint};

#[tokio::test(flavor = "multi_thread")]
async fn api_jwks_and_delivery_over_tls_with_a_private_authority() {
    let pki = Pki::new();
    let folder = SenderFolder::init("", Some(&pki));
    let sender = folder.start().await;
    let (secret, set) = key(EncryptionKeyType::P256);
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["orders"],
        protection: "sealed",
        keys: &[secret],
        fail_first: 0,
        delay_ms: 0,
        tls: Some(&pki),
    });
    register(&sender.api, "acme").await;
    endpoint(&sender.api, "acme", &consumer.url("orders"), "sealed", Some(json!({ "jwks": set }))).await;
    let id = publish(&sender.api, "acme", json!({ "order": "991" })).await;
    let taken = consumer.until_taken(1).await;
    assert_eq!((taken[0].id.as_str(), taken[0].data.as_str()), (id.as_str(), "{\"order\":\"991\"}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_under_an_unknown_authority_gets_nothing() {
    let folder = SenderFolder::init("", None);
    let sender = folder.start().await;
    let stranger = Pki::new();
    let consumer = Consumer::start(&ConsumerSetup {
        issuer: &folder.origin,
        audience: "acme",
        scopes: &["orders"],
        protection: "signed",
        keys: &[],
        fail_first: 0,
        delay_ms: 0,
        tls: Some(&stranger),
    });
    register(&sender.api, "acme").await;
    trusted_endpoint(&sender.api, "acme", &consumer.url("orders"), "signed", None).await;
    let id = publish(&sender.api, "acme", json!({ "order": "991" })).await;
    let tried = |answer: &serde_json::Value| answer["data"][0]["state"] == "retrying";
    sender.api.until(&format!("/v1/deliveries?event={id}"), tried).await;
    assert!(consumer.taken().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_served_without_a_restart() {
    let pki = Pki::new();
    let folder = SenderFolder::init("", Some(&pki));
    let sender = folder.start().await;
    let other = Pki::new();
    let server = other.server();
    std::fs::write(folder.file("key.pem"), server.key).unwrap();
    std::fs::write(folder.file("cert.pem"), server.cert).unwrap();
    let root = reqwest::Certificate::from_pem(other.root().as_bytes()).unwrap();
    for _ in 0..200 {
        let client =
            reqwest::Client::builder().no_proxy().add_root_certificate(root.clone()).build().unwrap();
        if client.get(format!("{}/health", folder.origin)).send().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the new certificate was never served:\n{}", sender.process.log());
}
