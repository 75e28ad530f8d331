//! Properties of `prune`.

use waxseal_keys::Timestamp;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::store::{
    Accepted, Kept, NewEvent, Outcome, Record, RecordChange, RecordKind, Removed, Slice, Store, StoreError,
    StoredPayload,
};

use super::Subject;
use super::fixture::{
    at, delivery_id, end_without_attempt, endpoint_id, event_id, everything, idempotency, live, new_delivery,
    new_event, owner_of, settlement,
};

const DELIVERED: Outcome = Outcome::Final(DeliveryState::Delivered);

/// Removes everything of a kind that is old enough, in slices of so many events.
pub async fn prune_all(store: &dyn Store, kept: Kept, until: Timestamp, limit: u32) -> Removed {
    let mut all = Removed::default();
    loop {
        let slice = Slice { kept, until, after: all.next, limit };
        let removed = store.prune(slice).await.unwrap();
        assert!(removed.next > slice.after || removed.next.is_none(), "a walk goes forward");
        all.events += removed.events;
        all.deliveries += removed.deliveries;
        all.next = removed.next;
        if all.next.is_none() {
            return all;
        }
    }
}

/// One event for each of these endpoints, each with one delivery, all with the same number.
async fn accept(store: &dyn Store, number: u32, accepted: i64) {
    let event = new_event(number, at(accepted), vec![new_delivery(number, 1, at(accepted))]);
    store.accept(event).await.unwrap();
}

async fn deliver(store: &dyn Store, number: u32, accepted: i64, settled: i64) {
    let live = live(number, number, 1, at(accepted), 0);
    store.settle(settlement(live, DELIVERED, at(settled))).await.unwrap();
}

async fn payloads(store: &dyn Store, number: u32) -> Vec<StoredPayload> {
    store.payloads(vec![(event_id(number), owner_of(1))]).await.unwrap()
}

/// The content and its keys go; that there was such an event, for whom, and what became of it can still be told.
pub async fn old_contents_go_and_the_rest_stays(subject: impl Subject) {
    let store = subject.store();
    for (number, accepted) in [(1, 10), (2, 20), (3, 30)] {
        accept(store, number, accepted).await;
        deliver(store, number, accepted, accepted + 1).await;
    }
    let removed = prune_all(store, Kept::Contents, at(20), 100).await;
    assert_eq!((removed.events, removed.deliveries), (2, 0));
    for (number, kept) in [(1, false), (2, false), (3, true)] {
        let event = store.event(event_id(number)).await.unwrap().unwrap();
        assert_eq!((event.content_kept, event.consumers), (kept, vec![owner_of(1)]));
        assert_eq!(payloads(store, number).await.len(), usize::from(kept));
        assert_eq!(store.attempts(delivery_id(number)).await.unwrap().len(), 1);
        let delivery = store.delivery(delivery_id(number)).await.unwrap().unwrap();
        assert_eq!(delivery.state, DeliveryState::Delivered);
    }
    assert_eq!(store.deliveries(everything()).await.unwrap().deliveries.len(), 3);
    assert_eq!(prune_all(store, Kept::Contents, at(20), 100).await, Removed::default(), "it is done once");
}

/// Waiting, retried or held: a store cannot tell, and keeps them all. One of two is enough.
pub async fn what_a_live_delivery_needs_stays_whatever_its_age(subject: impl Subject) {
    let store = subject.store();
    let both = vec![new_delivery(1, 1, at(0)), new_delivery(2, 2, at(0))];
    store.accept(new_event(1, at(0), both)).await.unwrap();
    deliver(store, 1, 0, 1).await;
    let again = Outcome::Again { due_at: at(9_000) };
    store.settle(settlement(live(2, 1, 2, at(0), 0), again, at(2))).await.unwrap();
    for kept in [Kept::Contents, Kept::Records] {
        assert_eq!(prune_all(store, kept, at(1_000_000), 100).await, Removed::default());
    }
    assert_eq!(payloads(store, 1).await.len(), 1);

    let over = Outcome::Final(DeliveryState::Expired);
    store.settle(end_without_attempt(live(2, 1, 2, at(9_000), 1), over, at(50))).await.unwrap();
    assert_eq!(prune_all(store, Kept::Contents, at(1_000_000), 100).await.events, 1);
    assert_eq!(payloads(store, 1).await, []);
}

/// Not before the content has gone, and not while any of its deliveries ended later than that.
pub async fn records_go_as_a_whole_when_all_of_it_is_old(subject: impl Subject) {
    let store = subject.store();
    let both = vec![new_delivery(1, 1, at(0)), new_delivery(2, 2, at(0))];
    store.accept(new_event(1, at(0), both)).await.unwrap();
    store.accept(new_event(5, at(0), vec![])).await.unwrap();
    deliver(store, 1, 0, 10).await;
    let over = Outcome::Final(DeliveryState::Cancelled);
    store.settle(end_without_attempt(live(2, 1, 2, at(0), 0), over, at(60))).await.unwrap();
    assert_eq!(prune_all(store, Kept::Records, at(100), 100).await, Removed::default());
    prune_all(store, Kept::Contents, at(100), 100).await;
    let removed = prune_all(store, Kept::Records, at(59), 100).await;
    assert_eq!((removed.events, removed.deliveries), (1, 0), "only the event that nobody receives");
    assert_eq!(store.event(event_id(5)).await.unwrap(), None);

    let removed = prune_all(store, Kept::Records, at(60), 100).await;
    assert_eq!((removed.events, removed.deliveries), (1, 2));
    assert_eq!(store.event(event_id(1)).await.unwrap(), None);
    assert_eq!(store.delivery(delivery_id(1)).await.unwrap(), None);
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap(), []);
    assert_eq!(store.deliveries(everything()).await.unwrap().deliveries, []);
}

