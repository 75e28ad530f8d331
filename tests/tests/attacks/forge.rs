//! Makes tokens that no honest sender makes: any header, any claims, any keys.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use waxseal_envelope::{Audience, Expected, Issuer, Limits, OpenError, Opened, Token};
use waxseal_keys::{
    DecryptionKey, EncryptionKey, EncryptionKeyType, SignatureAlgorithm, SigningKey, Timestamp,
    generate_decryption_key, generate_signing_key,
};

pub const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);

pub static ES256: LazyLock<SigningKey> =
    LazyLock::new(|| generate_signing_key(SignatureAlgorithm::Es256).unwrap());
pub static ED25519: LazyLock<SigningKey> =
    LazyLock::new(|| generate_signing_key(SignatureAlgorithm::Ed25519).unwrap());
pub static PS256: LazyLock<SigningKey> =
    LazyLock::new(|| generate_signing_key(SignatureAlgorithm::Ps256).unwrap());
pub static P256: LazyLock<DecryptionKey> =
    LazyLock::new(|| generate_decryption_key(EncryptionKeyType::P256).unwrap());
pub static X25519: LazyLock<DecryptionKey> =
    LazyLock::new(|| generate_decryption_key(EncryptionKeyType::X25519).unwrap());
pub static RSA: LazyLock<DecryptionKey> =
    LazyLock::new(|| generate_decryption_key(EncryptionKeyType::Rsa3072).unwrap());

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

pub fn expected() -> Expected {
    Expected::new(Issuer::parse("https://h.example").unwrap(), Audience::parse("acme").unwrap())
}

/// Honest claims.
pub fn claims() -> Value {
    json!({
        "iss": "https://h.example", "aud": "acme", "jti": "evt_1", "iat": 1_795_293_600,
        "events": {"https://h.example/events/order.created": {"data": {"order": "991"}}},
    })
}

/// Honest claims with one member replaced, or removed by `null`.
pub fn claims_with(name: &str, value: Value) -> String {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims.to_string()
}

/// The honest header of a signed token.
pub fn header(key: &SigningKey) -> Value {
    json!({"typ": "secevent+jwt", "alg": key.alg().name(), "kid": key.kid()})
}

/// A token with any header and payload, truly signed.
pub fn sign(key: &SigningKey, header: impl ToString, payload: impl ToString) -> String {
    let input = format!("{}.{}", b64(header.to_string()), b64(payload.to_string()));
    let signature = b64(key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

/// An honest signed token.
pub fn signed() -> String {
    sign(&ES256, header(&ES256), claims())
}

/// The honest header of a sealed token, with the ephemeral key still missing.
pub fn outer(key: &DecryptionKey) -> Value {
    json!({
        "alg": key.alg().name(), "enc": "A256GCM", "kid": key.kid(), "typ": "secevent+jwt", "cty": "JWT",
    })
}

/// What a sealed token is made of, to be changed before it is put together.
pub struct Parts {
    pub header: Value,
    pub encrypted_key: Vec<u8>,
    pub iv: Vec<u8>,
    pub tag_len: usize,
    pub content: Vec<u8>,
    /// The key that the content is encrypted under, whatever the header says about it.
    pub cek: Vec<u8>,
}

impl Parts {
    /// Agrees with the key, or encrypts a content encryption key to it.
    pub fn new(key: &DecryptionKey, content: &str) -> Self {
        let mut header = outer(key);
        let public = EncryptionKey::from_jwk(&key.public_jwk()).unwrap();
        let (cek, encrypted_key) = match public.curve() {
            Some(curve) => {
                let (epk, z) = public.agree_ephemeral().unwrap();
                let mut coordinates = epk.chunks(curve.coordinate_len()).map(b64);
                header["epk"] =
                    json!({"kty": curve.key_type(), "crv": curve.name(), "x": coordinates.next()});
                if let Some(y) = coordinates.next() {
                    header["epk"]["y"] = y.into();
                }
                (concat_kdf(&z), Vec::new())
            }
            None => (vec![9; 32], public.rsa_oaep_encrypt(&[9; 32]).unwrap()),
        };
        Self {
            header,
            encrypted_key,
            iv: vec![7; 12],
            tag_len: 16,
            content: content.as_bytes().to_vec(),
            cek,
        }
    }

    pub fn token(&self) -> String {
        let header = b64(self.header.to_string());
        let mut content = self.content.clone();
        let gcm = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.cek).unwrap());
        let nonce: [u8; 12] = std::array::from_fn(|at| self.iv.get(at).copied().unwrap_or_default());
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = gcm.seal_in_place_separate_tag(nonce, Aad::from(&header), &mut content).unwrap();
        let tag: Vec<u8> = tag.as_ref().iter().copied().cycle().take(self.tag_len).collect();
        format!("{header}.{}.{}.{}.{}", b64(&self.encrypted_key), b64(&self.iv), b64(content), b64(tag))
    }
}

/// RFC 7518 section 4.6.2 with empty party information.
fn concat_kdf(z: &[u8]) -> Vec<u8> {
    let input = [&[0, 0, 0, 1], z, &[0, 0, 0, 7], b"A256GCM", &[0; 4], &[0; 4], &[0, 0, 1, 0]].concat();
    digest::digest(&digest::SHA256, &input).as_ref().to_vec()
}

/// The whole way of a receiver that has exactly these keys.
pub fn open_with(
    token: &[u8],
    signing: &SigningKey,
    decryption: &DecryptionKey,
) -> Result<Opened, OpenError> {
    let signed = match Token::parse(token, &Limits::default())? {
        Token::Signed(signed) => signed,
        Token::Sealed(sealed) => sealed.decrypt(decryption)?,
    };
    signed.verify(&signing.verifying_key(), &expected(), NOW)
}

/// The whole way with the usual keys.
pub fn open(token: &str) -> Result<Opened, OpenError> {
    open_with(token.as_bytes(), &ES256, &P256)
}

/// The reason of a refusal; panics if the token is accepted.
pub fn refused(token: &str) -> OpenError {
    open(token).expect_err("the token was accepted")
}

#[test]
fn honest_tokens_are_accepted() {
    for signing in [&ES256, &ED25519, &PS256] {
        let token = sign(signing, header(signing), claims());
        open_with(token.as_bytes(), signing, &P256).unwrap();
        for decryption in [&P256, &X25519, &RSA] {
            let token = Parts::new(decryption, &token).token();
            assert!(open_with(token.as_bytes(), signing, decryption).unwrap().sealed_to.is_some());
        }
    }
}
