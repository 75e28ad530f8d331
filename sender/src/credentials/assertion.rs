//! `private_key_jwt`: the assertion by which we are known to an authorization server (RFC 7523 section 3).
//!
//! The ring's keys sign two things: tokens with events, and these. Neither can be taken for the other: `typ` differs, and
//! a receiver of events takes `secevent+jwt` alone; an event has no `sub` and no `exp`, which an authorization server
//! must ask for; an assertion has no `events`. `typ` is `JWT` and not the `client-authentication+jwt` that
//! a draft proposes: libraries that authorization servers are made of refuse what they do not know.

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use waxseal_envelope::SealError;
use waxseal_envelope::jws::{self, JwsHeader};
use waxseal_keys::{SigningKey, Timestamp};

/// Signs an assertion for `audience` alone, good for a minute.
///
/// # Panics
/// If the operating system has no randomness to give.
pub(super) fn sign(
    client_id: &str,
    audience: &str,
    key: &SigningKey,
    now: Timestamp,
) -> Result<String, SealError> {
    let mut id = [0; 16];
    rand::fill(&mut id).expect("the system's random generator works");
    let iat = now.as_seconds();
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": URL_SAFE_NO_PAD.encode(id),
        "iat": iat,
        "exp": iat.saturating_add(LIFETIME_SECONDS),
    });
    jws::sign(claims.to_string().as_bytes(), &JwsHeader { typ: Some("JWT"), cty: None }, key)
}

const LIFETIME_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use waxseal_envelope::{Audience, Expected, Issuer, Limits, Token};
    use waxseal_keys::{SignatureAlgorithm, generate_signing_key};

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_293_598);

    #[test]
    fn it_says_who_for_whom_and_until_when() {
        let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
        let (one, two) = (
            sign("us", "https://as.example/token", &key, NOW),
            sign("us", "https://as.example/token", &key, NOW),
        );
        let read = |token: &str| -> Value {
            serde_json::from_slice(&jws::verify(token.as_bytes(), &key.verifying_key()).unwrap()).unwrap()
        };
        let (one, two) = (read(&one.unwrap()), read(&two.unwrap()));
        assert_eq!((&one["iss"], &one["sub"]), (&json!("us"), &json!("us")));
        assert_eq!(one["aud"], "https://as.example/token");
        assert_eq!(one["exp"].as_i64().unwrap() - one["iat"].as_i64().unwrap(), 60);
        assert_ne!(one["jti"], two["jti"]);
    }

    #[test]
    fn no_receiver_of_events_takes_it_whatever_the_client_is_called() {
        let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
        let issuer = "https://hooks.example.com";
        let assertion = sign(issuer, "acme", &key, NOW).unwrap();
        let opened = Token::parse(assertion.as_bytes(), &Limits::default()).map(|token| match token {
            Token::Signed(signed) => {
                let expected =
                    Expected::new(Issuer::parse(issuer).unwrap(), Audience::parse("acme").unwrap());
                signed.verify(&key.verifying_key(), &expected, NOW).is_ok()
            }
            Token::Sealed(_) => false,
        });
        assert!(!matches!(opened, Ok(true)), "an assertion was taken for an event");
        let header = URL_SAFE_NO_PAD.decode(assertion.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!((&header["typ"], &header["kid"]), (&json!("JWT"), &json!(key.kid())));
    }
}
