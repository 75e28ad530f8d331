//! What we take as a consumer's encryption key, whether it is given to us or fetched.
//!
//! Relies on `waxseal-keys` for the rules of a key. Guarantees that a key which passes here can be sealed to, and that
//! a refusal says why (wire format, section 6).

use serde_json::Value;
use waxseal_jwks::JwkSet;
use waxseal_keys::{CertificateRefused, CertifiedKey, EncryptionKey, Jwk, JwkError, PemError, Timestamp};

use crate::model::encryption_keys::KnownKey;

/// A key that was given to us, admitted by that.
///
/// # Errors
/// [`JwkError`], in words for whoever gave it.
pub fn admissible(jwk: &Value, now: Timestamp) -> Result<KnownKey, JwkError> {
    known(&Jwk::from_value(jwk)?, now).map(|key| KnownKey { admitted_at: Some(now), ..key })
}

/// The keys of certificates that were given to us in PEM, all of which can be sealed to. Their dates count, who signed
/// them does not: whoever gives them has been authenticated otherwise.
///
/// # Errors
/// [`CertificateRefused`], in words for whoever gave them.
pub fn certified(pem: &[u8], now: Timestamp) -> Result<Vec<CertifiedKey>, CertificateRefused> {
    let keys = CertifiedKey::from_pem(pem, now)?;
    for certified in &keys {
        EncryptionKey::from_jwk(&certified.jwk).map_err(PemError::Key)?;
    }
    Ok(keys)
}

/// `keys` with what was known of them: since when, and since when they are admitted. A key that is not among them any
/// more is forgotten; should it come back, it is new.
pub fn carried_over(before: &[KnownKey], keys: Vec<KnownKey>) -> Vec<KnownKey> {
    let carried =
        keys.into_iter().map(|key| match before.iter().find(|old| old.thumbprint == key.thumbprint) {
            Some(old) => KnownKey {
                first_seen: old.first_seen,
                admitted_at: old.admitted_at.or(key.admitted_at),
                ..key
            },
            None => key,
        });
    carried.collect()
}

/// The keys of a fetched set that can be sealed to, in document order, none of them admitted. A consumer may publish
/// signing keys and keys of kinds that we do not know beside them.
pub(super) fn usable(set: &JwkSet, now: Timestamp) -> Vec<KnownKey> {
    set.keys().iter().filter_map(|jwk| known(jwk, now).ok()).collect()
}

/// A key that can be sealed to, seen now, not admitted.
fn known(jwk: &Jwk, now: Timestamp) -> Result<KnownKey, JwkError> {
    EncryptionKey::from_jwk(jwk)?;
    Ok(KnownKey {
        thumbprint: jwk.thumbprint().to_string(),
        jwk: jwk.to_json(),
        first_seen: now,
        admitted_at: None,
        certificate_not_after: None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use waxseal_keys::{
        EncryptionKeyType, SignatureAlgorithm, generate_decryption_key, generate_signing_key,
    };

    use super::*;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);

    fn encryption_jwk(kid: &str) -> Value {
        let key = generate_decryption_key(EncryptionKeyType::X25519).unwrap();
        key.public_jwk().with_kid(kid).unwrap().to_json()
    }

    #[test]
    fn a_given_key_is_admitted_by_that() {
        let taken = admissible(&encryption_jwk("one"), NOW).unwrap();
        assert_eq!((taken.first_seen, taken.admitted_at), (NOW, Some(NOW)));
        assert_eq!(taken.jwk["kid"], "one");
    }

    #[test]
    fn a_key_that_cannot_be_sealed_to_is_refused_with_its_reason() {
        let signing = generate_signing_key(SignatureAlgorithm::Es256).unwrap().public_jwk().to_json();
        let secret = generate_decryption_key(EncryptionKeyType::P256).unwrap().to_jwk();
        let secret: Value = serde_json::from_str(&secret.to_json()).unwrap();
        let symmetric = json!({ "kty": "oct", "k": "AAAA" });
        let refused = |jwk: &Value| admissible(jwk, NOW).unwrap_err();
        assert!(matches!(refused(&signing), JwkError::WrongUse { .. }));
        assert!(matches!(refused(&secret), JwkError::PrivateKey { .. }));
        assert!(matches!(refused(&symmetric), JwkError::Symmetric));
        for lost in [secret, symmetric] {
            assert!(refused(&lost).to_string().contains("compromised"));
        }
    }

    #[test]
    fn what_was_known_of_a_key_is_carried_over() {
        let later = Timestamp::from_seconds(1_795_300_000);
        let (one, two) = (encryption_jwk("one"), encryption_jwk("two"));
        let before = [KnownKey { admitted_at: None, ..admissible(&one, NOW).unwrap() }];
        let renamed = Jwk::from_value(&one).unwrap().with_kid("renamed").unwrap().to_json();
        let after =
            [&two, &renamed].map(|jwk| KnownKey { admitted_at: None, ..admissible(jwk, later).unwrap() });
        let after = carried_over(&before, after.to_vec());
        assert_eq!(after.iter().map(|key| key.first_seen).collect::<Vec<_>>(), [later, NOW]);
        assert_eq!(after[1].jwk["kid"], "renamed");
        assert!(after.iter().all(|key| key.admitted_at.is_none()));
    }
}
