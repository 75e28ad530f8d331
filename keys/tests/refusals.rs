//! Every refusal of a JWK, each with its reason. The good keys are those of RFC 7517 A.1, RFC 7517 A.2,
//! RFC 8037 A.1, A.6 and RFC 7638 3.1.
#![allow(missing_docs, clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use waxseal_keys::{EncryptionKey, Jwk, JwkError, KeyUse, PrivateJwk, Timestamp, VerifyingKey};

const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

fn ec() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"})
}

fn ed() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

fn xdh() -> Value {
    json!({"kty": "OKP", "crv": "X25519", "x": "3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"})
}

fn rsa() -> Value {
    json!({"kty": "RSA", "n": RSA_N, "e": "AQAB"})
}

/// `base` with the members of `changes`; `null` removes one.
fn with(mut base: Value, changes: Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        base[name] = value.clone();
    }
    base.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    base
}

fn refusal(jwk: &Value) -> JwkError {
    Jwk::parse(jwk.to_string().as_bytes()).map(|_| jwk).expect_err("this key must be refused")
}

fn b64(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

#[test]
fn good_keys_pass() {
    for jwk in [ec(), ed(), xdh(), rsa()] {
        let parsed = Jwk::parse(jwk.to_string().as_bytes()).unwrap();
        assert_eq!(parsed.to_json(), jwk);
    }
    let dressed = with(
        ec(),
        json!({"kid": "mail+1@example.com/#=", "use": "enc", "alg": "ECDH-ES", "key_ops": ["deriveKey"], "ext": true,
        "x5c": ["not a certificate"], "x5u": "http://example.com/", "x5t#S256": 1}),
    );
    let parsed = Jwk::parse(dressed.to_string().as_bytes()).unwrap();
    assert_eq!(
        parsed.to_json(),
        with(ec(), json!({"kid": "mail+1@example.com/#=", "use": "enc", "alg": "ECDH-ES"}))
    );
}

#[test]
fn secrets_are_refused_as_compromised() {
    let d = json!({"d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"});
    let error = refusal(&with(ec(), d.clone()));
    assert_eq!(error, JwkError::PrivateKey { member: "d" });
    assert!(error.to_string().contains("compromised"), "{error}");
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        assert_eq!(refusal(&with(rsa(), json!({member: "AQ"}))), JwkError::PrivateKey { member });
    }
    // Also where nothing else is right.
    assert_eq!(refusal(&json!({"kty": "XX", "d": 1})), JwkError::PrivateKey { member: "d" });
    for jwk in [json!({"kty": "oct", "k": "AAAA"}), json!({"kty": "oct"}), with(ec(), json!({"k": "AAAA"}))] {
        assert_eq!(refusal(&jwk), JwkError::Symmetric);
    }
}

#[test]
fn shapes_are_refused() {
    let parse = |text: &str| Jwk::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse("[]"), JwkError::NotAnObject);
    assert_eq!(parse("{").code(), "jwk.json");
    assert_eq!(parse(&format!("{{\"x5c\":{}}}", "[".repeat(50))).code(), "jwk.json");
    assert_eq!(parse(&" ".repeat(70_000)).code(), "jwk.too_large");
    let twice = ec().to_string().replace("\"kty\":\"EC\"", "\"kty\":\"EC\",\"kty\":\"EC\"");
    assert_eq!(parse(&twice), JwkError::DuplicateMember { member: "kty".into() });
    assert_eq!(parse("{\"a\":[{\"b\":1,\"b\":2}]}"), JwkError::DuplicateMember { member: "b".into() });
    for member in ["kty", "crv", "x", "y"] {
        assert_eq!(refusal(&with(ec(), json!({member: null}))), JwkError::Missing { member });
        let number = JwkError::WrongType { member, expected: "a string" };
        assert_eq!(refusal(&with(ec(), json!({member: 7}))), number);
    }
    for member in ["n", "e"] {
        assert_eq!(refusal(&with(rsa(), json!({member: null}))), JwkError::Missing { member });
    }
    for member in ["kid", "use", "alg"] {
        assert_eq!(
            refusal(&with(ec(), json!({member: ["x"]}))),
            JwkError::WrongType { member, expected: "a string" }
        );
    }
    assert_eq!(
        refusal(&json!({"kty": "AKP", "x": "AA"})),
        JwkError::UnsupportedKeyType { kty: "AKP".into() }
    );
    assert_eq!(refusal(&json!({"kty": "ec"})).code(), "jwk.unsupported_key_type");
}

