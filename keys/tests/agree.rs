//! Our keys against josekit's own implementations (OpenSSL), as a second opinion.
#![cfg(feature = "josekit")]
#![allow(missing_docs, clippy::unwrap_used)]

use josekit::jwk::Jwk as JosekitJwk;
use josekit::jws::{ES256, ES384, EdDSA, JwsSigner, JwsVerifier, PS256};
use waxseal_keys::{
    DecryptionKey, EncryptionKey, EncryptionKeyType, Jwk, JwkError, KeyUse, SignatureAlgorithm, SigningKey,
    generate_decryption_key, generate_signing_key,
};

const ALL: [SignatureAlgorithm; 5] = [
    SignatureAlgorithm::Es256,
    SignatureAlgorithm::Es384,
    SignatureAlgorithm::EdDsa,
    SignatureAlgorithm::Ed25519,
    SignatureAlgorithm::Ps256,
];

/// josekit's verifier; it does not know the RFC 9864 name.
fn josekit_verifier(key: &SigningKey) -> Box<dyn JwsVerifier> {
    let mut members = key.public_jwk().to_json().as_object().unwrap().clone();
    members.shift_remove("alg");
    let jwk = JosekitJwk::from_map(members).unwrap();
    match key.alg() {
        SignatureAlgorithm::Es256 => Box::new(ES256.verifier_from_jwk(&jwk).unwrap()),
        SignatureAlgorithm::Es384 => Box::new(ES384.verifier_from_jwk(&jwk).unwrap()),
        SignatureAlgorithm::EdDsa | SignatureAlgorithm::Ed25519 => {
            Box::new(EdDSA.verifier_from_jwk(&jwk).unwrap())
        }
        SignatureAlgorithm::Ps256 => Box::new(PS256.verifier_from_jwk(&jwk).unwrap()),
    }
}

#[test]
fn signatures_verify_here_and_through_openssl() {
    for alg in ALL {
        let key = generate_signing_key(alg).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len(), key.signature_len());
        key.verifying_key().verify(b"message", &signature).unwrap();
        josekit_verifier(&key).verify(b"message", &signature).unwrap();
        assert!(key.verifying_key().verify(b"other", &signature).is_err());
        assert!(key.verifying_key().verify(b"message", &[]).is_err());
        let mut changed = signature.clone();
        changed[7] ^= 1;
        assert!(key.verifying_key().verify(b"message", &changed).is_err());
    }
}

#[test]
fn published_jwk_and_josekit_signer_agree_on_every_name() {
    for alg in ALL {
        let key = generate_signing_key(alg).unwrap();
        let jwk = key.public_jwk();
        assert_eq!(key.alg(), alg);
        assert_eq!(
            (jwk.kid(), jwk.key_use(), jwk.alg()),
            (Some(key.kid()), Some(KeyUse::Sig), Some(alg.name()))
        );
        assert_eq!(jwk.thumbprint().as_str(), key.kid());
        assert_eq!(Jwk::from_value(&jwk.to_json()).unwrap(), jwk);
        let signer: &dyn JwsSigner = &key;
        assert_eq!((signer.algorithm().name(), signer.key_id()), (alg.name(), Some(key.kid())));
        let signature = signer.sign(b"m").unwrap();
        assert_eq!(signature.len(), signer.signature_len());
        key.verifying_key().verify(b"m", &signature).unwrap();
    }
}

#[test]
fn a_signature_of_josekit_verifies_here() {
    let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    let jwk = JosekitJwk::from_bytes(key.to_jwk().to_json().as_bytes()).unwrap();
    let signature = ES256.signer_from_jwk(&jwk).unwrap().sign(b"message").unwrap();
    key.verifying_key().verify(b"message", &signature).unwrap();
}

