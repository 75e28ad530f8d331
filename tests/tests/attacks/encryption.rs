//! Attacks on sealed tokens. Whoever makes them needs nothing but the consumer's public key.

use serde_json::json;
use waxseal_envelope::{HeaderError, JweError, Malformed, OpenError, Part, jwe};
use waxseal_keys::{SignatureAlgorithm, generate_signing_key};

use crate::forge::{ES256, P256, Parts, RSA, X25519, b64, claims, header, open_with, refused, sign, signed};

fn sealed() -> Parts {
    Parts::new(&P256, &signed())
}

fn length(part: Part, expected: usize) -> OpenError {
    OpenError::Malformed(Malformed::Length { part, expected })
}

#[test]
fn row_16_hostile_ephemeral_keys() {
    let value = OpenError::Header(HeaderError::Value { member: "epk" });
    let good = sealed().header["epk"].clone();
    let (x, y) = (good["x"].clone(), good["y"].clone());
    let zero = b64([0; 32]);
    let with = |epk| {
        let mut parts = sealed();
        parts.header["epk"] = epk;
        refused(&parts.token())
    };
    for (epk, reason) in [
        // Off the curve, or not a point at all: only the agreement can tell, and it tells nothing.
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}), OpenError::Decrypt),
        (json!({"kty": "EC", "crv": "P-256", "x": zero, "y": zero}), OpenError::Decrypt),
        (
            json!({"kty": "EC", "crv": "P-256", "x": b64([0xff; 32]), "y": b64([0xff; 32])}),
            OpenError::Decrypt,
        ),
        // A curve that is not the key's.
        (json!({"kty": "OKP", "crv": "X25519", "x": b64([9; 32])}), OpenError::Decrypt),
        (json!({"kty": "EC", "crv": "P-384", "x": b64([1; 48]), "y": b64([1; 48])}), OpenError::Decrypt),
        (json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}), value.clone()),
        (json!({"kty": "EC", "crv": "P-521", "x": x, "y": y}), value.clone()),
        (json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": y}), value.clone()),
        (json!({"kty": "EC", "crv": "P-256", "x": x}), value.clone()),
        (json!({"kty": "EC", "crv": "P-256", "x": "", "y": ""}), value.clone()),
        (json!({"kty": "EC", "crv": "P-256", "x": b64([1; 33]), "y": y}), value.clone()),
        (
            json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "d": zero}),
            OpenError::Header(HeaderError::PrivateEpk),
        ),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": "k"}), value.clone()),
        (json!({"kty": "oct", "k": zero}), OpenError::Header(HeaderError::PrivateEpk)),
        (json!({"kty": "RSA", "n": zero, "e": "AQAB"}), value.clone()),
        (json!({}), value.clone()),
        (json!("epk"), value.clone()),
        (json!([]), value),
    ] {
        assert_eq!(with(epk.clone()), reason, "{epk}");
    }
    let mut parts = sealed();
    parts.header.as_object_mut().unwrap().remove("epk");
    assert_eq!(refused(&parts.token()), OpenError::Header(HeaderError::Missing { member: "epk" }));
    for point in [[0; 32], {
        let mut one = [0; 32];
        one[0] = 1;
        one
    }] {
        let mut parts = Parts::new(&X25519, &signed());
        parts.header["epk"]["x"] = b64(point).into();
        assert_eq!(open_with(parts.token().as_bytes(), &ES256, &X25519).unwrap_err(), OpenError::Decrypt);
    }
}

#[test]
fn row_17_rsa_oracles() {
    let mut parts = Parts::new(&RSA, &signed());
    parts.header["alg"] = "RSA1_5".into();
    assert_eq!(open_with(parts.token().as_bytes(), &ES256, &RSA).unwrap_err(), OpenError::Algorithm);
    parts.header["alg"] = "RSA-OAEP".into();
    assert_eq!(open_with(parts.token().as_bytes(), &ES256, &RSA).unwrap_err(), OpenError::Algorithm);
    // Every broken encrypted key gets the one answer, whatever is wrong with it.
    let good = Parts::new(&RSA, &signed()).encrypted_key;
    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let short =
        waxseal_keys::EncryptionKey::from_jwk(&RSA.public_jwk()).unwrap().rsa_oaep_encrypt(&[9; 16]).unwrap();
    for encrypted_key in [
        flipped(0),
        flipped(200),
        flipped(383),
        vec![0; 384],
        vec![0xff; 384],
        vec![],
        vec![1],
        good[..383].to_vec(),
        [&good[..], &[0]].concat(),
        [&[0], &good[..]].concat(),
        short,
    ] {
        let parts = Parts { encrypted_key, ..Parts::new(&RSA, &signed()) };
        assert_eq!(open_with(parts.token().as_bytes(), &ES256, &RSA).unwrap_err(), OpenError::Decrypt);
    }
}

