use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_795_293_598); // 2026-11-21

fn params(from: i32, until: i32) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, "client.example");
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

fn made(from: i32, until: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params(from, until).self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn a_certificate_is_described_as_people_know_it() {
    let (pem, key) = made(2026, 2027);
    let read = CertificateWithKey::parse(&pem, &key, NOW).unwrap();
    assert_eq!(read.summary.subject, "client.example");
    assert_eq!(read.summary.not_after, Timestamp::from_seconds(1_798_761_600)); // 2027-01-01T00:00:00Z
    let openssl =
        X509::from_pem(pem.as_bytes()).unwrap().digest(openssl::hash::MessageDigest::sha256()).unwrap();
    let expected: String = openssl.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(read.summary.fingerprint_sha256, expected);
    let shown = format!("{read:?}");
    assert!(!shown.contains("PRIVATE KEY"), "{shown}");
    assert!(read.to_der().is_some());
}

#[test]
fn keys_of_every_form_are_taken_if_they_belong_to_the_certificate() {
    let rsa = openssl::rsa::Rsa::generate(2048).unwrap();
    let pkcs1 = String::from_utf8(rsa.private_key_to_pem().unwrap()).unwrap();
    let pkey = openssl::pkey::PKey::from_rsa(rsa).unwrap();
    let pkcs8 = String::from_utf8(pkey.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let for_rcgen = KeyPair::from_pem(&pkcs8).unwrap();
    let pem = params(2026, 2027).self_signed(&for_rcgen).unwrap().pem();
    for key in [&pkcs1, &pkcs8] {
        assert!(CertificateWithKey::parse(&pem, key, NOW).is_ok());
    }
    let locked =
        pkey.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"x").unwrap();
    let locked = String::from_utf8(locked).unwrap();
    let (_, other) = made(2026, 2027);
    for (key, refused) in [
        (other.as_str(), CertificateRefused::OtherKey),
        (&locked, CertificateRefused::NotAKey),
        ("", CertificateRefused::NotAKey),
        (&pem, CertificateRefused::NotAKey),
        (&"x".repeat(MAX_PEM + 1), CertificateRefused::TooMuch),
    ] {
        assert_eq!(CertificateWithKey::parse(&pem, key, NOW).unwrap_err(), refused);
    }
}

#[test]
fn certificates_out_of_their_time_or_beside_a_key_are_refused() {
    let (good, key) = made(2026, 2027);
    let (over, over_key) = made(2020, 2026);
    let (early, early_key) = made(2027, 2028);
    assert_eq!(CertificateWithKey::parse(&over, &over_key, NOW).unwrap_err(), CertificateRefused::Expired(0));
    assert_eq!(
        CertificateWithKey::parse(&early, &early_key, NOW).unwrap_err(),
        CertificateRefused::NotYetValid(0)
    );
    for (pem, refused) in [
        (format!("{good}{over}"), CertificateRefused::Expired(1)),
        (format!("{good}{key}"), CertificateRefused::PrivateKey),
        (String::new(), CertificateRefused::NotCertificates),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            CertificateRefused::NotCertificates,
        ),
        ("-----BEGIN CERTIFICATE-----\n!\n".to_owned(), CertificateRefused::NotCertificates),
        (good.repeat(17), CertificateRefused::TooMuch),
    ] {
        assert_eq!(TrustedCertificates::parse(&pem, NOW).unwrap_err(), refused);
    }
    let both = TrustedCertificates::parse(&good.repeat(2), NOW).unwrap();
    assert_eq!((both.certificates.len(), both.to_der().len()), (2, 2));
}
