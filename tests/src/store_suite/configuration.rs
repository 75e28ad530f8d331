//! Properties of how several nodes follow what is configured in one store: by version, each change and each removal.
//!
//! A property is given what those of [`cluster`](super::cluster) are given, and `cluster_suite!` makes tests of both.

use tokio::time::timeout;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{
    Accepted, Configured, NewEvent, NodeRole, Outcome, Record, RecordChange, RecordKind, Settlement, Shard,
    Shards, Store, StoreError,
};

use super::cluster::{PATIENCE, Shared, clusters, node};
use super::fixture::{
    at, audit_row, consumer, delivery_id, endpoint_id, event_id, live, new_delivery, new_event, settlement,
};

/// Whatever way it takes, and whatever else is in the same write.
pub async fn what_is_superseded_writes_nothing(shared: impl Shared) {
    let [store, other] = shared.stores();
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    store.change(vec![put("a", 1)]).await.unwrap();
    let version = version(store).await;
    other.change(vec![RecordChange::OnlyAt(version), put("a", 2)]).await.unwrap();
    let late = || vec![RecordChange::OnlyAt(version), put("a", 3), RecordChange::Audit(audit_row(1))];
    let before = configured(store, 0).await;

    let superseded = |result: Result<(), StoreError>| {
        assert!(matches!(result, Err(StoreError::Superseded)), "{result:?}");
    };
    superseded(store.change(late()).await);
    superseded(store.change(vec![RecordChange::OnlyAt(version)]).await);
    let event = NewEvent { changes: late(), ..new_event(2, at(0), vec![new_delivery(2, 1, at(0))]) };
    superseded(store.accept(event).await.map(drop));
    let delivered = Outcome::Final(DeliveryState::Delivered);
    let end = settlement(live(1, 1, 1, at(0), 0), delivered, at(1));
    superseded(store.settle(Settlement { changes: late(), ..end.clone() }).await.map(drop));
    let again = vec![(new_delivery(3, 1, at(0)), event_id(1))];
    superseded(store.redeliver(again, late()).await);
    superseded(store.save_ring(None, vec![1], late()).await.map(drop));

    assert_eq!(configured(store, 0).await, before);
    assert_eq!(store.event(event_id(2)).await.unwrap(), None);
    assert_eq!(store.delivery(delivery_id(3)).await.unwrap(), None);
    assert_eq!(store.ring().await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap().live, 1);
    let now = vec![RecordChange::OnlyAt(before.version), put("a", 4)];
    let event = NewEvent { changes: now, ..new_event(2, at(0), vec![]) };
    assert_eq!(store.accept(event).await.unwrap(), Accepted::New);
    assert_eq!(configured(other, before.version).await.put, [record("a", 4)]);
}

/// Each thing once, as it is now.
pub async fn changes_are_followed_by_version_and_removals_too(shared: impl Shared) {
    let [store, other] = shared.stores();
    assert_eq!(configured(other, 0).await, Configured { everything: true, ..Configured::default() });
    store.change(vec![put("a", 1), put("b", 1), put("c", 1)]).await.unwrap();
    let first = configured(other, 0).await;
    assert_eq!(sorted(first.put), [record("a", 1), record("b", 1), record("c", 1)]);
    store.change(vec![put("a", 2), remove("b")]).await.unwrap();
    store.change(vec![put("a", 3), remove("c"), put("c", 2), remove("never")]).await.unwrap();
    let since = configured(other, first.version).await;
    assert!(since.version > first.version);
    assert_eq!(sorted(since.put), [record("a", 3), record("c", 2)]);
    assert_eq!(since.removed, [(RecordKind::Group, "b".to_owned())]);
    assert!(first.everything && !since.everything);
    let nothing = configured(other, since.version).await;
    assert_eq!(nothing, Configured { version: since.version, ..Configured::default() });

    store.change(vec![put("b", 9)]).await.unwrap();
    let back = configured(other, since.version).await;
    assert_eq!((back.put, back.removed), (vec![record("b", 9)], vec![]));
    assert_eq!(configured(other, first.version).await.removed, []);
}

