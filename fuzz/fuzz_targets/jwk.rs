//! Import of keys.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal_keys::{DecryptionKey, EncryptionKey, Jwk, PrivateJwk, VerifyingKey};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(jwk) = Jwk::parse(bytes) {
        let json = jwk.to_json();
        assert!(["d", "p", "q", "dp", "dq", "qi", "k", "oth"].iter().all(|member| json.get(member).is_none()));
        assert_eq!(Jwk::parse(json.to_string().as_bytes()).expect("written by ourselves"), jwk);
        // At most one purpose, and then exactly one algorithm.
        assert!(VerifyingKey::from_jwk(&jwk).is_err() || EncryptionKey::from_jwk(&jwk).is_err() || jwk.key_use().is_none());
    }
    if let Ok(private) = PrivateJwk::parse(bytes) {
        let _ = DecryptionKey::from_jwk(&private);
        assert!(Jwk::parse(bytes).is_err(), "a private key was taken as a public one");
    }
});