#[test]
fn sloppy_base64url_is_refused() {
    let x = ec()["x"].as_str().unwrap().to_owned();
    let stray_bits = format!("{}5", &x[..x.len() - 1]);
    for bad in [
        format!("{x}="),
        format!(" {x}"),
        format!("{x}\n"),
        stray_bits,
        x.replace("ZZ", "++").replacen('M', "+", 1),
        x[1..].replacen('K', "/", 1) + "AA",
    ] {
        assert_eq!(refusal(&with(ec(), json!({"x": bad}))), JwkError::Encoding { member: "x" }, "{bad}");
    }
    assert_eq!(refusal(&with(rsa(), json!({"e": "AQAB="}))), JwkError::Encoding { member: "e" });
    assert_eq!(refusal(&with(rsa(), json!({"e": ""}))), JwkError::Encoding { member: "e" });
}

#[test]
fn curves_and_points_are_checked() {
    for crv in ["secp256k1", "P-521", "Ed448", "X448", "p-256"] {
        assert_eq!(refusal(&with(ec(), json!({"crv": crv}))), JwkError::UnsupportedCurve { crv: crv.into() });
    }
    assert_eq!(
        refusal(&with(ed(), json!({"crv": "P-256"}))),
        JwkError::CurveMismatch { crv: "P-256", kty: "OKP" }
    );
    assert_eq!(
        refusal(&with(ec(), json!({"crv": "X25519"}))),
        JwkError::CurveMismatch { crv: "X25519", kty: "EC" }
    );
    assert_eq!(
        refusal(&with(ec(), json!({"crv": "P-384"}))),
        JwkError::Length { member: "x", expected: 48, actual: 32 }
    );
    for len in [0, 31, 33] {
        let y = b64(&vec![1; len]);
        assert_eq!(
            refusal(&with(ec(), json!({"y": y}))),
            JwkError::Length { member: "y", expected: 32, actual: len }
        );
        assert_eq!(
            refusal(&with(ed(), json!({"x": y}))),
            JwkError::Length { member: "x", expected: 32, actual: len }
        );
    }
    let off_curve = JwkError::OffCurve { crv: "P-256" };
    let swapped = json!({"x": ec()["y"], "y": ec()["x"]});
    let zero = b64(&[0; 32]);
    for changes in
        [swapped, json!({"x": zero, "y": zero}), json!({"x": b64(&[255; 32])}), json!({"y": b64(&[1; 32])})]
    {
        assert_eq!(refusal(&with(ec(), changes)), off_curve);
    }
}

#[test]
fn rsa_parameters_are_checked() {
    let n = |bits: usize, last: u8| {
        let mut octets = vec![0xff; bits.div_ceil(8)];
        octets[0] = if bits.is_multiple_of(8) { 0xff } else { (1 << (bits % 8)) - 1 };
        *octets.last_mut().unwrap() = last;
        json!({"n": b64(&octets)})
    };
    for bits in [512, 1024, 2040, 2047] {
        assert_eq!(refusal(&with(rsa(), n(bits, 0xff))), JwkError::RsaTooSmall { bits });
    }
    for bits in [8193, 16_384] {
        assert_eq!(refusal(&with(rsa(), n(bits, 0xff))), JwkError::RsaTooLarge { bits });
    }
    for bits in [2048, 8192] {
        assert!(Jwk::parse(with(rsa(), n(bits, 0xff)).to_string().as_bytes()).is_ok());
    }
    assert_eq!(refusal(&with(rsa(), n(2048, 0xfe))), JwkError::RsaModulus);
    let padded = b64(&[&[0], URL_SAFE_NO_PAD.decode(RSA_N).unwrap().as_slice()].concat());
    assert_eq!(refusal(&with(rsa(), json!({"n": padded}))), JwkError::LeadingZero { member: "n" });
    assert_eq!(refusal(&with(rsa(), json!({"e": "AAEAAQ"}))), JwkError::LeadingZero { member: "e" });
    for e in [&[1][..], &[2], &[3], &[0xff, 0xff], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 1], &[0xff; 256]] {
        assert_eq!(refusal(&with(rsa(), json!({"e": b64(e)}))), JwkError::RsaExponent, "{e:?}");
    }
    assert!(Jwk::parse(with(rsa(), json!({"e": b64(&[0xff; 4])})).to_string().as_bytes()).is_ok());
}

