//! What is left of a consumer after its erasure: in the store, and in a copy from before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use axum::response::IntoResponse;
use http::StatusCode;
use waxseal_keys::{DataKey, KeyEncryptionKey};
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::Directory;
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::authentication::{Authentication, Bearer};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;
use waxseal_sender::model::secret::Secret;
use waxseal_sender::publish::{Published, read_payload};
use waxseal_sender::store::sqlite::SqliteStore;
use waxseal_sender::store::{DataKeyRecord, Store, StoredPayload};

use crate::engine::support::{Receiver, Sender};

const SECRETS: [&str; 3] = ["pineapple", "quince", "persimmon"];

fn acme() -> ConsumerId {
    ConsumerId::parse("acme").unwrap()
}

/// A consumer with a credential, an event and an excerpt of what its endpoint said; and a neighbour.
async fn sender_with_a_past() -> (Sender, EndpointId, Published) {
    let sender = Sender::new().await;
    let receiver =
        Receiver::answering(|_| (StatusCode::INTERNAL_SERVER_ERROR, "no room for persimmon").into_response());
    let receiver = receiver.await;
    let endpoint = sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    sender.endpoint("beta", &receiver.url, Protection::Signed).await;
    let bearer = Some(Bearer { token: Secret::new("quince") });
    let authentication = Authentication { bearer, ..Authentication::default() };
    let change = |endpoint: &mut waxseal_sender::model::endpoint::Endpoint| {
        endpoint.authentication = Some(Box::new(authentication));
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, change).await.unwrap();
    let engine = sender.start();
    let published = sender.publish(Some(&engine), "acme", r#"{"fruit":"pineapple"}"#).await;
    sender.publish(Some(&engine), "beta", r#"{"fruit":"apple"}"#).await;
    sender.until(published.deliveries[0].id, DeliveryState::Exhausted, 4).await;
    engine.stop().await;
    (sender, endpoint, published)
}

/// The database with its log, as a backup has it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for name in ["waxseal.db", "waxseal.db-wal"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

fn holds(folder: &Path, bytes: &[u8]) -> bool {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut contents = files.filter(|path| path.is_file()).map(|path| fs::read(path).unwrap());
    contents.any(|content| content.windows(bytes.len()).any(|window| window == bytes))
}

/// Every data key that the key-encryption key still opens, by its owner.
async fn opened(store: &dyn Store, kek: &KeyEncryptionKey) -> BTreeMap<Option<ConsumerId>, DataKey> {
    let open = |record: DataKeyRecord| {
        let owner = record.consumer.as_ref();
        let context =
            owner.map_or_else(|| "data-key|system".to_owned(), |id| format!("data-key|consumer|{id}"));
        let key = kek.unwrap(&record.wrapped, context.as_bytes()).unwrap();
        (record.consumer, key)
    };
    store.data_keys().await.unwrap().into_iter().map(open).collect()
}

async fn stored(store: &dyn Store, published: &Published) -> StoredPayload {
    store.payloads(vec![(published.event, acme())]).await.unwrap().remove(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_and_the_key_encryption_key_together_open_nothing_of_an_erased_consumer() {
    let (sender, endpoint, published) = sender_with_a_past().await;
    let (store, folder) = (Arc::clone(&sender.parts.store), sender.dir.path());
    let kek = KeyEncryptionKey::from_text(&sender.parts.data_keys.kek().to_text()).unwrap();
    let delivery = published.deliveries[0].id;
    let payload = stored(&*store, &published).await;
    let attempts = store.attempts(delivery).await.unwrap();
    let data_keys = store.data_keys().await.unwrap();
    let wrapped = data_keys.into_iter().find(|key| key.consumer == Some(acme())).unwrap().wrapped;
    assert!(holds(folder, &wrapped));
    let before = opened(&*sender.parts.store, &kek).await;
    assert!(read_payload(&payload, &before[&Some(acme())]).is_ok(), "it can be read before");
    let backup = folder.join("backup");
    copy(folder, &backup);

    let endpoints = sender.parts.directory.delete_consumer(&acme()).await.unwrap();
    assert_eq!(endpoints, [endpoint]);
    sender.parts.store.cancel(endpoints, 100, sender.parts.clock.now()).await.unwrap();

    // Destroyed: the data key, in every file; and with it payload, credentials and excerpts.
    assert!(!holds(folder, &wrapped));
    let after = opened(&*sender.parts.store, &kek).await;
    assert_eq!(after.keys().cloned().collect::<Vec<_>>(), [None, Some(ConsumerId::parse("beta").unwrap())]);
    let payload = stored(&*sender.parts.store, &published).await;
    for key in after.values() {
        assert!(read_payload(&payload, key).is_err());
    }
    assert!(sender.parts.store.records().await.unwrap().iter().all(|record| record.consumer != Some(acme())));
    for secret in SECRETS {
        assert!(!holds(folder, secret.as_bytes()) && !holds(&backup, secret.as_bytes()), "{secret}");
    }

    // Left: that there was an event of this type, when it was tried and what came of it.
    let event = sender.parts.store.event(published.event).await.unwrap().unwrap();
    assert_eq!((event.event_type.as_str(), event.consumers), ("order.created", vec![acme()]));
    let left = sender.parts.store.attempts(delivery).await.unwrap();
    assert_eq!(left, attempts, "the record of attempts stays, its excerpts as ciphertext");
    assert!(!left[0].excerpt.is_empty());
    let state = sender.parts.store.delivery(delivery).await.unwrap().unwrap().state;
    assert_eq!(state, DeliveryState::Exhausted);

    a_copy_from_before_still_has_everything(&backup, &kek, endpoint, &published).await;
}

/// A process that ended in the middle of an erasure leaves deliveries; they are not taken for the new consumer's, whose
/// key opens none of them.
#[tokio::test]
async fn what_an_erasure_left_behind_is_cancelled_when_the_consumer_is_there_again() {
    let sender = Sender::new().await;
    let mut receiver = Receiver::answering(|_| StatusCode::ACCEPTED.into_response()).await;
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let left = sender.publish(None, "acme", "1").await.deliveries[0].id;
    // Nothing is cancelled yet.
    sender.parts.directory.delete_consumer(&acme()).await.unwrap();
    sender.endpoint("acme", &receiver.url, Protection::Signed).await;
    let engine = sender.start();
    sender.until(left, DeliveryState::Cancelled, 0).await;
    assert_eq!(engine.holds(), []);
    let new = sender.publish(Some(&engine), "acme", "2").await.deliveries[0].id;
    sender.until(new, DeliveryState::Delivered, 1).await;
    receiver.next().await;
    assert!(receiver.waiting().is_none(), "one POST alone");
    engine.stop().await;
}

/// An erasure does not reach what has left the store: the text for operators says so.
async fn a_copy_from_before_still_has_everything(
    backup: &Path,
    kek: &KeyEncryptionKey,
    endpoint: EndpointId,
    published: &Published,
) {
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(backup.join("waxseal.db")).unwrap());
    let again = KeyEncryptionKey::from_text(&kek.to_text()).unwrap();
    let keys = Arc::new(DataKeys::open(Arc::clone(&store), again).await.unwrap());
    let directory = Directory::load(Arc::clone(&store), Arc::clone(&keys)).await.unwrap();
    let found = directory.endpoint(endpoint).unwrap();
    let bearer = found.authentication.as_ref().unwrap().bearer.as_ref().unwrap();
    assert_eq!(bearer.token.reveal(), "quince");
    let payload = stored(&*store, published).await;
    assert!(read_payload(&payload, &keys.of(&acme()).unwrap()).is_ok());

    // Restored, it is erased again; then it is as if it had never been.
    directory.delete_consumer(&acme()).await.unwrap();
    assert!(opened(&*store, kek).await.values().all(|key| read_payload(&payload, key).is_err()));
}
