//! Answers that RFC 8037 prints.
#![allow(missing_docs, clippy::unwrap_used)]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use waxseal_keys::{DecryptionKey, PrivateJwk, SigningKey};

fn octets(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[test]
fn rfc_8037_a_4_signature() {
    let jwk = PrivateJwk::parse(
        br#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
    )
    .unwrap();
    let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let input = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let key = SigningKey::from_jwk(&jwk).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.encode(key.sign(input).unwrap()), signature);
    key.verifying_key().verify(input, &octets(signature)).unwrap();
}

#[test]
fn rfc_8037_a_6_agreement() {
    // Bob's key pair of RFC 7748 §6.1, and the ephemeral key and the secret of RFC 8037 A.6.
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len() / 2)
            .map(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
            .collect()
    };
    let d = URL_SAFE_NO_PAD.encode(hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"));
    let jwk = format!(
        r#"{{"kty":"OKP","crv":"X25519","kid":"Bob","d":"{d}","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}}"#
    );
    let key = DecryptionKey::from_jwk(&PrivateJwk::parse(jwk.as_bytes()).unwrap()).unwrap();
    assert_eq!((key.kid(), key.public_jwk().alg()), ("Bob", Some("ECDH-ES")));
    let secret = key.agree(&octets("hSDwCYkwp1R0i33ctD73Wg2_Og0mOBr066SpjqqbTmo")).unwrap();
    assert_eq!(*secret, hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"));
}
