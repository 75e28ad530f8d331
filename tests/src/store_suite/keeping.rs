//! Properties of configuration records and keys, and of what reopening finds.

use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{
    Accepted, DataKeyRecord, NewEvent, Outcome, Record, RecordChange, RecordKind, RewrappedKeys, RingRecord,
    Shards, Store,
};

use super::Subject;
use super::fixture::{
    at, consumer, delivery_id, endpoint_id, event_id, everything, idempotency, live, new_delivery, new_event,
    owner_of, ring, settlement,
};

/// The pair of kind and id names a record; the last of several changes in one call counts.
pub async fn records_are_written_over_and_removed(subject: impl Subject) {
    let store = subject.store();
    let (group, token) = (RecordKind::Group, RecordKind::Token);
    let first = vec![put(group, "a", 1), put(group, "b", 1), put(token, "a", 1), put(group, "b", 2)];
    store.change(first).await.unwrap();
    assert_eq!(records(store).await, [record(group, "a", 1), record(group, "b", 2), record(token, "a", 1)]);
    let second = vec![remove(group, "a"), put(token, "a", 3), remove(group, "never")];
    store.change(second).await.unwrap();
    assert_eq!(records(store).await, [record(group, "b", 2), record(token, "a", 3)]);
    store.change(vec![]).await.unwrap();
    for kind in [
        RecordKind::Consumer,
        RecordKind::EventType,
        RecordKind::Endpoint,
        RecordKind::EncryptionKeys,
        RecordKind::ClientCa,
    ] {
        store.change(vec![put(kind, "x", 4)]).await.unwrap();
        assert!(records(store).await.contains(&record(kind, "x", 4)));
    }
}

/// Only who knows what is kept may write the next one. It is not enough to know its version.
pub async fn the_ring_is_kept_by_compare_and_set(subject: impl Subject) {
    let store = subject.store();
    assert_eq!(store.ring().await.unwrap(), None);
    let save = async |before, sealed: &str| {
        store.save_ring(before, sealed.as_bytes().to_vec(), vec![]).await.unwrap()
    };
    assert!(!save(ring(1, "none"), "early").await);
    assert!(save(None, "one").await);
    assert!(!save(None, "again").await);
    assert!(!save(ring(2, "one"), "ahead").await);
    assert!(!save(ring(u64::MAX, "one"), "far ahead").await);
    assert!(!save(ring(1, "another"), "on top of what is lost").await);
    assert_eq!(store.ring().await.unwrap(), ring(1, "one"));
    assert!(save(ring(1, "one"), "two").await);
    assert_eq!(store.ring().await.unwrap(), ring(2, "two"));
}

/// At the same time, on top of the same.
pub async fn of_two_savers_of_the_ring_one_wins(subject: impl Subject) {
    let store = subject.store();
    for _ in 0..10 {
        let before = store.ring().await.unwrap();
        let (one, two) = tokio::join!(
            store.save_ring(before.clone(), b"one".to_vec(), vec![]),
            store.save_ring(before, b"two".to_vec(), vec![])
        );
        assert_ne!(one.unwrap(), two.unwrap());
    }
    assert_eq!(store.ring().await.unwrap().unwrap().version, 10);
}

/// Two nodes that make a key for the same consumer end up with the same one.
pub async fn the_first_data_key_stays(subject: impl Subject) {
    let store = subject.store();
    for owner in [None, Some(consumer(1))] {
        let (first, second) = (data_key(owner.clone(), "first"), data_key(owner, "second"));
        assert_eq!(store.keep_data_key(first.clone()).await.unwrap(), first);
        assert_eq!(store.keep_data_key(second).await.unwrap(), first);
    }
    let mut kept = store.data_keys().await.unwrap();
    kept.sort_by(|a, b| a.consumer.cmp(&b.consumer));
    assert_eq!(kept, [data_key(None, "first"), data_key(Some(consumer(1)), "first")]);
}

/// One consumer's, and no other; then there is room for a new one.
pub async fn a_data_key_is_destroyed_alone(subject: impl Subject) {
    let store = subject.store();
    for owner in [None, Some(consumer(1)), Some(consumer(2))] {
        store.keep_data_key(data_key(owner, "first")).await.unwrap();
    }
    store.destroy_data_key(consumer(1)).await.unwrap();
    store.destroy_data_key(consumer(1)).await.unwrap();
    let mut kept = store.data_keys().await.unwrap();
    kept.sort_by(|a, b| a.consumer.cmp(&b.consumer));
    assert_eq!(kept, [data_key(None, "first"), data_key(Some(consumer(2)), "first")]);
    let new = data_key(Some(consumer(1)), "new");
    assert_eq!(store.keep_data_key(new.clone()).await.unwrap(), new);
}

