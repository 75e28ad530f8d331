//! Wycheproof's files of primitives, each as close to a token as its form allows.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use waxseal_envelope::{JweError, Malformed, Part, jwe};
use waxseal_keys::{DecryptionKey, EncryptionKey, Jwk, PrivateJwk, VerifyingKey};

use crate::verdict::{hex, read, wycheproof};

#[test]
fn ecdsa_p256_signatures() {
    signatures("wycheproof/ecdsa_secp256r1_sha256_p1363_test.json", 175);
}

#[test]
fn ed25519_signatures() {
    signatures("wycheproof/ed25519_test.json", 101);
}

#[test]
fn rsa_pss_signatures() {
    signatures("wycheproof/rsa_pss_2048_sha256_mgf1_32_test.json", 72);
}

/// The signature alone decides: every key imports, every invalid case is an invalid signature.
fn signatures(file: &str, count: usize) {
    let file = read(file);
    let mut judged = 0;
    for (group, test) in wycheproof(&file) {
        let jwk = match &group["publicKeyJwk"] {
            Value::Null => ec_jwk(&hex(&group["publicKey"]["uncompressed"])),
            jwk => jwk.clone(),
        };
        let jwk = Jwk::parse(jwk.to_string().as_bytes()).unwrap();
        let outcome = VerifyingKey::from_jwk(&jwk).unwrap().verify(&hex(&test["msg"]), &hex(&test["sig"]));
        let expected = if test["result"] == "valid" { Ok(()) } else { Err("signature.invalid") };
        assert_eq!(outcome.map_err(|error| error.code()), expected, "{test}");
        judged += 1;
    }
    assert_eq!(judged, count);
}

/// Upstream gives some keys only as `04 || x || y`.
fn ec_jwk(point: &[u8]) -> Value {
    let [x, y] = [&point[1..33], &point[33..]].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
    json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
}

#[test]
fn ecdh_p256() {
    let file = read("wycheproof/ecdh_secp256r1_webcrypto_test.json");
    for (_, test) in wycheproof(&file) {
        let (import, decryption) = agreement(test);
        let flags = test["flags"].to_string();
        let expected = match (test["result"] == "valid", flags.contains("InvalidCurve")) {
            (true, _) => (Ok(()), Ok(())),
            // On the curve that it names, so only the agreement can tell.
            (false, true) => (Err("jwk.off_curve"), Err("jwe.decrypt")),
            (false, false) if test["public"]["crv"] == "P-256" => (Err("jwk.off_curve"), Err("jwe.decrypt")),
            (false, false) => (Err("jwk.unsupported_curve"), Err("jwe.header")),
        };
        assert_eq!((import, decryption), expected, "{test}");
    }
}

#[test]
fn x25519() {
    let file = read("wycheproof/x25519_jwk_test.json");
    for (_, test) in wycheproof(&file) {
        let (import, decryption) = agreement(test);
        let flags = test["flags"].to_string();
        match test["result"].as_str().unwrap() {
            // A key of another type that is sound in itself: it just does not agree with this one.
            "invalid" if test["public"]["crv"] == "P-384" => {
                assert_eq!((import, decryption), (Ok(()), Err("jwe.decrypt")), "{test}");
            }
            "invalid" => {
                assert!(import.is_err(), "{test}");
                assert_eq!(decryption, Err("jwe.header"), "{test}");
            }
            // RFC 7748 section 6.1: a shared secret of zero is refused.
            _ if flags.contains("ZeroSharedSecret") => {
                let reason = if canonical(test) { "jwk.small_order" } else { "jwk.non_canonical_point" };
                assert_eq!((import, decryption), (Err(reason), Err("jwe.decrypt")), "{test}");
            }
            // RFC 7748 section 5: points on the twist and values above p are to be accepted in an agreement. A key
            // that somebody publishes has no reason to be such a value.
            _ if !canonical(test) => {
                assert_eq!((import, decryption), (Err("jwk.non_canonical_point"), Ok(())), "{test}");
            }
            _ => assert_eq!((import, decryption), (Ok(()), Ok(())), "{test}"),
        }
    }
}

/// Whether the public key is a number below p = 2^255 - 19 (upstream's flag is missing in places).
fn canonical(test: &Value) -> bool {
    let x = URL_SAFE_NO_PAD.decode(test["public"]["x"].as_str().unwrap()).unwrap();
    let above = x[31] == 0x7f && x[1..31].iter().all(|byte| *byte == 0xff) && x[0] >= 0xed;
    x[31] < 0x80 && !above
}

/// What import says to the public key, and what decryption says to a token that has it as `epk` and whose content
/// is encrypted under what upstream gives as the shared secret.
fn agreement(test: &Value) -> (Result<(), &'static str>, Result<(), &'static str>) {
    let import = Jwk::parse(test["public"].to_string().as_bytes())
        .and_then(|jwk| EncryptionKey::from_jwk(&jwk))
        .map(|_| ())
        .map_err(|error| error.code());
    let own = PrivateJwk::parse(test["private"].to_string().as_bytes()).unwrap();
    let own = DecryptionKey::from_jwk(&own).unwrap();
    let mut epk = test["public"].clone();
    epk.as_object_mut().unwrap().remove("kid");
    let header = json!({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}).to_string();
    let token = token(&header, &concat_kdf(&hex(&test["shared"])));
    let decryption = jwe::decrypt(token.as_bytes(), &own).map_err(|error| error.code());
    (import, decryption.map(|plaintext| assert_eq!(plaintext, b"agreed")))
}

