//! The private keys of a sender, taken out of its store with the key that opens it.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::ec::EcKey;
use serde_json::Value;
use waxseal_keys::{DecryptionKey, KeyEncryptionKey};
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::Directory;
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{KeyRecords as _, Store};
use waxseal_tests::leak::Secrets;

/// The sender's own keys, as its files in this folder have them now, under the key in this file. Nobody may be using them.
pub async fn add_those_of_sender(folder: &Path, kek: &Path, secrets: &mut Secrets) {
    let copy = tempfile::tempdir().unwrap();
    for name in ["waxseal.db", "waxseal.db-wal"] {
        if folder.join(name).exists() {
            std::fs::copy(folder.join(name), copy.path().join(name)).unwrap();
        }
    }
    let file = kek;
    let kek = || KeyEncryptionKey::from_file(file).unwrap();
    let octets = URL_SAFE_NO_PAD.decode(&*kek().to_text()).unwrap();
    secrets.add("the key-encryption key", kek().to_text().as_bytes());
    secrets.add("the key-encryption key", &octets);

    let store = Arc::new(SqliteStore::open(copy.path().join("waxseal.db")).unwrap());
    let ring = store.ring().await.unwrap().unwrap();
    let ring: Value = serde_json::from_slice(&kek().decrypt(b"ring", &ring.sealed).unwrap()).unwrap();
    let keys = ring["entries"].as_array().unwrap().iter().filter_map(|entry| entry["key"].as_str());
    let jwks: Vec<_> = keys.collect();
    assert!(jwks.len() >= 2, "one signs and one stands by");
    for jwk in jwks {
        add_jwk("a signing key", jwk, secrets);
    }

    let data_keys = store.data_keys().await.unwrap();
    assert!(data_keys.len() >= 2, "one of the sender's own, and those of consumers");
    for record in data_keys {
        let whose = record.consumer.map_or("system".to_owned(), |consumer| format!("consumer|{consumer}"));
        let context = format!("data-key|{whose}");
        secrets.add(format!("the data key of {whose}"), unwrapped(&octets, &record.wrapped, &context));
    }

    let store: Arc<dyn Store> = store;
    let keys = Arc::new(DataKeys::open(Arc::clone(&store), kek()).await.unwrap());
    let directory = Directory::load(store, keys).await.unwrap();
    let authority = directory.client_ca().expect("a certificate of the sender's own was shown");
    add_pem("the key of the sender's authority", authority.private_key.reveal(), secrets);
}

/// A data key as it is, which the program shows to nobody: AES-256-GCM over it, after the version and the nonce, with
/// version, purpose and place beside it.
fn unwrapped(kek: &[u8], wrapped: &[u8], context: &str) -> Vec<u8> {
    let (nonce, body) = (&wrapped[1..13], &wrapped[13..]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek).unwrap());
    let beside = [&[wrapped[0], b'k'], context.as_bytes()].concat();
    let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
    let mut body = body.to_vec();
    let octets = key.open_in_place(nonce, Aad::from(beside), &mut body).unwrap().to_vec();
    assert_eq!(octets.len(), 32);
    octets
}

/// A consumer's private key.
pub fn add_decryption_key(what: &str, key: &DecryptionKey, secrets: &mut Secrets) {
    add_jwk(what, &key.to_jwk().to_json(), secrets);
}

fn add_jwk(what: &str, jwk: &str, secrets: &mut Secrets) {
    let jwk: Value = serde_json::from_str(jwk).unwrap();
    let d = jwk["d"].as_str().unwrap();
    secrets.add(what, d);
    secrets.add(what, URL_SAFE_NO_PAD.decode(d).unwrap());
}

/// A P-256 key: each line of its text, and the number itself.
pub fn add_pem(what: &str, pem: &str, secrets: &mut Secrets) {
    for line in pem.lines().filter(|line| !line.starts_with("-----")) {
        secrets.add(what, line);
    }
    let key = EcKey::private_key_from_pem(pem.as_bytes()).unwrap();
    secrets.add(what, key.private_key().to_vec_padded(32).unwrap());
}
