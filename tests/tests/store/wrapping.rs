//! The key that wraps all others, where two nodes have one each: the shared store keeps nothing under the old one.

use std::sync::Arc;

use waxseal_keys::{KeyEncryptionKey, SystemClock};
use waxseal_sender::data_keys::{DataKeyError, DataKeys};
use waxseal_sender::id::ConsumerId;
use waxseal_sender::rewrap::{Rewrapped, rewrap};
use waxseal_sender::store::{KeyRecords, Store, StoreError};

use crate::subject::{SharedPostgres, shared_postgres};

#[tokio::test]
async fn a_node_that_began_with_the_old_key_keeps_no_data_key_under_it() {
    let SharedPostgres { stores: [one, other], .. } = shared_postgres().await;
    let store: Arc<dyn Store> = Arc::new(one);
    let (old, new) = (KeyEncryptionKey::generate(), KeyEncryptionKey::generate());
    let copy = KeyEncryptionKey::from_text(&old.to_text()).unwrap();
    let keys = DataKeys::open(Arc::clone(&store), copy).await.unwrap();
    let consumer = |name: &str| ConsumerId::parse(name).unwrap();
    keys.of_or_create(&consumer("before")).await.unwrap();
    assert_eq!(rewrap(&other, &old, &new, &SystemClock).await.unwrap(), Rewrapped::Done { data_keys: 2 });
    let late = keys.of_or_create(&consumer("after")).await.unwrap_err();
    assert!(matches!(late, DataKeyError::Store(StoreError::Unavailable(_))), "{late}");
    assert!(other.data_keys().await.unwrap().iter().all(|record| record.kek_id == new.id()));
    let keys = DataKeys::open(store, new).await.unwrap();
    keys.of_or_create(&consumer("after")).await.unwrap();
}