#[test]
fn row_18_cbc_and_other_content_encryptions() {
    for enc in
        ["A128CBC-HS256", "A192CBC-HS384", "A256CBC-HS512", "A128GCM", "A192GCM", "a256gcm", "none", ""]
    {
        let mut parts = sealed();
        parts.header["enc"] = enc.into();
        assert_eq!(refused(&parts.token()), OpenError::Algorithm, "{enc}");
    }
    let mut parts = sealed();
    parts.header.as_object_mut().unwrap().remove("enc");
    assert_eq!(refused(&parts.token()), OpenError::Header(HeaderError::Missing { member: "enc" }));
}

#[test]
fn row_19_lengths_of_iv_and_tag() {
    for tag_len in [0, 1, 4, 8, 12, 15, 17, 32] {
        assert_eq!(refused(&Parts { tag_len, ..sealed() }.token()), length(Part::Tag, 16), "{tag_len}");
    }
    for iv_len in [0, 1, 8, 11, 13, 16] {
        assert_eq!(
            refused(&Parts { iv: vec![7; iv_len], ..sealed() }.token()),
            length(Part::Iv, 12),
            "{iv_len}"
        );
    }
    let token = sealed().token();
    for last in ["A", "B", "Q"] {
        // 16 bytes end in 4 unused bits: a tag has one encoding.
        let changed = format!("{}{last}", &token[..token.len() - 1]);
        assert!(
            changed == token || matches!(refused(&changed), OpenError::Decrypt | OpenError::Malformed(_))
        );
    }
}

#[test]
fn row_20_missing_pieces() {
    let parts = Parts { encrypted_key: vec![1, 2, 3], ..sealed() };
    assert_eq!(refused(&parts.token()), length(Part::EncryptedKey, 0));
    let token = sealed().token();
    let segments: Vec<&str> = token.split('.').collect();
    assert_eq!(segments[1], "");
    for (missing, reason) in [
        (0, OpenError::Header(HeaderError::Json)),
        (2, length(Part::Iv, 12)),
        (3, OpenError::Decrypt),
        (4, length(Part::Tag, 16)),
    ] {
        let mut segments = segments.clone();
        segments[missing] = "";
        assert_eq!(refused(&segments.join(".")), reason);
    }
    assert_eq!(refused("...."), OpenError::Header(HeaderError::Json));
}

#[test]
fn row_21_password_and_key_wrap_algorithms() {
    for alg in [
        "PBES2-HS256+A128KW",
        "PBES2-HS512+A256KW",
        "dir",
        "A128KW",
        "A256KW",
        "A256GCMKW",
        "ECDH-ES+A128KW",
        "ECDH-ES+A256KW",
        "RSA-OAEP",
        "RSA-OAEP-512",
        "RSA1_5",
        "ecdh-es",
        "ECDH-1PU",
        "none",
        "ES256",
    ] {
        let mut parts = sealed();
        parts.header["alg"] = alg.into();
        assert_eq!(refused(&parts.token()), OpenError::Algorithm, "{alg}");
    }
    // An allowed algorithm that is not the key's.
    let mut parts = sealed();
    parts.header["alg"] = "RSA-OAEP-256".into();
    parts.header.as_object_mut().unwrap().remove("epk");
    assert_eq!(refused(&parts.token()), OpenError::Algorithm);
    let mut stray = Parts::new(&RSA, &signed());
    stray.header["epk"] = sealed().header["epk"].clone();
    let reason = open_with(stray.token().as_bytes(), &ES256, &RSA).unwrap_err();
    assert_eq!(reason, OpenError::Header(HeaderError::Unknown { member: "epk".into() }));
}

