//! Key files: out, in again, and what other programs write.
#![cfg(feature = "josekit")]
#![allow(missing_docs, clippy::unwrap_used)]

use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use waxseal_keys::pem::{
    private_from_der, private_from_encrypted_pem, private_from_pem, private_to_der, private_to_encrypted_pem,
    private_to_pem, public_from_der, public_from_pem, public_to_der, public_to_pem,
};
use waxseal_keys::{
    EncryptionKeyType, JwkError, PemError, PrivateJwk, SignatureAlgorithm, SigningKey,
    generate_decryption_key, generate_signing_key,
};

fn keys() -> Vec<PrivateJwk> {
    let signing = [
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::EdDsa,
        SignatureAlgorithm::Ps256,
    ];
    let mut keys: Vec<_> =
        signing.into_iter().map(|alg| generate_signing_key(alg).unwrap().to_jwk()).collect();
    keys.push(generate_decryption_key(EncryptionKeyType::X25519).unwrap().to_jwk());
    keys
}

#[test]
fn every_form_there_and_back() {
    for key in keys() {
        let material = key.public().material();
        let pem = private_to_pem(&key).unwrap();
        assert!(pem.starts_with(b"-----BEGIN PRIVATE KEY-----"));
        let der = private_to_der(&key).unwrap();
        for again in [private_from_pem(&pem).unwrap(), private_from_der(&der).unwrap()] {
            assert_eq!(again.public().material(), material);
            assert_eq!(private_to_der(&again).unwrap(), der, "the private half as well");
        }
        assert_eq!(public_from_pem(&public_to_pem(key.public()).unwrap()).unwrap().material(), material);
        assert_eq!(public_from_der(&public_to_der(key.public()).unwrap()).unwrap().material(), material);
    }
}

#[test]
fn encrypted_files_need_their_passphrase() {
    let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap().to_jwk();
    let pem = private_to_encrypted_pem(&key, b"open sesame").unwrap();
    assert!(pem.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    assert_eq!(private_from_pem(&pem).unwrap_err(), PemError::Encrypted);
    assert_eq!(private_from_encrypted_pem(&pem, b"wrong").unwrap_err(), PemError::Passphrase);
    let again = private_from_encrypted_pem(&pem, b"open sesame").unwrap();
    assert_eq!(again.public().material(), key.public().material());
}

#[test]
fn traditional_files_are_read() {
    let ec = EcKey::generate(&EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap()).unwrap();
    let ec = private_from_pem(&ec.private_key_to_pem().unwrap()).unwrap();
    assert_eq!(SigningKey::from_jwk(&ec).unwrap().alg(), SignatureAlgorithm::Es256);
    let rsa = Rsa::generate(2048).unwrap();
    let rsa = private_from_pem(&rsa.private_key_to_pem().unwrap()).unwrap();
    assert_eq!(SigningKey::from_jwk(&rsa).unwrap().alg(), SignatureAlgorithm::Ps256);
}

#[test]
fn unusable_files_are_refused_with_the_reason() {
    let curve = |nid| EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap();
    for nid in [Nid::SECP256K1, Nid::SECP521R1] {
        let pem = curve(nid).private_key_to_pem().unwrap();
        assert_eq!(private_from_pem(&pem).unwrap_err(), PemError::Unsupported);
    }
    let pem = PKey::generate_ed448().unwrap().private_key_to_pem_pkcs8().unwrap();
    assert_eq!(private_from_pem(&pem).unwrap_err(), PemError::Unsupported);
    let small = Rsa::generate(1024).unwrap();
    let too_small = PemError::Key(JwkError::RsaTooSmall { bits: 1024 });
    assert_eq!(private_from_pem(&small.private_key_to_pem().unwrap()).unwrap_err(), too_small);
    assert_eq!(public_from_pem(&small.public_key_to_pem().unwrap()).unwrap_err(), too_small);
    assert_eq!(private_from_pem(b"nonsense").unwrap_err().code(), "pem.malformed");
    assert_eq!(private_from_der(&[0; 40]).unwrap_err().code(), "pem.malformed");
    let public =
        public_to_pem(generate_signing_key(SignatureAlgorithm::Es256).unwrap().to_jwk().public()).unwrap();
    assert_eq!(private_from_pem(&public).unwrap_err().code(), "pem.malformed");
}
