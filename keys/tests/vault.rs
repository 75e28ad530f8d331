//! The vault: what it opens, and all that it refuses.
#![allow(missing_docs, clippy::unwrap_used)]

use waxseal_keys::{DataKey, KeyEncryptionKey, VaultError, vault_context};

fn refused<T>(result: Result<T, VaultError>) -> bool {
    matches!(result, Err(VaultError::Decrypt))
}

#[test]
fn there_and_back_at_every_size() {
    let key = DataKey::generate();
    for len in [0, 1, 15, 16, 17, 4096, 131_072] {
        let plaintext = vec![0xa5; len];
        let sealed = key.encrypt(b"place", &plaintext);
        assert_eq!((sealed[0], sealed.len()), (1, len + 29));
        assert_eq!(key.decrypt(b"place", &sealed).unwrap().as_slice(), plaintext);
        assert_ne!(key.encrypt(b"place", &plaintext), sealed, "a fresh nonce each time");
    }
}

#[test]
fn every_change_is_refused_in_the_same_way() {
    let key = DataKey::generate();
    let sealed = key.encrypt(b"place", b"text");
    for index in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[index] ^= 1;
        assert!(refused(key.decrypt(b"place", &changed)), "octet {index}");
        assert!(refused(key.decrypt(b"place", &sealed[..index])), "cut to {index}");
    }
    assert!(refused(key.decrypt(b"other place", &sealed)));
    assert!(refused(key.decrypt(b"", &sealed)));
    assert!(refused(DataKey::generate().decrypt(b"place", &sealed)));
    assert!(refused(key.decrypt(b"place", &[sealed.as_slice(), b"0"].concat())));
}

#[test]
fn keys_wrap_keys() {
    let top = KeyEncryptionKey::generate();
    let (consumer, payload) = (DataKey::generate(), DataKey::generate());
    let sealed = payload.encrypt(b"events", b"data");
    let wrapped_consumer = top.wrap(&consumer, b"consumers");
    let wrapped_payload = consumer.wrap(&payload, b"deliveries");
    let consumer = top.unwrap(&wrapped_consumer, b"consumers").unwrap();
    let payload = consumer.unwrap(&wrapped_payload, b"deliveries").unwrap();
    assert_eq!(payload.decrypt(b"events", &sealed).unwrap().as_slice(), b"data");
    assert!(refused(top.unwrap(&wrapped_consumer, b"others")));
    assert!(refused(KeyEncryptionKey::generate().unwrap(&wrapped_consumer, b"consumers")));
}

#[test]
fn a_wrapped_key_is_no_field_and_a_field_no_wrapped_key() {
    let key = DataKey::generate();
    assert!(refused(key.decrypt(b"place", &key.wrap(&DataKey::generate(), b"place"))));
    assert!(refused(key.unwrap(&key.encrypt(b"place", &[0; 32]), b"place")));
    let top = KeyEncryptionKey::generate();
    assert!(refused(top.decrypt(b"place", &top.wrap(&key, b"place"))));
    assert_eq!(top.decrypt(b"ring", &top.encrypt(b"ring", b"record")).unwrap().as_slice(), b"record");
}

#[test]
fn fingerprints_depend_on_key_context_and_bytes() {
    let key = DataKey::generate();
    let mac = key.mac(b"idempotency", b"body");
    assert_eq!(key.mac(b"idempotency", b"body"), mac);
    assert_ne!(key.mac(b"idempotency", b"bodY"), mac);
    assert_ne!(key.mac(b"idempotencyb", b"ody"), mac, "the border between context and bytes counts");
    assert_ne!(DataKey::generate().mac(b"idempotency", b"body"), mac);
}

#[test]
fn contexts_are_unambiguous() {
    assert_ne!(vault_context("ab", "c", "d"), vault_context("a", "bc", "d"));
    assert_ne!(vault_context("a", "", "b"), vault_context("a", "b", ""));
}

#[test]
fn text_must_be_a_whole_key() {
    let key = KeyEncryptionKey::generate();
    let text = key.to_text();
    assert_eq!(text.len(), 43);
    assert_eq!(KeyEncryptionKey::from_text(&format!(" {}\n", *text)).unwrap().id(), key.id());
    assert_ne!(KeyEncryptionKey::generate().id(), key.id());
    for bad in ["", "password", &text[1..], &format!("{}=", *text), &format!("{}A", *text), &"A".repeat(44)] {
        assert!(matches!(KeyEncryptionKey::from_text(bad), Err(VaultError::KeyText)), "{bad}");
    }
}

#[test]
fn debug_shows_no_key() {
    let (top, data) = (KeyEncryptionKey::generate(), DataKey::generate());
    let text = top.to_text();
    assert!(!format!("{top:?}").contains(text.as_str()));
    assert_eq!(format!("{data:?}"), "DataKey { .. }");
    assert!(!top.id().contains(&text[..8]));
}

#[cfg(unix)]
#[test]
fn a_file_is_private_and_never_overwritten() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kek");
    let key = KeyEncryptionKey::generate();
    key.write_new(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(KeyEncryptionKey::from_file(&path).unwrap().id(), key.id());
    assert!(matches!(KeyEncryptionKey::generate().write_new(&path), Err(VaultError::Io { .. })));
    assert_eq!(KeyEncryptionKey::from_file(&path).unwrap().id(), key.id(), "still the old one");
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let error = KeyEncryptionKey::from_file(&path).unwrap_err();
        assert!(matches!(&error, VaultError::Permissions { mode: found, .. } if *found == mode), "{error}");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    assert!(KeyEncryptionKey::from_file(&path).is_ok(), "stricter is fine");
    assert!(matches!(KeyEncryptionKey::from_file(dir.path()), Err(VaultError::Io { .. })), "a directory");
    assert!(matches!(KeyEncryptionKey::from_file(&dir.path().join("none")), Err(VaultError::Io { .. })));
}
