//! Another key-encryption key for a store that is in use.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use waxseal_keys::{KeyEncryptionKey, RingPolicy, SignatureAlgorithm, SystemClock};
use waxseal_sender::audit::Recorder;
use waxseal_sender::data_keys::{DataKeyError, DataKeys};
use waxseal_sender::id::ConsumerId;
use waxseal_sender::rewrap::{RewrapError, Rewrapped, rewrap};
use waxseal_sender::signing_keys::{SigningKeys, SigningKeysError};
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{AuditFilter, KeyRecords, Store};

/// A store with a ring and some consumers, and what they encrypted.
struct Used {
    folder: TempDir,
    store: Arc<SqliteStore>,
    kek: KeyEncryptionKey,
    active: String,
    ciphertexts: Vec<(Option<ConsumerId>, Vec<u8>)>,
}

fn copy(kek: &KeyEncryptionKey) -> KeyEncryptionKey {
    KeyEncryptionKey::from_text(&kek.to_text()).unwrap()
}

async fn signing(store: Arc<SqliteStore>, keys: Arc<DataKeys>) -> Result<Arc<SigningKeys>, SigningKeysError> {
    let (policy, alg) = (RingPolicy::default(), SignatureAlgorithm::EdDsa);
    SigningKeys::open(store, keys, policy, alg, Arc::new(SystemClock)).await
}

impl Used {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("waxseal.db")).unwrap());
        let kek = KeyEncryptionKey::generate();
        let keys = Arc::new(DataKeys::open(store.clone(), copy(&kek)).await.unwrap());
        let active = signing(store.clone(), keys.clone()).await.unwrap().active().unwrap().kid().to_owned();
        let mut ciphertexts = vec![(None, keys.system().encrypt(b"here", b"the sender's own"))];
        for n in 0..20 {
            let consumer = ConsumerId::parse(&format!("consumer-{n}")).unwrap();
            let key = keys.of_or_create(&consumer).await.unwrap();
            ciphertexts.push((Some(consumer), key.encrypt(b"here", b"a consumer's")));
        }
        Self { folder, store, kek, active, ciphertexts }
    }

    /// Whether this key opens all of it, or none.
    async fn opens(&self, kek: &KeyEncryptionKey) -> bool {
        let keys = match DataKeys::open(self.store.clone(), copy(kek)).await {
            Err(DataKeyError::WrongKeyEncryptionKey { .. }) => return false,
            keys => Arc::new(keys.unwrap()),
        };
        for (consumer, ciphertext) in &self.ciphertexts {
            let key = consumer.as_ref().map_or_else(|| keys.system(), |consumer| keys.of(consumer).unwrap());
            assert!(!key.decrypt(b"here", ciphertext).unwrap().is_empty());
        }
        let ring = signing(self.store.clone(), keys).await.unwrap();
        assert_eq!(ring.active().unwrap().kid(), self.active);
        true
    }
}

/// The changes that the audit trail tells of, newest first: from which key to which.
async fn on_record(used: &Used, kek: &KeyEncryptionKey) -> Vec<(String, String)> {
    let store: Arc<dyn Store> = used.store.clone();
    let keys = Arc::new(DataKeys::open(Arc::clone(&store), copy(kek)).await.unwrap());
    let recorder = Recorder::new(keys, Arc::new(SystemClock));
    let action = Some("key_encryption_key.change".to_owned());
    let page = store.audit(AuditFilter { action, limit: 9, ..AuditFilter::default() }).await.unwrap();
    let told = page.rows.into_iter().map(|row| {
        let entry = recorder.read(row);
        let id = entry.details.unwrap().changed["id"].clone();
        assert_eq!(id["after"], entry.object.as_str());
        (id["before"].as_str().unwrap().to_owned(), entry.object)
    });
    told.collect()
}