#[test]
fn row_27_nesting_is_exactly_one() {
    let once = sealed().token();
    assert_eq!(refused(&Parts::new(&P256, &once).token()), OpenError::Malformed(Malformed::Inner));
    // A sealed token as the payload of a signed one is no claims set.
    let reason = refused(&sign(&ES256, header(&ES256), &once));
    assert_eq!(reason, OpenError::Claims(waxseal_envelope::ClaimsError::Json));
    // A JWS where a JWE is asked for, and the reverse.
    let decrypted = jwe::decrypt(signed().as_bytes(), &P256);
    assert_eq!(decrypted, Err(JweError::Malformed(Malformed::Segments { found: 3 })));
    let verified = waxseal_envelope::jws::verify(once.as_bytes(), &ES256.verifying_key());
    assert_eq!(verified, Err(waxseal_envelope::JwsError::Malformed(Malformed::Segments { found: 5 })));
}

#[test]
fn row_28_encryption_proves_nothing() {
    // Claims without a signature, in the clear or as an unsecured token.
    let claims = claims().to_string();
    assert_eq!(refused(&Parts::new(&P256, &claims).token()), OpenError::Malformed(Malformed::Byte { at: 0 }));
    let unsecured = format!("{}.{}.", b64(r#"{"typ":"secevent+jwt","alg":"none","kid":"k"}"#), b64(&claims));
    assert_eq!(refused(&Parts::new(&P256, &unsecured).token()), OpenError::Algorithm);
    // Signed by the attacker's own key, under its own kid and under ours.
    let own = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    assert_eq!(
        refused(&Parts::new(&P256, &sign(&own, header(&own), &claims)).token()),
        OpenError::UnknownKey
    );
    assert_eq!(
        refused(&Parts::new(&P256, &sign(&own, header(&ES256), &claims)).token()),
        OpenError::Signature
    );
    // The content must say that it is a JWT, and the whole that it is a Security Event Token.
    for (member, values) in [("cty", ["JSON", "", "secevent+jwt"]), ("typ", ["JWT", "", "JOSE"])] {
        for value in values {
            let mut parts = sealed();
            parts.header[member] = value.into();
            let reason = refused(&parts.token());
            assert!(
                matches!(reason, OpenError::Header(HeaderError::Value { member: m }) if m == member),
                "{reason:?}"
            );
        }
        let mut parts = sealed();
        parts.header.as_object_mut().unwrap().remove(member);
        let reason = refused(&parts.token());
        assert!(
            matches!(reason, OpenError::Header(HeaderError::Missing { member: m }) if m == member),
            "{reason:?}"
        );
    }
}

#[test]
fn row_29_downgrade_is_visible() {
    use waxseal_envelope::{Limits, Token};
    let Token::Signed(signed) = Token::parse(signed().as_bytes(), &Limits::default()).unwrap() else {
        panic!()
    };
    assert!(!signed.was_sealed());
    let Token::Sealed(sealed) = Token::parse(sealed().token().as_bytes(), &Limits::default()).unwrap() else {
        panic!()
    };
    assert!(sealed.decrypt(&P256).unwrap().was_sealed());
}

#[test]
fn row_40_all_decryption_failures_are_one() {
    let mut reasons = Vec::new();
    let token = sealed().token();
    let segments: Vec<String> = token.split('.').map(str::to_owned).collect();
    for at in [2, 3, 4] {
        let mut segments = segments.clone();
        let first = if segments[at].starts_with('A') { "B" } else { "A" };
        segments[at].replace_range(..1, first);
        reasons.push(refused(&segments.join(".")));
    }
    reasons.push(refused(&Parts { cek: vec![1; 32], ..sealed() }.token()));
    let mut parts = sealed();
    parts.header["apu"] = b64("somebody").into();
    reasons.push(refused(&parts.token()));
    let mut reordered = sealed();
    reordered.header["apv"] = b64("").into();
    assert!(reordered.token() != token);
    assert!(reasons.iter().all(|reason| *reason == OpenError::Decrypt), "{reasons:?}");
}

#[test]
fn row_41_keys_with_one_kid_for_two_purposes() {
    // A sender's signing key cannot decrypt and a consumer's encryption key cannot verify: import pins the use.
    use waxseal_keys::{EncryptionKey, Jwk, VerifyingKey};
    let sig: Jwk = ES256.public_jwk().with_kid("same").unwrap();
    let enc: Jwk = P256.public_jwk().with_kid("same").unwrap();
    assert!(VerifyingKey::from_jwk(&sig).is_ok());
    assert_eq!(VerifyingKey::from_jwk(&enc).unwrap_err().code(), "jwk.wrong_use");
    assert!(EncryptionKey::from_jwk(&enc).is_ok());
    assert_eq!(EncryptionKey::from_jwk(&sig).unwrap_err().code(), "jwk.wrong_use");
}