/// However small the slices, and however many of the oldest must stay.
pub async fn a_walk_in_small_slices_finds_all(subject: impl Subject) {
    let store = subject.store();
    for number in 0..40 {
        accept(store, number, i64::from(number / 3)).await;
        if number >= 20 {
            deliver(store, number, i64::from(number / 3), 50).await;
        }
    }
    assert_eq!(prune_all(store, Kept::Contents, at(100), 1).await.events, 20);
    assert_eq!(prune_all(store, Kept::Records, at(100), 3).await.events, 20);
    assert_eq!(store.deliveries(everything()).await.unwrap().deliveries.len(), 20);
    assert_eq!(store.backlog().await.unwrap().live, 20);
}

/// Not one of several, and nothing that was to be written with it.
pub async fn nothing_is_delivered_again_without_content(subject: impl Subject) {
    let store = subject.store();
    for number in [1, 2] {
        accept(store, number, i64::from(number)).await;
        deliver(store, number, i64::from(number), 5).await;
    }
    prune_all(store, Kept::Contents, at(1), 100).await;
    let deliveries =
        vec![(new_delivery(11, 1, at(9)), event_id(2)), (new_delivery(12, 1, at(9)), event_id(1))];
    let refused = store.redeliver(deliveries, vec![]).await;
    assert!(matches!(refused, Err(StoreError::NotFound { .. })), "{refused:?}");
    assert_eq!(store.delivery(delivery_id(11)).await.unwrap(), None);
    store.redeliver(vec![(new_delivery(11, 1, at(9)), event_id(2))], vec![]).await.unwrap();
}

/// What an idempotency key remembers has a time of its own.
pub async fn a_repetition_is_known_after_the_content_has_gone(subject: impl Subject) {
    let store = subject.store();
    let keyed = |number| NewEvent {
        idempotency: Some(idempotency(1, 1, at(1_000))),
        ..new_event(number, at(i64::from(number)), vec![])
    };
    store.accept(keyed(1)).await.unwrap();
    assert_eq!(prune_all(store, Kept::Contents, at(500), 100).await.events, 1);
    assert_eq!(store.accept(keyed(2)).await.unwrap(), Accepted::Replayed(event_id(1)));
    assert_eq!(store.event(event_id(2)).await.unwrap(), None);
}

/// While it is configured, or any delivery to it is kept, it is told whose it is.
pub async fn whose_an_endpoint_was_is_forgotten_with_its_last_record(subject: impl Subject) {
    let store = subject.store();
    let configured = Record {
        kind: RecordKind::Endpoint,
        id: endpoint_id(1).to_string(),
        consumer: Some(owner_of(1)),
        sealed: b"an endpoint".to_vec(),
    };
    store.change(vec![RecordChange::Put(configured)]).await.unwrap();
    for number in 1..=4 {
        let delivery = new_delivery(number, number, at(0));
        store.accept(new_event(number, at(i64::from(number)), vec![delivery])).await.unwrap();
    }
    for number in 1..=3 {
        store.settle(settlement(live(number, number, number, at(0), 0), DELIVERED, at(5))).await.unwrap();
    }
    assert_eq!(forget_all(store).await, 0, "records are kept of all");
    prune_all(store, Kept::Contents, at(100), 100).await;
    assert_eq!(forget_all(store).await, 0, "records are kept of all");
    prune_all(store, Kept::Records, at(100), 100).await;
    assert_eq!(forget_all(store).await, 2, "one is configured, one has a live delivery");
    assert_eq!(forget_all(store).await, 0, "it is done once");

    // The next delivery to one that is forgotten is the first one.
    store.accept(new_event(9, at(9), vec![new_delivery(9, 2, at(9))])).await.unwrap();
    let listed = store.deliveries(everything()).await.unwrap().deliveries;
    let listed: Vec<_> = listed.into_iter().map(|delivery| (delivery.id, delivery.consumer)).collect();
    assert_eq!(listed, [(delivery_id(9), owner_of(2)), (delivery_id(4), owner_of(4))]);
}

/// Forgets in slices of one; returns how many.
async fn forget_all(store: &dyn Store) -> u64 {
    let (mut all, mut after) = (0, None);
    loop {
        let forgotten = store.forget_endpoints(after, 1).await.unwrap();
        all += forgotten.endpoints;
        assert!(forgotten.next > after || forgotten.next.is_none(), "a walk goes forward");
        after = forgotten.next;
        if after.is_none() {
            return all;
        }
    }
}
