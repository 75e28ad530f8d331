//! Attacks on signatures and on the choice of key and algorithm.

use waxseal_envelope::{JwsError, Limits, OpenError, Token, jws};
use waxseal_keys::{Jwk, SignatureAlgorithm, SigningKey, VerifyingKey, generate_signing_key};

use crate::forge::{
    ED25519, ES256, NOW, P256, PS256, Parts, b64, claims, claims_with, expected, header, open_with, refused,
    sign, signed, unb64,
};

/// The honest token with another signature.
fn with_signature(signature: &[u8]) -> String {
    let token = signed();
    format!("{}.{}", &token[..token.rfind('.').unwrap()], b64(signature))
}

fn signature(token: &str) -> Vec<u8> {
    unb64(token.rsplit('.').next().unwrap())
}

/// The order of P-256, big-endian.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa,
    0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `a - b`, big-endian.
fn subtract(a: &[u8; 32], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference = vec![0; 32];
    for at in (0..32).rev() {
        let digit = i16::from(a[at]) - i16::from(b[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

#[test]
fn row_02_symmetric_and_switched_algorithms() {
    let input = |alg: &str| {
        let mut header = header(&ES256);
        header["alg"] = alg.into();
        format!("{}.{}", b64(header.to_string()), b64(claims().to_string()))
    };
    // HMAC with the public key in every form that a library might take as the secret.
    let jwk = ES256.public_jwk();
    let pem = openssl_pem(&jwk);
    for secret in
        [pem.clone(), pem.trim_end().to_owned(), jwk.to_json().to_string(), jwk.to_json()["x"].to_string()]
    {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
        let input = input("HS256");
        let token = format!("{input}.{}", b64(aws_lc_rs::hmac::sign(&key, input.as_bytes())));
        assert_eq!(refused(&token), OpenError::Algorithm);
        assert_eq!(jws::verify(token.as_bytes(), &ES256.verifying_key()), Err(JwsError::Algorithm));
    }
    for alg in ["HS256", "RS256", "PS256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "es256", "ES256 "]
    {
        let input = input(alg);
        let token = format!("{input}.{}", b64(ES256.sign(input.as_bytes()).unwrap()));
        assert_eq!(refused(&token), OpenError::Algorithm, "{alg}");
    }
}

fn openssl_pem(jwk: &Jwk) -> String {
    use openssl::{
        bn::BigNum,
        ec::{EcGroup, EcKey},
        nid::Nid,
    };
    let json = jwk.to_json();
    let [x, y] = ["x", "y"].map(|c| BigNum::from_slice(&unb64(json[c].as_str().unwrap())).unwrap());
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = EcKey::from_public_key_affine_coordinates(&group, &x, &y).unwrap();
    String::from_utf8(key.public_key_to_pem().unwrap()).unwrap()
}

#[test]
fn row_03_key_of_another_kind() {
    // A key under the right kid, but of another type: its own algorithm is what counts.
    let es384 = generate_signing_key(SignatureAlgorithm::Es384).unwrap();
    for other in [&es384, &*ED25519, &*PS256] {
        let jwk = other.public_jwk().with_kid(ES256.kid()).unwrap();
        let key = VerifyingKey::from_jwk(&jwk).unwrap();
        let Token::Signed(signed) = Token::parse(signed().as_bytes(), &Limits::default()).unwrap() else {
            panic!()
        };
        assert_eq!(signed.verify(&key, &expected(), NOW).unwrap_err(), OpenError::Algorithm);
    }
    // EdDSA and Ed25519 name the same signature; a key has one of the names.
    let mut renamed = header(&ED25519);
    renamed["alg"] = "EdDSA".into();
    let token = sign(&ED25519, renamed, claims());
    assert_eq!(open_with(token.as_bytes(), &ED25519, &P256).unwrap_err(), OpenError::Algorithm);
}

#[test]
fn row_10_psychic_and_malformed_ecdsa_signatures() {
    let good = signature(&signed());
    let zero = [0; 32];
    let one = {
        let mut one = [0; 32];
        one[31] = 1;
        one
    };
    for pair in [[zero, zero], [zero, one], [one, zero], [N, N], [N, one], [one, N], [[0xff; 32], [0xff; 32]]]
    {
        assert_eq!(refused(&with_signature(&pair.concat())), OpenError::Signature, "{pair:?}");
    }
    let der = openssl::ecdsa::EcdsaSig::from_private_components(
        openssl::bn::BigNum::from_slice(&good[..32]).unwrap(),
        openssl::bn::BigNum::from_slice(&good[32..]).unwrap(),
    );
    for bytes in [
        der.unwrap().to_der().unwrap(),
        [&good[..], &[0]].concat(),
        [&[0], &good[..]].concat(),
        good[..63].to_vec(),
        vec![],
        [&[0], &good[..32], &[0], &good[32..]].concat(),
    ] {
        assert_eq!(refused(&with_signature(&bytes)), OpenError::Signature);
    }
}

#[test]
fn row_11_malleated_ecdsa_signatures_are_the_same_event() {
    // n - s is as good as s: accepted, so replay is told by jti and never by the bytes of a token.
    let token = signed();
    let twin = malleated(&token);
    assert_ne!(token, twin);
    let [first, second] = [token, twin].map(|token| crate::forge::open(&token).unwrap().event);
    assert_eq!(first.id, second.id);
}

/// The same token with the other valid signature, n - s.
pub fn malleated(token: &str) -> String {
    let good = signature(token);
    let twin = [&good[..32], &subtract(&N, &good[32..])[..]].concat();
    format!("{}.{}", &token[..token.rfind('.').unwrap()], b64(&twin))
}

#[test]
fn row_12_ed25519_malleability() {
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let token = sign(&ED25519, header(&ED25519), claims());
    let mut signature = signature(&token);
    let mut carry = 0;
    for (byte, l) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(l) + carry;
        carry = sum >> 8;
        *byte = u8::try_from(sum & 0xff).unwrap();
    }
    let token = format!("{}.{}", &token[..token.rfind('.').unwrap()], b64(&signature));
    assert_eq!(open_with(token.as_bytes(), &ED25519, &P256).unwrap_err(), OpenError::Signature);
    // Keys of small order are refused when they are imported: see `import`.
}

#[test]
fn row_14_pss_with_another_salt_length() {
    let input = format!("{}.{}", b64(header(&PS256).to_string()), b64(claims().to_string()));
    let open = |salt: i32| {
        let token = format!("{input}.{}", b64(pss(&PS256, input.as_bytes(), salt)));
        open_with(token.as_bytes(), &PS256, &P256)
    };
    assert!(open(32).is_ok());
    for salt in [0, 20, 31, 33, 64] {
        assert_eq!(open(salt).unwrap_err(), OpenError::Signature, "{salt}");
    }
}

#[test]
fn row_15_pkcs1_v1_5_signatures() {
    for alg in ["RS256", "PS256"] {
        let mut header = header(&PS256);
        header["alg"] = alg.into();
        let input = format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
        let key = rsa(&PS256);
        let mut signer = openssl::sign::Signer::new(openssl::hash::MessageDigest::sha256(), &key).unwrap();
        let signature = signer.sign_oneshot_to_vec(input.as_bytes()).unwrap();
        let reason = if alg == "RS256" { OpenError::Algorithm } else { OpenError::Signature };
        let token = format!("{input}.{}", b64(signature));
        assert_eq!(open_with(token.as_bytes(), &PS256, &P256).unwrap_err(), reason);
    }
}

fn rsa(key: &SigningKey) -> openssl::pkey::PKey<openssl::pkey::Private> {
    let jwk = josekit::jwk::Jwk::from_bytes(key.to_jwk().to_json().as_bytes()).unwrap();
    let pair = josekit::jwk::alg::rsa::RsaKeyPair::from_jwk(&jwk).unwrap();
    openssl::pkey::PKey::private_key_from_der(&pair.to_der_private_key()).unwrap()
}

fn pss(key: &SigningKey, input: &[u8], salt: i32) -> Vec<u8> {
    use openssl::{
        hash::MessageDigest,
        rsa::Padding,
        sign::{RsaPssSaltlen, Signer},
    };
    let key = rsa(key);
    let mut signer = Signer::new(MessageDigest::sha256(), &key).unwrap();
    signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
    signer.set_rsa_mgf1_md(MessageDigest::sha256()).unwrap();
    signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(salt)).unwrap();
    signer.sign_oneshot_to_vec(input).unwrap()
}

#[test]
fn row_33_issuer_confusion() {
    // The key of one issuer signs for another: the expected issuer belongs to the key.
    let token = sign(&ES256, header(&ES256), claims_with("iss", "https://other.example".into()));
    assert_eq!(refused(&token), OpenError::Issuer);
    for iss in ["https://h.example/", "https://H.example", "https://h.example ", "http://h.example"] {
        assert_eq!(refused(&sign(&ES256, header(&ES256), claims_with("iss", iss.into()))), OpenError::Issuer);
    }
}

#[test]
fn row_40_all_failures_after_the_key_is_found_look_alike() {
    // Whatever part of the signed bytes is changed, the answer is the same value and the same text.
    let token = signed();
    let (input, signature) = token.rsplit_once('.').unwrap();
    let other = sign(&ES256, header(&ES256), claims_with("jti", "evt_2".into()));
    let (other, _) = other.rsplit_once('.').unwrap();
    assert_eq!(refused(&format!("{other}.{signature}")), OpenError::Signature);
    assert_eq!(refused(&format!("{input}.{}", b64([1; 64]))), OpenError::Signature);
    assert_eq!(OpenError::Signature.to_string(), "the signature does not verify");
    assert_eq!(OpenError::Decrypt.to_string(), "the token does not decrypt");
}

#[test]
fn row_44_errors_and_debug_show_no_token() {
    let token = Parts::new(&P256, &signed()).token();
    let shown = format!("{:?}", Token::parse(token.as_bytes(), &Limits::default()).unwrap());
    let shown = shown + &format!("{:?}", Token::parse(signed().as_bytes(), &Limits::default()).unwrap());
    for part in token.split('.').chain(signed().split('.')).filter(|part| part.len() > 16) {
        assert!(!shown.contains(part), "{shown}");
    }
    let error = refused(&with_signature(&[3; 64]));
    assert!(!format!("{error:?} {error}").contains(&b64([3; 64])));
}