/// All of it or nothing: a ring that was changed meanwhile, or a data key that came or went, and nothing is done.
pub async fn keys_are_rewrapped_together(subject: impl Subject) {
    let store = subject.store();
    let rewrapped = |version: Option<u64>, owners: &[Option<u32>]| RewrappedKeys {
        ring: version.map(|version| RingRecord { version, sealed: b"ring, new".to_vec() }),
        data_keys: owners.iter().map(|owner| data_key(owner.map(consumer), "new")).collect(),
        changes: Vec::new(),
    };
    assert!(store.rewrap(rewrapped(None, &[])).await.unwrap(), "an empty store has nothing to wrap");
    store.keep_data_key(data_key(None, "old")).await.unwrap();
    assert!(store.rewrap(rewrapped(None, &[None])).await.unwrap(), "there need not be a ring");
    store.save_ring(None, b"ring, old".to_vec(), Vec::new()).await.unwrap();
    for owner in [1, 2] {
        store.keep_data_key(data_key(Some(consumer(owner)), "old")).await.unwrap();
    }
    let all = [None, Some(1), Some(2)];
    let before = (store.ring().await.unwrap(), sorted_keys(store).await);
    for (version, owners) in [
        (None, &all[..]),
        (Some(2), &all),
        (Some(u64::MAX), &all),
        (Some(1), &all[..2]),
        (Some(1), &[None, Some(1), Some(2), Some(3)]),
        (Some(1), &[None, Some(1), Some(3)]),
    ] {
        assert!(!store.rewrap(rewrapped(version, owners)).await.unwrap(), "{version:?} {owners:?}");
        assert_eq!((store.ring().await.unwrap(), sorted_keys(store).await), before);
    }
    assert!(store.rewrap(rewrapped(Some(1), &all)).await.unwrap());
    assert_eq!(store.ring().await.unwrap(), ring(2, "ring, new"));
    let expected: Vec<_> = all.iter().map(|owner| data_key(owner.map(consumer), "new")).collect();
    assert_eq!(sorted_keys(store).await, expected);
    assert!(
        !store.save_ring(ring(1, "ring, old"), b"late".to_vec(), Vec::new()).await.unwrap(),
        "who knew the old ring does not write over it"
    );
}

async fn sorted_keys(store: &dyn Store) -> Vec<DataKeyRecord> {
    let mut kept = store.data_keys().await.unwrap();
    kept.sort_by(|a, b| a.consumer.cmp(&b.consumer));
    kept
}

/// All that was acknowledged, idempotency keys and fences included.
pub async fn everything_is_there_after_reopening(mut subject: impl Subject) {
    let store = subject.store();
    let keyed = |number| NewEvent {
        idempotency: Some(idempotency(1, 1, at(1_000))),
        ..new_event(number, at(0), vec![new_delivery(number, 1, at(0)), new_delivery(100 + number, 2, at(0))])
    };
    store.accept(keyed(1)).await.unwrap();
    store
        .settle(settlement(live(1, 1, 1, at(0), 0), Outcome::Again { due_at: at(30) }, at(1)))
        .await
        .unwrap();
    store
        .settle(settlement(live(101, 1, 2, at(0), 0), Outcome::Final(DeliveryState::Delivered), at(2)))
        .await
        .unwrap();
    store.change(vec![put(RecordKind::Consumer, "acme", 1)]).await.unwrap();
    store.save_ring(None, b"ring".to_vec(), vec![]).await.unwrap();
    store.keep_data_key(data_key(Some(consumer(1)), "first")).await.unwrap();
    let before = image(store).await;

    subject.reopen().await;
    let store = subject.store();
    assert_eq!(image(store).await, before);
    assert_eq!(store.due(endpoint_id(1), None, at(30), 9).await.unwrap(), [live(1, 1, 1, at(30), 1)]);
    assert_eq!(store.accept(keyed(2)).await.unwrap(), Accepted::Replayed(event_id(1)));
    assert_eq!(store.payloads(vec![(event_id(1), owner_of(1))]).await.unwrap().len(), 1);
}

async fn image(store: &dyn Store) -> String {
    format!(
        "{:?}",
        (
            store.records().await.unwrap(),
            store.event(event_id(1)).await.unwrap(),
            store.deliveries(everything()).await.unwrap().deliveries,
            store.attempts(delivery_id(1)).await.unwrap(),
            store.attempts(delivery_id(101)).await.unwrap(),
            store.backlog().await.unwrap(),
            store.endpoints_with_work(Shards::ALL).await.unwrap(),
            store.ring().await.unwrap(),
            store.data_keys().await.unwrap(),
        )
    )
}

async fn records(store: &dyn Store) -> Vec<Record> {
    let mut records = store.records().await.unwrap();
    records.sort_by(|a, b| (a.kind, &a.id).cmp(&(b.kind, &b.id)));
    records
}

fn record(kind: RecordKind, id: &str, content: u8) -> Record {
    let consumer = (kind == RecordKind::Token).then(|| consumer(1));
    Record { kind, id: id.to_owned(), consumer, sealed: vec![content; 3] }
}

fn put(kind: RecordKind, id: &str, content: u8) -> RecordChange {
    RecordChange::Put(record(kind, id, content))
}

fn remove(kind: RecordKind, id: &str) -> RecordChange {
    RecordChange::Remove { kind, id: id.to_owned() }
}

fn data_key(consumer: Option<waxseal_sender::id::ConsumerId>, content: &str) -> DataKeyRecord {
    DataKeyRecord { consumer, kek_id: "kek-1".to_owned(), wrapped: content.as_bytes().to_vec() }
}
