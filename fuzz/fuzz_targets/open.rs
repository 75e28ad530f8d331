//! The whole way with fixed keys whose private halves are public (RFC 7515 appendix A.3, RFC 8037 appendix A): a token
//! may open only if a signature verifies, which no random change produces.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use waxseal_envelope::{Audience, Expected, Issuer, Limits, OpenError, Opened, Token, jwe, jws};
use waxseal_keys::{DecryptionKey, Jwk, PrivateJwk, Timestamp, VerifyingKey};

static SIGNER: LazyLock<VerifyingKey> = LazyLock::new(|| {
    let jwk = br#"{"kty":"EC","crv":"P-256","kid":"fuzz","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    VerifyingKey::from_jwk(&Jwk::parse(jwk).expect("a sound key")).expect("a sound key")
});
static RECIPIENT: LazyLock<DecryptionKey> = LazyLock::new(|| {
    let jwk = br#"{"kty":"OKP","crv":"X25519","kid":"fuzz","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","d":"XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os"}"#;
    DecryptionKey::from_jwk(&PrivateJwk::parse(jwk).expect("a sound key")).expect("a sound key")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(opened) = open(bytes) {
        assert_eq!(opened.event.audience.as_str(), "acme");
        assert_eq!(opened.event.id.as_str(), "evt_corpus");
    }
    let _ = jws::verify(bytes, &SIGNER);
    let _ = jwe::decrypt(bytes, &RECIPIENT);
});

fn open(bytes: &[u8]) -> Result<Opened, OpenError> {
    let signed = match Token::parse(bytes, &Limits::default())? {
        Token::Signed(signed) => signed,
        Token::Sealed(sealed) => sealed.decrypt(&RECIPIENT)?,
    };
    let issuer = Issuer::parse("https://h.example").expect("an issuer");
    let audience = Audience::parse("acme").expect("an audience");
    signed.verify(&SIGNER, &Expected::new(issuer, audience), Timestamp::from_seconds(1_795_293_600))
}
