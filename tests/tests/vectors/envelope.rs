//! This format's own vectors, under the numbers of the rules in `docs/wire-format.md`.

use serde_json::Value;
use waxseal_envelope::{Audience, Expected, Issuer, Limits, OpenError, Opened, Token};
use waxseal_keys::{DecryptionKey, Jwk, PrivateJwk, Timestamp, VerifyingKey};

use crate::verdict::read;

#[test]
fn open() {
    let file = read("envelope/open.json");
    let receiver = Receiver::new(&file);
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() > 40);
    for vector in vectors {
        let name = format!("{} {}", vector["rule"], vector["what"]);
        let outcome = receiver.open(vector["token"].as_str().unwrap());
        match vector["expect"]["refused"].as_str() {
            Some(code) => assert_eq!(outcome.expect_err(&name).code(), code, "{name}"),
            None => {
                let event = outcome.expect(&name).event;
                assert_eq!(event.id.as_str(), vector["expect"]["id"], "{name}");
                assert_eq!(event.event_type.as_str(), vector["expect"]["type"], "{name}");
            }
        }
    }
}

/// Every rule that has a vector stands in the document.
#[test]
fn rules_exist() {
    let document = include_str!("../../../docs/wire-format.md");
    for vector in read("envelope/open.json")["vectors"].as_array().unwrap() {
        let rule = vector["rule"].as_str().unwrap();
        assert!(document.contains(&format!("**{rule}**")), "{rule}");
    }
}

/// A receiver with the keys of the file, found by `kid`.
struct Receiver {
    signing: Vec<VerifyingKey>,
    decryption: Vec<DecryptionKey>,
    expected: Expected,
    now: Timestamp,
}

impl Receiver {
    fn new(file: &Value) -> Self {
        let keys = |member: &str| file[member].as_array().unwrap().iter().map(Value::to_string);
        let signing =
            keys("signing_keys").map(|jwk| VerifyingKey::from_jwk(&Jwk::parse(jwk.as_bytes()).unwrap()));
        let decryption = keys("decryption_keys")
            .map(|jwk| DecryptionKey::from_jwk(&PrivateJwk::parse(jwk.as_bytes()).unwrap()));
        let issuer = Issuer::parse(file["issuer"].as_str().unwrap()).unwrap();
        let audience = Audience::parse(file["audience"].as_str().unwrap()).unwrap();
        Self {
            signing: signing.collect::<Result<_, _>>().unwrap(),
            decryption: decryption.collect::<Result<_, _>>().unwrap(),
            expected: Expected::new(issuer, audience),
            now: Timestamp::from_seconds(file["now"].as_i64().unwrap()),
        }
    }

    fn open(&self, token: &str) -> Result<Opened, OpenError> {
        let signed = match Token::parse(token.as_bytes(), &Limits::default())? {
            Token::Signed(signed) => signed,
            Token::Sealed(sealed) => {
                let key = self.decryption.iter().find(|key| key.kid() == sealed.recipient_kid()).unwrap();
                sealed.decrypt(key)?
            }
        };
        // A token without a usable kid never gets here; among ours there is always one by that name.
        let key = self.signing.iter().find(|key| key.kid() == signed.signer_kid()).unwrap();
        signed.verify(key, &self.expected, self.now)
    }
}