#[test]
fn both_sides_of_an_agreement_find_the_same_secret() {
    for (key_type, len) in
        [(EncryptionKeyType::P256, 64), (EncryptionKeyType::P384, 96), (EncryptionKeyType::X25519, 32)]
    {
        let holder = generate_decryption_key(key_type).unwrap();
        let recipient = EncryptionKey::from_jwk(&holder.public_jwk()).unwrap();
        assert_eq!((recipient.kid(), recipient.alg().name()), (holder.kid(), "ECDH-ES"));
        let (ephemeral, secret) = recipient.agree_ephemeral().unwrap();
        assert_eq!(ephemeral.len(), len);
        assert_eq!(holder.agree(&ephemeral).unwrap(), secret);
        assert_ne!(recipient.agree_ephemeral().unwrap().1, secret);
        assert!(holder.agree(&ephemeral[1..]).is_err());
        assert!(holder.agree(&[]).is_err());
        assert!(holder.agree(&vec![0; len]).is_err());
        assert!(holder.rsa_oaep_decrypt(&[0; 384]).is_err());
        assert!(recipient.rsa_oaep_encrypt(&[0; 32]).is_err());
        assert_eq!(holder.rsa_modulus_len(), None);
    }
}

#[test]
fn oaep_there_and_back() {
    let holder = generate_decryption_key(EncryptionKeyType::Rsa3072).unwrap();
    let recipient = EncryptionKey::from_jwk(&holder.public_jwk()).unwrap();
    assert_eq!((recipient.alg().name(), recipient.curve()), ("RSA-OAEP-256", None));
    let encrypted = recipient.rsa_oaep_encrypt(&[7; 32]).unwrap();
    assert_eq!(Some(encrypted.len()), holder.rsa_modulus_len());
    assert_eq!(holder.rsa_oaep_decrypt(&encrypted).unwrap().as_slice(), &[7; 32]);
    assert!(holder.rsa_oaep_decrypt(&encrypted[1..]).is_err());
    let mut changed = encrypted;
    changed[100] ^= 1;
    assert!(holder.rsa_oaep_decrypt(&changed).is_err());
    assert!(holder.agree(&[0; 64]).is_err());
    assert!(recipient.agree_ephemeral().is_err());
}

#[test]
fn stored_keys_come_back_whole() {
    for alg in ALL {
        let key = generate_signing_key(alg).unwrap();
        let json = key.to_jwk().to_json();
        let again = SigningKey::from_jwk(&waxseal_keys::PrivateJwk::parse(json.as_bytes()).unwrap()).unwrap();
        assert_eq!((again.kid(), again.alg()), (key.kid(), alg));
        key.verifying_key().verify(b"m", &again.sign(b"m").unwrap()).unwrap();
    }
}

#[test]
fn keys_refuse_each_others_work() {
    let signing = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    let wrong = JwkError::WrongUse { wanted: KeyUse::Enc, found: KeyUse::Sig };
    assert_eq!(EncryptionKey::from_jwk(&signing.public_jwk()).unwrap_err(), wrong);
    assert_eq!(DecryptionKey::from_jwk(&signing.to_jwk()).unwrap_err(), wrong);
    let holder = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    let wrong = JwkError::WrongUse { wanted: KeyUse::Sig, found: KeyUse::Enc };
    assert_eq!(waxseal_keys::VerifyingKey::from_jwk(&holder.public_jwk()).unwrap_err(), wrong);
    assert_eq!(SigningKey::from_jwk(&holder.to_jwk()).unwrap_err(), wrong);
}

#[test]
fn debug_shows_no_private_member() {
    let signing = generate_signing_key(SignatureAlgorithm::Ps256).unwrap();
    let holder = generate_decryption_key(EncryptionKeyType::X25519).unwrap();
    for (jwk, debug) in [
        (signing.to_jwk(), format!("{signing:?} {signing:#?}")),
        (holder.to_jwk(), format!("{holder:?} {holder:#?}")),
        (signing.to_jwk(), format!("{:?}", signing.to_jwk())),
        (holder.to_jwk(), format!("{:?}", holder.to_jwk())),
    ] {
        let members: serde_json::Value = serde_json::from_str(&jwk.to_json()).unwrap();
        for name in ["d", "p", "q", "dp", "dq", "qi"] {
            if let Some(secret) = members.get(name) {
                assert!(!debug.contains(secret.as_str().unwrap()), "{name} in {debug}");
            }
        }
        assert!(!debug.contains("scalar") && !debug.contains("secret"), "{debug}");
    }
}