/// Who knows less is told everything; so is, then, a node that was remembered no more when they were forgotten.
pub async fn removals_are_forgotten_when_every_node_knows_of_them(shared: impl Shared) {
    let [store, other] = shared.stores();
    let [cluster, _] = clusters(&shared);
    store.change(vec![put("a", 1), put("b", 1), put("c", 1)]).await.unwrap();
    let first = version(store).await;
    for gone in ["a", "b"] {
        store.change(vec![remove(gone)]).await.unwrap();
    }
    assert_eq!(cluster.forget_changes(9).await.unwrap(), 0, "nobody has said what it knows");
    let (one, two) = (node(1, NodeRole::All), node(2, NodeRole::Api));
    for node in [&one, &two] {
        cluster.tend(node).await.unwrap();
    }
    cluster.works_by(one.id, first + 2).await.unwrap();
    assert_eq!(cluster.forget_changes(9).await.unwrap(), 0, "the other does not know of them");
    cluster.works_by(two.id, first + 1).await.unwrap();
    assert_eq!(cluster.forget_changes(9).await.unwrap(), 1);
    let since = configured(other, first + 1).await;
    assert_eq!((since.removed, since.everything), (vec![(RecordKind::Group, "b".to_owned())], false));
    let anew = configured(other, first).await;
    let expected =
        Configured { version: first + 2, put: vec![record("c", 1)], removed: vec![], everything: true };
    assert_eq!(anew, expected);

    store.change(vec![put("a", 2), remove("c")]).await.unwrap();
    assert_eq!(cluster.forget_changes(9).await.unwrap(), 0, "and it is remembered how far it was");
    cluster.leave(two.id).await.unwrap();
    cluster.works_by(one.id, first + 3).await.unwrap();
    assert_eq!(cluster.forget_changes(1).await.unwrap(), 1, "the oldest");
    assert_eq!(configured(other, first + 2).await.removed, [(RecordKind::Group, "c".to_owned())]);
    assert_eq!(cluster.forget_changes(9).await.unwrap(), 1);
    assert_eq!(configured(other, first + 2).await.put, [record("a", 2)]);
    assert!(configured(other, first + 2).await.everything && !configured(other, first + 3).await.everything);
}

/// Who follows by version misses nothing, however commits are interleaved.
pub async fn changes_of_two_nodes_at_once_are_seen_in_order(shared: impl Shared) {
    let [store, other] = shared.stores();
    let write = async |store: &dyn Store, who: &str| {
        for number in 0..30 {
            store.change(vec![put(&format!("{who}{number}"), 1)]).await.unwrap();
        }
    };
    let (mut seen, mut version) = (Vec::new(), 0);
    let follow = async {
        while seen.len() < 60 {
            let new = configured(other, version).await;
            assert!(new.version >= version);
            version = new.version;
            seen.extend(new.put.into_iter().map(|record| record.id));
            tokio::task::yield_now().await;
        }
    };
    let all = async { tokio::join!(write(store, "one"), write(other, "two"), follow) };
    timeout(PATIENCE, all).await.expect("every change is seen");
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), version), (60, 60));
}

/// It is found by shard, and nobody else is kept waiting or told of it.
pub async fn how_endpoints_do_has_no_version(shared: impl Shared) {
    let [store, other] = shared.stores();
    let health = |number: u32| Record {
        kind: RecordKind::EndpointHealth,
        id: endpoint_id(number).to_string(),
        consumer: Some(consumer(1)),
        sealed: vec![1],
    };
    let changes = [3, 4, 0x104].map(|number| RecordChange::Put(health(number)));
    store.change(changes.to_vec()).await.unwrap();
    assert_eq!(configured(other, 0).await.put, []);
    let cluster = other.cluster().unwrap();
    let of = |number: u8| [Shard::new(number)].into_iter().collect::<Shards>();
    assert_eq!(sorted(cluster.health(of(4)).await.unwrap()), [health(4), health(0x104)]);
    assert_eq!(cluster.health(of(3)).await.unwrap(), [health(3)]);
    assert_eq!(cluster.health(of(5).or(Shards::NONE)).await.unwrap(), []);
    let gone = RecordChange::Remove { kind: RecordKind::EndpointHealth, id: health(3).id };
    store.change(vec![gone]).await.unwrap();
    assert_eq!(cluster.health(Shards::ALL).await.unwrap().len(), 2);
    let nothing = Configured { everything: true, ..Configured::default() };
    assert_eq!(configured(other, 0).await, nothing);
}

async fn configured(store: &dyn Store, after: u64) -> Configured {
    store.cluster().unwrap().configured_after(after).await.unwrap()
}

async fn version(store: &dyn Store) -> u64 {
    configured(store, 0).await.version
}

fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by(|a, b| a.id.cmp(&b.id));
    records
}

fn record(id: &str, content: u8) -> Record {
    Record { kind: RecordKind::Group, id: id.to_owned(), consumer: None, sealed: vec![content] }
}

/// A change that has a version.
pub(super) fn put(id: &str, content: u8) -> RecordChange {
    RecordChange::Put(record(id, content))
}

fn remove(id: &str) -> RecordChange {
    RecordChange::Remove { kind: RecordKind::Group, id: id.to_owned() }
}
