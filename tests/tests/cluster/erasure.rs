//! Consumers that are erased on one node and created anew on another: nobody reads what the last one left, and nobody
//! takes it for damage.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use waxseal_keys::{DataKey, KeyEncryptionKey};
use waxseal_sender::data_keys::DataKeys;
use waxseal_sender::directory::{ChangeError, Directory};
use waxseal_sender::store::{DataKeyRecord, KeyRecords, Store, StoreError};
use waxseal_tests::store_model::StoreModel;

use crate::node::{Node, Site, consumer, endpoint, id};

#[tokio::test]
async fn the_next_holder_of_a_name_has_another_key_on_every_node() {
    let site = Site::new();
    let (a, b, c) = (site.deaf_node().await, site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    let first = a.create_endpoint("acme").await.unwrap();
    b.directory.catch_up().await.unwrap();
    let old = b.keys.of(&id("acme")).unwrap();
    let left = old.encrypt(b"what", b"the last one's");
    a.directory.delete_consumer(&id("acme")).await.unwrap();
    c.create_consumer("acme").await.unwrap();
    let second = c.create_endpoint("acme").await.unwrap();
    b.directory.catch_up().await.unwrap();
    assert!(b.directory.endpoint(first).is_none() && b.directory.endpoint(second).is_some());
    let new = b.keys.of(&id("acme")).unwrap();
    assert!(new.decrypt(b"what", &left).is_err());
    let told = c.keys.of(&id("acme")).unwrap().encrypt(b"what", b"the new one's");
    assert_eq!(new.decrypt(b"what", &told).unwrap().as_slice(), b"the new one's");
}

#[tokio::test]
async fn whoever_hears_that_a_consumer_is_erased_forgets_its_key() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    b.directory.catch_up().await.unwrap();
    assert!(b.keys.of(&id("acme")).is_some());
    a.directory.delete_consumer(&id("acme")).await.unwrap();
    b.directory.catch_up().await.unwrap();
    assert!(b.keys.of(&id("acme")).is_none());
}

#[tokio::test]
async fn a_key_that_an_erasure_left_is_never_used_again() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    let left = leave_key(&site.kek(), &a.model, "acme").await;
    b.create_consumer("acme").await.unwrap();
    let sealed = left.encrypt(b"what", b"the last one's");
    assert!(b.keys.of(&id("acme")).unwrap().decrypt(b"what", &sealed).is_err());
    leave_key(&site.kek(), &a.model, "beta").await;
    site.deaf_node().await;
    assert!(a.model.data_keys_of(vec![id("beta")]).await.unwrap().is_empty(), "a start finishes it");
    leave_key(&site.kek(), &a.model, "gamma").await;
    a.directory.delete_consumer(&id("gamma")).await.unwrap();
    assert!(a.model.data_keys_of(vec![id("gamma")]).await.unwrap().is_empty(), "so does erasing it again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_reads_while_others_erase_and_create_never_finds_damage() {
    const ROUNDS: usize = 150;
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    let ended = Arc::new(AtomicBool::new(false));
    let reading: Vec<_> = [site.deaf_node().await, site.deaf_node().await]
        .into_iter()
        .map(|node| tokio::spawn(read_on(node, Arc::clone(&ended))))
        .collect();
    for round in 0..ROUNDS {
        let (one, other) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        one.create_consumer("acme").await.unwrap();
        one.create_endpoint("acme").await.unwrap();
        tokio::task::yield_now().await;
        other.directory.delete_consumer(&id("acme")).await.unwrap();
    }
    a.create_consumer("acme").await.unwrap();
    ended.store(true, Ordering::SeqCst);
    for node in reading {
        let node = node.await.unwrap();
        node.directory.catch_up().await.unwrap();
        assert!(node.directory.consumer(&id("acme")).is_some());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_far_too_slow_never_destroy_a_key_that_is_in_use() {
    const ROUNDS: usize = 200;
    let site = Site::new();
    site.model.lose_turns(true);
    let mut at_work = Vec::new();
    for number in 0..3 {
        let node = site.deaf_node().await;
        at_work.push(tokio::spawn(async move {
            for round in 0..ROUNDS {
                let done = match (round + number) % 3 {
                    0 => node.directory.delete_consumer(&id("acme")).await.map(drop),
                    1 => node.directory.create_consumer(consumer("acme")).await.map(drop),
                    _ => {
                        let made = endpoint("acme", "https://acme.example".parse().unwrap());
                        node.directory.create_endpoint(made, None).await.map(drop)
                    }
                };
                expected(done);
                tokio::task::yield_now().await;
            }
        }));
    }
    for one in at_work {
        one.await.unwrap();
    }
    site.model.lose_turns(false);
    let node = site.deaf_node().await;
    if node.directory.consumer(&id("acme")).is_none() {
        node.create_consumer("acme").await.unwrap();
    }
    node.create_endpoint("acme").await.unwrap();
    site.deaf_node().await;
}

#[tokio::test]
async fn what_is_damaged_is_called_damaged() {
    let site = Site::new();
    let (a, b) = (site.deaf_node().await, site.deaf_node().await);
    a.create_consumer("acme").await.unwrap();
    leave_another_key(&site.kek(), &a.model, "acme").await;
    let found = b.directory.catch_up().await.unwrap_err();
    assert!(matches!(found, ChangeError::Store(StoreError::Corrupt { .. })), "{found}");
    assert!(b.directory.consumer(&id("acme")).is_none());
    let store: Arc<dyn Store> = Arc::new(site.model.for_another_node());
    let keys = Arc::new(DataKeys::open(Arc::clone(&store), site.kek()).await.unwrap());
    assert!(Directory::load(store, keys).await.is_err());
}

async fn read_on(node: Node, ended: Arc<AtomicBool>) -> Node {
    while !ended.load(Ordering::SeqCst) {
        node.directory.catch_up().await.unwrap();
        tokio::task::yield_now().await;
    }
    node
}

/// What may come of a change among many.
fn expected(done: Result<(), ChangeError>) {
    match done {
        Ok(())
        | Err(
            ChangeError::Store(StoreError::Superseded)
            | ChangeError::NotFound { .. }
            | ChangeError::Exists { .. }
            | ChangeError::Invalid { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}

/// As an erasure that was cut off.
async fn leave_key(kek: &KeyEncryptionKey, model: &StoreModel, name: &str) -> DataKey {
    let key = DataKey::generate();
    let context = format!("data-key|consumer|{name}");
    let (kek_id, wrapped) = (kek.id(), kek.wrap(&key, context.as_bytes()));
    let record = DataKeyRecord { consumer: Some(id(name)), kek_id, wrapped };
    assert_eq!(model.keep_data_key(record.clone()).await.unwrap(), record);
    key
}

async fn leave_another_key(kek: &KeyEncryptionKey, model: &StoreModel, name: &str) {
    model.destroy_data_key(id(name)).await.unwrap();
    leave_key(kek, model, name).await;
}
