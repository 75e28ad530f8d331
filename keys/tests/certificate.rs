//! Signing keys in the form of X.509, judged by OpenSSL.
#![cfg(feature = "josekit")]
#![allow(missing_docs, clippy::unwrap_used)]

mod support;

use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::x509::X509;
use support::{DAY, HOUR, generator, key, restart};
use waxseal_keys::{
    Certificate, CertificateName, CertificateRefused, CertifiedKey, EncryptionKeyType, KeyRing, KeyState,
    PemError, RingPolicy, SignatureAlgorithm, Timestamp, generate_decryption_key, generate_signing_key, pem,
};

const START: Timestamp = Timestamp::from_seconds(1_795_293_600);

fn name() -> CertificateName {
    CertificateName { common: "hooks.example.com".to_owned(), uri: "https://hooks.example.com/eu".to_owned() }
}

#[test]
fn a_certificate_holds_the_key_and_is_signed_by_it() {
    for alg in [SignatureAlgorithm::Es256, SignatureAlgorithm::EdDsa, SignatureAlgorithm::Ps256] {
        let key = generate_signing_key(alg).unwrap();
        let until = START.saturating_add(30 * DAY);
        let made = Certificate::self_signed(&key, &name(), START, until).unwrap();
        let read = X509::from_der(made.der()).unwrap();
        assert_eq!(X509::from_pem(made.to_pem().as_bytes()).unwrap().to_der().unwrap(), made.der());
        assert!(read.verify(&read.public_key().unwrap()).unwrap(), "{alg:?}");
        let spki = read.public_key().unwrap().public_key_to_der().unwrap();
        assert_eq!(spki, pem::public_to_der(&key.public_jwk()).unwrap(), "{alg:?}");
        let common = read.subject_name().entries_by_nid(Nid::COMMONNAME).next().unwrap();
        assert_eq!(common.data().to_string().unwrap(), "hooks.example.com");
        assert_eq!(read.subject_alt_names().unwrap()[0].uri(), Some("https://hooks.example.com/eu"));
        assert_eq!(read.subject_name().to_der().unwrap(), read.issuer_name().to_der().unwrap());
        assert_eq!((made.not_before(), made.not_after()), (START, until));
        assert_eq!(read.not_after().to_string(), "Dec 21 20:40:00 2026 GMT");
        let text = String::from_utf8(read.to_text().unwrap()).unwrap();
        assert!(text.contains("CA:FALSE") && text.contains("Digital Signature"), "{text}");
        let hash = read.digest(MessageDigest::sha256()).unwrap();
        let decoded =
            base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, made.thumbprint());
        assert_eq!(decoded.unwrap(), hash.as_ref());
        assert!(made.der().starts_with(&[0x30, 0x82]), "never the beginning of a JWS Signing Input");
    }
}

/// On schedule, late, by hand, through restarts: whatever is published has a certificate that is in force.
#[test]
fn no_published_key_is_ever_without_a_certificate_in_force() {
    for rotate_every in [Some(3 * DAY), Some(90 * DAY), None] {
        let policy = RingPolicy { rotate_every, ..RingPolicy::default() };
        let mut ring = KeyRing::new(policy, key(0), START);
        let mut made = 1;
        let mut now = START;
        let mut seen = std::collections::HashMap::<String, std::collections::HashSet<String>>::new();
        for _ in 0..1_500 {
            let mut generate = || {
                made += 1;
                generator(made)()
            };
            ring.roll(now, &mut generate).unwrap();
            let waiting: Vec<_> = ring.entries().iter().map(|entry| entry.kid().to_owned()).collect();
            for kid in waiting {
                ring.mark_published(&kid, now);
            }
            ring.certify(&name(), now).unwrap();
            ring = restart(&ring);
            assert!(!ring.certify(&name(), now).unwrap(), "a restart makes no new certificate");
            for jwk in ring.published_at(now) {
                let kid = jwk.kid().unwrap();
                let certificate = ring.certificate_at(kid, now).unwrap();
                assert!(certificate.not_before() < now && now < certificate.not_after());
                seen.entry(kid.to_owned()).or_default().insert(certificate.thumbprint());
            }
            now = now.saturating_add(12 * HOUR);
        }
        match rotate_every {
            Some(_) => {
                assert!(seen.values().all(|all| all.len() == 1), "one for all of a key's life: {seen:?}");
            }
            None => assert_eq!(seen.len(), 2),
        }
    }
}

#[test]
fn the_certificate_goes_with_the_key() {
    let mut ring = KeyRing::new(RingPolicy::default(), key(0), START);
    ring.certify(&name(), START).unwrap();
    let kid = key(0).kid().to_owned();
    assert!(ring.certificate_at(&kid, START).is_some());
    ring.revoke(&kid, START).unwrap();
    assert_eq!(ring.entries()[0].state(), KeyState::Revoked);
    assert!(ring.certificate_at(&kid, START).is_none());
    assert!(!ring.certify(&name(), START).unwrap(), "a revoked key gets none");
    assert!(!String::from_utf8(ring.to_record().to_json().to_vec()).unwrap().contains("der"));
}

#[test]
fn a_record_from_before_certificates_is_read() {
    let ring = KeyRing::new(RingPolicy::default(), key(0), START);
    let json = ring.to_record().to_json();
    assert!(
        !String::from_utf8(json.to_vec()).unwrap().contains("certificate"),
        "the old form is still written"
    );
}

#[test]
fn the_key_of_a_certificate_is_read_and_its_dates_are_looked_at() {
    let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    let made = Certificate::self_signed(&key, &name(), START, START.saturating_add(DAY)).unwrap();
    let twice = format!("# a chain\n{}{}", made.to_pem(), made.to_pem());
    let read = |pem: &str, now| CertifiedKey::from_pem(pem.as_bytes(), now);
    let keys = read(&twice, START).unwrap();
    assert_eq!(keys.len(), 2);
    assert_eq!(keys[0].jwk.material(), key.public_jwk().material());
    assert_eq!(keys[0].not_after, START.saturating_add(DAY));
    assert_eq!(keys[0].pem, made.to_pem(), "and nothing of what stood around it");
    let early = Timestamp::from_seconds(START.as_seconds() - 1);
    assert_eq!(read(&twice, early).unwrap_err(), CertificateRefused::NotYetValid);
    let late = START.saturating_add(DAY + HOUR);
    assert_eq!(read(&twice, late).unwrap_err(), CertificateRefused::Expired);
    assert_eq!(read("nothing", START).unwrap_err(), CertificateRefused::Malformed);
    let private = pem::private_to_pem(&generate_decryption_key(EncryptionKeyType::P256).unwrap().to_jwk());
    let private = String::from_utf8(private.unwrap().to_vec()).unwrap();
    assert_eq!(read(&private, START).unwrap_err().code(), "certificate.malformed");
    let unusable: CertificateRefused = PemError::Unsupported.into();
    assert_eq!(unusable.code(), "pem.unsupported");
}