/// A token of direct encryption under this key.
fn token(header: &str, cek: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(header);
    let mut content = b"agreed".to_vec();
    let gcm = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, cek).unwrap());
    let nonce = Nonce::assume_unique_for_key([7; 12]);
    let tag = gcm.seal_in_place_separate_tag(nonce, Aad::from(&header), &mut content).unwrap();
    let [iv, content, tag] =
        [&[7; 12], &content[..], tag.as_ref()].map(|bytes| URL_SAFE_NO_PAD.encode(bytes));
    format!("{header}..{iv}.{content}.{tag}")
}

/// RFC 7518 section 4.6.2 with empty party information, written down once more.
fn concat_kdf(z: &[u8]) -> Vec<u8> {
    let input = [&[0, 0, 0, 1], z, &[0, 0, 0, 7], b"A256GCM", &[0; 4], &[0; 4], &[0, 0, 1, 0]].concat();
    digest::digest(&digest::SHA256, &input).as_ref().to_vec()
}

#[test]
fn rsa_oaep() {
    let file = read("wycheproof/rsa_oaep_2048_sha256_mgf1sha256_test.json");
    for (group, test) in wycheproof(&file) {
        let jwk = PrivateJwk::parse(group["privateKeyJwk"].to_string().as_bytes()).unwrap();
        let key = DecryptionKey::from_jwk(&jwk).unwrap();
        let outcome = key.rsa_oaep_decrypt(&hex(&test["ct"])).map_err(|error| error.code());
        // RFC 7518 section 4.3: the label is empty, so a ciphertext with another one is as good as broken.
        if test["result"] == "valid" && test["label"] == "" {
            assert_eq!(outcome.as_deref(), Ok(&hex(&test["msg"])), "{test}");
        } else {
            assert_eq!(outcome.unwrap_err(), "decrypt.failed", "{test}");
        }
    }
}

#[test]
fn aes_gcm() {
    let file = read("wycheproof/aes_gcm_test.json");
    for (group, test) in wycheproof(&file) {
        // First for its algorithm, then for the length of its initialisation vector, and only then by GCM.
        let expected = match (group["keySize"] == 256, group["ivSize"] == 96) {
            (false, _) => JweError::Algorithm,
            (true, false) => JweError::Malformed(Malformed::Length { part: Part::Iv, expected: 12 }),
            (true, true) => JweError::Decrypt,
        };
        assert_eq!(as_token(&format!("A{}GCM", group["keySize"]), test), expected, "{test}");
        if expected == JweError::Decrypt {
            primitive(test);
        }
    }
}

#[test]
fn aes_cbc_with_hmac() {
    let file = read("wycheproof/a256cbc_hs512_test.json");
    let mut judged = 0;
    for (_, test) in wycheproof(&file) {
        // There is no CBC here, so no padding that could be asked about: valid or not, the name of it is refused, and
        // under the name of ours its initialisation vector does not fit.
        assert_eq!(as_token("A256CBC-HS512", test), JweError::Algorithm, "{test}");
        let length = JweError::Malformed(Malformed::Length { part: Part::Iv, expected: 12 });
        assert_eq!(as_token("A256GCM", test), length, "{test}");
        judged += 1;
    }
    assert_eq!(judged, 63);
}

/// The reason for which a case is refused as a token. Nobody knows an ephemeral key that agrees on the vector's key, so
/// each one is.
fn as_token(enc: &str, test: &Value) -> JweError {
    let own = PrivateJwk::parse(
        br#"{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","d":"XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os"}"#,
    )
    .unwrap();
    let own = DecryptionKey::from_jwk(&own).unwrap();
    let epk = json!({"kty": "OKP", "crv": "X25519", "x": "xvXHh3Q2S4VotXgBddGWD_KhnzYZ_euB2eaekLvvADU"});
    let header = json!({"alg": "ECDH-ES", "enc": enc, "epk": epk}).to_string();
    let [iv, content, tag] = ["iv", "ct", "tag"].map(|member| URL_SAFE_NO_PAD.encode(hex(&test[member])));
    let token = format!("{}..{iv}.{content}.{tag}", URL_SAFE_NO_PAD.encode(header));
    jwe::decrypt(token.as_bytes(), &own).unwrap_err()
}

/// The primitive itself, for keys and lengths of A256GCM.
fn primitive(test: &Value) {
    let gcm = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &hex(&test["key"])).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&hex(&test["iv"])).unwrap();
    let mut content = [hex(&test["ct"]), hex(&test["tag"])].concat();
    let outcome = gcm.open_in_place(nonce, Aad::from(hex(&test["aad"])), &mut content);
    assert_eq!(outcome.is_ok(), test["result"] == "valid", "{test}");
    if let Ok(plaintext) = outcome {
        assert_eq!(plaintext, hex(&test["msg"]));
    }
}
