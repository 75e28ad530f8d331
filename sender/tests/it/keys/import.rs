//! Signing keys that were made elsewhere, and the certificates of all.

use std::sync::Arc;
use std::time::Duration;

use openssl::hash::MessageDigest;
use openssl::sign::Verifier;
use openssl::x509::X509;
use serde_json::Value;
use waxseal_envelope::Issuer;
use waxseal_jwks::publish::PublishedKeys;
use waxseal_jwks::{JwkSet, SetLimits};
use waxseal_keys::{KeyState, RingPolicy, SignatureAlgorithm, SigningKey, generate_signing_key, pem};
use waxseal_sender::signing_keys::import::signing_key_from_file;
use waxseal_sender::signing_keys::{Certification, SigningKeys, SigningKeysError, X5c};

use crate::keys::support::World;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn open(world: &World, x5c: X5c) -> Arc<SigningKeys> {
    let (store, data_keys, clock) = (world.store.clone(), world.data_keys.clone(), world.clock.clone());
    let (policy, alg) = (RingPolicy::default(), SignatureAlgorithm::EdDsa);
    let keys = SigningKeys::open(store, data_keys, policy, alg, clock).await.unwrap();
    let issuer = Issuer::parse("https://hooks.example.com").unwrap();
    keys.certify(Certification::of(&issuer, x5c)).await.unwrap();
    keys
}

fn states(keys: &SigningKeys) -> Vec<KeyState> {
    keys.entries().iter().map(|entry| entry.state()).collect()
}

#[tokio::test]
async fn an_imported_key_is_published_waits_and_signs() {
    let world = World::new().await;
    let keys = open(&world, X5c::Omitted).await;
    let imported = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    let kid = imported.kid().to_owned();
    let entry = keys.import(imported.clone()).await.unwrap();
    assert_eq!((entry.kid(), entry.state()), (kid.as_str(), KeyState::Pending));
    assert!(entry.published_since().is_some() && entry.certificate().is_some());
    assert!(keys.published().find(&kid).is_some());

    let early = keys.rotate_to(&kid).await.unwrap_err();
    assert_eq!(early.code(), "ring.not_ready");
    world.clock.advance(DAY);
    keys.rotate_to(&kid).await.unwrap();
    assert_eq!(keys.active().unwrap().kid(), kid);
    assert_eq!(states(&keys), [KeyState::Retiring, KeyState::Pending, KeyState::Active]);
    assert_eq!(keys.rotate_to(&kid).await.unwrap_err().code(), "ring.not_pending");

    let again = open(&world, X5c::Omitted).await;
    assert_eq!(again.active().unwrap().kid(), kid, "it is kept");
    let twice = again.import(imported.clone()).await.unwrap_err();
    assert!(matches!(twice, SigningKeysError::Import(_)), "{twice}");
    again.revoke(&kid).await.unwrap();
    assert_eq!(again.import(imported).await.unwrap_err().code(), "ring.known_key", "it does not come back");
}

#[tokio::test]
async fn the_jwks_has_certificates_only_where_they_are_wanted() {
    let world = World::new().await;
    let plain = open(&world, X5c::Omitted).await.document();
    assert!(!plain.contains("x5c"), "{plain}");
    let keys = open(&world, X5c::Published).await;
    keys.import(generate_signing_key(SignatureAlgorithm::Ps256).unwrap()).await.unwrap();
    keys.import(generate_signing_key(SignatureAlgorithm::Es256).unwrap()).await.unwrap();
    let document = keys.document();
    let shown: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(shown["keys"].as_array().unwrap().len(), 4);
    for key in shown["keys"].as_array().unwrap() {
        let certificate = keys.certificate(key["kid"].as_str().unwrap()).unwrap();
        assert_eq!(key["x5c"], serde_json::json!([certificate.x5c()]));
        assert_eq!(key["x5t#S256"], certificate.thumbprint());
    }
    // Our own readers take the key and nothing from the certificate.
    let read = JwkSet::parse(document.as_bytes(), &SetLimits::default()).unwrap();
    assert!(read.ignored.is_empty());
    assert_eq!(read.set, keys.published());
    assert_eq!(open(&world, X5c::Published).await.document(), document, "a restart changes no octet");
}

/// Only the certificate, only OpenSSL.
#[tokio::test]
async fn a_signature_verifies_with_the_certificate_alone() {
    let world = World::new().await;
    let keys = open(&world, X5c::Omitted).await;
    for alg in [SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa, SignatureAlgorithm::Ps256] {
        let key = generate_signing_key(alg).unwrap();
        keys.import(key.clone()).await.unwrap();
        let pem = keys.certificate(key.kid()).unwrap().to_pem();
        let certificate = X509::from_pem(pem.as_bytes()).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(verifies(&certificate, alg, b"message", &signature), "{alg:?}");
        assert!(!verifies(&certificate, alg, b"another", &signature), "{alg:?}");
    }
}

fn verifies(certificate: &X509, alg: SignatureAlgorithm, message: &[u8], signature: &[u8]) -> bool {
    let key = certificate.public_key().unwrap();
    match alg {
        SignatureAlgorithm::Es256 => {
            let number = |octets| openssl::bn::BigNum::from_slice(octets).unwrap();
            let (r, s) = (number(&signature[..32]), number(&signature[32..]));
            let signature = openssl::ecdsa::EcdsaSig::from_private_components(r, s).unwrap();
            let hash = openssl::hash::hash(MessageDigest::sha256(), message).unwrap();
            signature.verify(&hash, &key.ec_key().unwrap()).unwrap()
        }
        SignatureAlgorithm::EdDsa => {
            Verifier::new_without_digest(&key).unwrap().verify_oneshot(signature, message).unwrap()
        }
        _ => {
            let mut verifier = Verifier::new(MessageDigest::sha256(), &key).unwrap();
            verifier.set_rsa_padding(openssl::rsa::Padding::PKCS1_PSS).unwrap();
            verifier.set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::DIGEST_LENGTH).unwrap();
            verifier.verify_oneshot(signature, message).unwrap()
        }
    }
}

#[test]
fn what_receivers_could_not_verify_is_not_imported() {
    let file = |key: &SigningKey| pem::private_to_pem(&key.to_jwk()).unwrap();
    let p384 = file(&generate_signing_key(SignatureAlgorithm::Es384).unwrap());
    let refused = signing_key_from_file(&p384, None, None).unwrap_err();
    assert_eq!(refused.code(), "import.es384");
    assert!(refused.to_string().contains("P-256"), "{refused}");
    let ed25519 = file(&generate_signing_key(SignatureAlgorithm::EdDsa).unwrap());
    let named = signing_key_from_file(&ed25519, None, Some(SignatureAlgorithm::Ed25519)).unwrap();
    assert_eq!(named.alg(), SignatureAlgorithm::Ed25519);
    let wrong = signing_key_from_file(&ed25519, None, Some(SignatureAlgorithm::Ps256)).unwrap_err();
    assert_eq!(wrong.code(), "jwk.alg_mismatch");
    let encrypted = pem::private_to_encrypted_pem(&named.to_jwk(), b"sesame").unwrap();
    for (passphrase, code) in [(None, "pem.encrypted"), (Some(&b"wrong"[..]), "pem.passphrase")] {
        let refused = signing_key_from_file(&encrypted, passphrase, None).unwrap_err();
        assert_eq!(refused.code(), code);
        assert!(refused.concerns_passphrase());
    }
}