#[test]
fn algorithms_are_refused_by_name_or_because_they_do_not_fit() {
    for alg in [
        "none",
        "HS256",
        "RS256",
        "ES256K",
        "ES512",
        "RSA1_5",
        "RSA-OAEP",
        "ECDH-ES+A256KW",
        "A256KW",
        "dir",
        "PBES2-HS256+A128KW",
        "es256",
    ] {
        let error = refusal(&with(rsa(), json!({"alg": alg})));
        assert_eq!(error, JwkError::AlgNotAccepted { alg: alg.into() });
        assert!(error.to_string().contains(&format!("\"{alg}\" is not accepted")), "{error}");
    }
    for (jwk, alg, key) in [
        (ec(), "ES384", "P-256"),
        (ec(), "EdDSA", "P-256"),
        (ec(), "RSA-OAEP-256", "P-256"),
        (ed(), "ECDH-ES", "Ed25519"),
        (xdh(), "Ed25519", "X25519"),
        (rsa(), "ES256", "RSA"),
        (rsa(), "ECDH-ES", "RSA"),
    ] {
        assert_eq!(refusal(&with(jwk, json!({"alg": alg}))), JwkError::AlgMismatch { alg, key });
    }
}

#[test]
fn purposes_must_agree() {
    let conflict = |key_use, with| JwkError::UseConflict { key_use, with };
    assert_eq!(refusal(&with(ec(), json!({"use": "enc", "alg": "ES256"}))), conflict(KeyUse::Enc, "ES256"));
    assert_eq!(
        refusal(&with(rsa(), json!({"use": "sig", "alg": "RSA-OAEP-256"}))),
        conflict(KeyUse::Sig, "RSA-OAEP-256")
    );
    assert_eq!(refusal(&with(xdh(), json!({"use": "sig"}))), conflict(KeyUse::Sig, "X25519"));
    assert_eq!(refusal(&with(ed(), json!({"use": "enc"}))), conflict(KeyUse::Enc, "Ed25519"));
    assert_eq!(refusal(&with(ec(), json!({"use": "tls"}))), JwkError::UnknownUse);
    for changes in [
        json!({"key_ops": ["verify", "verify"]}),
        json!({"key_ops": ["verify", "deriveBits"]}),
        json!({"use": "enc", "key_ops": ["verify"]}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": ["fly"]}),
    ] {
        assert_eq!(refusal(&with(ec(), changes)), JwkError::KeyOps);
    }
    assert_eq!(refusal(&with(ec(), json!({"key_ops": "verify"}))).code(), "jwk.wrong_type");
    assert_eq!(
        refusal(&with(ec(), json!({"key_ops": ["verify"], "alg": "ECDH-ES"}))).code(),
        "jwk.use_conflict"
    );
    // WebCrypto exports public ECDH keys with no operations at all.
    assert!(Jwk::parse(with(ec(), json!({"key_ops": []})).to_string().as_bytes()).is_ok());
}

#[test]
fn keys_are_used_for_what_they_are_for() {
    let parse = |jwk: Value| Jwk::parse(jwk.to_string().as_bytes()).unwrap();
    let (sig, enc) = (KeyUse::Sig, KeyUse::Enc);
    for jwk in [
        with(ec(), json!({"use": "sig"})),
        with(ec(), json!({"alg": "ES256"})),
        with(rsa(), json!({"key_ops": ["verify"]})),
        ed(),
    ] {
        let wrong = JwkError::WrongUse { wanted: enc, found: sig };
        assert_eq!(EncryptionKey::from_jwk(&parse(jwk.clone())).unwrap_err(), wrong);
        assert!(VerifyingKey::from_jwk(&parse(jwk)).is_ok());
    }
    for jwk in [
        with(ec(), json!({"use": "enc"})),
        with(ec(), json!({"alg": "ECDH-ES"})),
        with(rsa(), json!({"key_ops": ["wrapKey"]})),
        xdh(),
    ] {
        let wrong = JwkError::WrongUse { wanted: sig, found: enc };
        assert_eq!(VerifyingKey::from_jwk(&parse(jwk.clone())).unwrap_err(), wrong);
        assert!(EncryptionKey::from_jwk(&parse(jwk)).is_ok());
    }
    // Neither said: either may be.
    assert_eq!(VerifyingKey::from_jwk(&parse(ec())).unwrap().alg().name(), "ES256");
    assert_eq!(EncryptionKey::from_jwk(&parse(ec())).unwrap().alg().name(), "ECDH-ES");
    assert_eq!(VerifyingKey::from_jwk(&parse(rsa())).unwrap().alg().name(), "PS256");
    assert_eq!(EncryptionKey::from_jwk(&parse(rsa())).unwrap().alg().name(), "RSA-OAEP-256");
    assert_eq!(
        VerifyingKey::from_jwk(&parse(with(ed(), json!({"alg": "Ed25519"})))).unwrap().alg().name(),
        "Ed25519"
    );
}

#[test]
fn kids_are_lenient_but_harmless() {
    for good in ["a", "2011-04-29", "https://example.com/keys#1", "a+b/c==", &"k".repeat(128)] {
        assert!(Jwk::parse(with(ec(), json!({"kid": good})).to_string().as_bytes()).is_ok(), "{good}");
    }
    for bad in ["", "a b", "a\"b", "a'b", "a`b", "a\\b", "a\nb", "a\u{0}", "schl\u{fc}ssel", &"k".repeat(129)]
    {
        assert_eq!(refusal(&with(ec(), json!({"kid": bad}))), JwkError::Kid, "{bad}");
        assert!(Jwk::parse(ec().to_string().as_bytes()).unwrap().with_kid(bad).is_err());
    }
}

#[test]
fn private_keys_must_be_whole_and_match() {
    let private = |jwk: &Value| PrivateJwk::parse(jwk.to_string().as_bytes()).map(|_| ());
    let d = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";
    assert_eq!(private(&with(ec(), json!({"d": d}))), Ok(()));
    assert_eq!(private(&ec()), Err(JwkError::Missing { member: "d" }));
    assert_eq!(private(&rsa()), Err(JwkError::Missing { member: "d" }));
    assert_eq!(private(&with(rsa(), json!({"d": "AQ"}))), Err(JwkError::Missing { member: "p" }));
    assert_eq!(private(&with(rsa(), json!({"d": "AQ", "oth": []}))), Err(JwkError::MultiPrime));
    assert_eq!(
        private(&with(ec(), json!({"d": "AQ"}))),
        Err(JwkError::Length { member: "d", expected: 32, actual: 1 })
    );
    let other = b64(&[7; 32]);
    for base in [ec(), ed(), xdh()] {
        assert_eq!(private(&with(base, json!({"d": other}))), Err(JwkError::PairMismatch));
    }
    let nonsense = json!({"d": other, "p": other, "q": other, "dp": other, "dq": other, "qi": other});
    assert_eq!(private(&with(rsa(), nonsense)), Err(JwkError::PairMismatch));
    assert_eq!(private(&with(ec(), json!({"d": d, "k": "AA"}))), Err(JwkError::Symmetric));
    assert_eq!(private(&with(ec(), json!({"d": d, "key_ops": ["sign", "verify"]}))), Ok(()));
    assert_eq!(private(&with(ec(), json!({"d": b64(&[0; 32])}))), Err(JwkError::PairMismatch));
}

/// It is in no RFC, so what is no time says nothing, and never makes a key unusable.
#[test]
fn an_end_is_read_where_there_is_one_and_kept() {
    let read = |exp: &str| {
        let json = format!(
            r#"{{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","exp":{exp}}}"#
        );
        Jwk::parse(json.as_bytes()).unwrap()
    };
    let key = read("1795293600");
    assert_eq!(key.expires_at(), Some(Timestamp::from_seconds(1_795_293_600)));
    assert_eq!(key.to_json()["exp"], 1_795_293_600);
    for nothing in ["null", "\"soon\"", "1.5", "99999999999999999999", "{}"] {
        assert_eq!(read(nothing).expires_at(), None, "{nothing}");
        assert!(read(nothing).to_json().get("exp").is_none());
    }
}