#[tokio::test]
async fn the_new_key_opens_everything_and_the_old_one_nothing() {
    let used = Used::new().await;
    let new = KeyEncryptionKey::generate();
    assert!(used.opens(&used.kek).await && !used.opens(&new).await);
    let done = rewrap(&*used.store, &used.kek, &new, &SystemClock).await.unwrap();
    assert_eq!(done, Rewrapped::Done { data_keys: 21 });
    assert!(used.opens(&new).await && !used.opens(&used.kek).await);
    assert_eq!(on_record(&used, &new).await, [(used.kek.id(), new.id())]);
    assert_eq!(rewrap(&*used.store, &used.kek, &new, &SystemClock).await.unwrap(), Rewrapped::Already);
    assert!(used.opens(&new).await);

    let old = &used.kek;
    for record in used.store.data_keys().await.unwrap() {
        let owner = record.consumer.as_ref();
        let context =
            owner.map_or_else(|| "data-key|system".to_owned(), |id| format!("data-key|consumer|{id}"));
        assert!(old.unwrap(&record.wrapped, context.as_bytes()).is_err());
        assert!(new.unwrap(&record.wrapped, context.as_bytes()).is_ok(), "the context is the right one");
    }
    let ring = used.store.ring().await.unwrap().unwrap();
    assert!(old.decrypt(b"ring", &ring.sealed).is_err() && new.decrypt(b"ring", &ring.sealed).is_ok());
    let back = rewrap(&*used.store, &new, old, &SystemClock).await.unwrap();
    assert_eq!(back, Rewrapped::Done { data_keys: 21 }, "there and back");
    assert_eq!(on_record(&used, old).await.len(), 2, "what changed nothing is not on record");
    assert!(used.opens(old).await);
}

#[tokio::test]
async fn a_wrong_key_is_refused_and_changes_nothing() {
    let used = Used::new().await;
    let before = (used.store.ring().await.unwrap(), used.store.data_keys().await.unwrap());
    let (wrong, new) = (KeyEncryptionKey::generate(), KeyEncryptionKey::generate());
    let refused = rewrap(&*used.store, &wrong, &new, &SystemClock).await.unwrap_err();
    assert!(matches!(&refused, RewrapError::WrongKey { stored, .. } if *stored == used.kek.id()));
    let said = refused.to_string();
    assert!([&used.kek, &wrong, &new].iter().all(|kek| said.contains(&kek.id())), "{said}");
    assert!([&used.kek, &wrong, &new].iter().all(|kek| !said.contains(kek.to_text().as_str())), "{said}");
    let same = rewrap(&*used.store, &used.kek, &copy(&used.kek), &SystemClock).await.unwrap_err();
    assert_eq!(same.code(), "rewrap.same_key");
    assert_eq!((used.store.ring().await.unwrap(), used.store.data_keys().await.unwrap()), before);
}

#[tokio::test]
async fn a_damaged_key_is_found_before_anything_is_written() {
    let used = Used::new().await;
    let new = KeyEncryptionKey::generate();
    let ring = used.store.ring().await.unwrap().unwrap();
    let mut damaged = ring.sealed.clone();
    damaged[20] ^= 1;
    assert!(used.store.save_ring(Some(ring), damaged, Vec::new()).await.unwrap());
    let before = (used.store.ring().await.unwrap(), used.store.data_keys().await.unwrap());
    assert_eq!(rewrap(&*used.store, &used.kek, &new, &SystemClock).await.unwrap_err().code(), "rewrap.ring");
    assert_eq!((used.store.ring().await.unwrap(), used.store.data_keys().await.unwrap()), before);
}

/// Keys come and go while it is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_meanwhile_is_not_left_behind() {
    let used = Used::new().await;
    let new = KeyEncryptionKey::generate();
    let keys = DataKeys::open(used.store.clone(), copy(&used.kek)).await.unwrap();
    let making = async {
        for n in 0..40 {
            let consumer = ConsumerId::parse(&format!("late-{n}")).unwrap();
            // Once it is done, this sender's key is the wrong one, and says so.
            match keys.of_or_create(&consumer).await {
                Ok(_) | Err(DataKeyError::WrongKeyEncryptionKey { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    let (rewrapped, ()) = tokio::join!(rewrap(&*used.store, &used.kek, &new, &SystemClock), making);
    let under_old = used.store.data_keys().await.unwrap().iter().filter(|key| key.kek_id != new.id()).count();
    match rewrapped {
        // Those that were made after it are this test's own fault; the program lets one process have the store.
        Ok(Rewrapped::Done { data_keys }) => assert_eq!(data_keys + under_old, 61),
        Err(RewrapError::Contended) => assert_eq!(under_old, 61),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_copy_from_before_still_opens_with_the_old_key() {
    let mut used = Used::new().await;
    used.store.close().await;
    let backup = used.folder.path().join("backup.db");
    fs::copy(used.folder.path().join("waxseal.db"), &backup).unwrap();
    used.store = reopened(&used.folder.path().join("waxseal.db"));
    let new = KeyEncryptionKey::generate();
    rewrap(&*used.store, &used.kek, &new, &SystemClock).await.unwrap();
    assert!(used.opens(&new).await);
    used.store.close().await;
    used.store = reopened(&backup);
    assert!(used.opens(&used.kek).await && !used.opens(&new).await);
}

fn reopened(path: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(path).unwrap())
}
