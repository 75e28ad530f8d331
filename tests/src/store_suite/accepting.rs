//! Properties of `accept` and `redeliver`.

use waxseal_sender::model::delivery::{Delivery, DeliveryState};
use waxseal_sender::store::{
    Accepted, Backlog, EventSummary, NewEvent, Outcome, Record, RecordChange, RecordKind, Shards, StoreError,
    StoredPayload,
};

use super::Subject;
use super::fixture::{
    at, consumer, delivery_id, endpoint_id, event_id, everything, idempotency, live, new_delivery, new_event,
    owner_of, settlement,
};

/// The event, its payload for each consumer, and its deliveries are there once `accept` has answered.
pub async fn what_is_accepted_can_be_read(subject: impl Subject) {
    let store = subject.store();
    let event = new_event(1, at(0), vec![new_delivery(1, 1, at(0)), new_delivery(2, 2, at(5))]);
    assert_eq!(store.accept(event.clone()).await.unwrap(), Accepted::New);

    let consumers = vec![owner_of(1), owner_of(2)];
    let summary = EventSummary {
        id: event.id,
        event_type: event.event_type.clone(),
        accepted_at: at(0),
        expires_at: None,
        consumers,
        content_kept: true,
    };
    assert_eq!(store.event(event.id).await.unwrap(), Some(summary));
    let payloads = store.payloads(vec![(event.id, owner_of(2)), (event.id, owner_of(1))]).await.unwrap();
    let payload = |endpoint, wrapped: usize| StoredPayload {
        event: event.id,
        consumer: owner_of(endpoint),
        event_type: event.event_type.clone(),
        sealed: event.sealed.clone(),
        wrapped_key: event.wrapped_keys[wrapped].1.clone(),
    };
    assert_eq!(payloads, [payload(2, 1), payload(1, 0)]);
    let delivery = Delivery {
        id: delivery_id(2),
        event: event.id,
        endpoint: endpoint_id(2),
        consumer: owner_of(2),
        state: DeliveryState::Pending,
        attempts_made: 0,
        due_at: Some(at(5)),
        last_attempt_at: None,
        expires_at: None,
        ended_at: None,
    };
    assert_eq!(store.delivery(delivery_id(2)).await.unwrap(), Some(delivery));
    assert_eq!(store.due(endpoint_id(1), None, at(0), 9).await.unwrap(), [live(1, 1, 1, at(0), 0)]);
}

/// Nobody may be subscribed yet; the event is kept all the same.
pub async fn an_event_without_deliveries_is_kept(subject: impl Subject) {
    let store = subject.store();
    let event =
        NewEvent { wrapped_keys: vec![(consumer(7), b"wrapped".to_vec())], ..new_event(1, at(0), vec![]) };
    assert_eq!(store.accept(event).await.unwrap(), Accepted::New);
    assert_eq!(store.event(event_id(1)).await.unwrap().unwrap().consumers, [consumer(7)]);
    assert_eq!(store.payloads(vec![(event_id(1), consumer(7))]).await.unwrap().len(), 1);
    assert_eq!(store.deliveries(everything()).await.unwrap().deliveries, []);
    assert_eq!(store.endpoints_with_work(Shards::ALL).await.unwrap(), []);
}

/// Neither a missing event nor a consumer that it was not accepted for disturbs the rest of the page.
pub async fn payloads_that_are_not_there_are_left_out(subject: impl Subject) {
    let store = subject.store();
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    let wanted = vec![(event_id(2), owner_of(1)), (event_id(1), owner_of(2)), (event_id(1), owner_of(1))];
    let found = store.payloads(wanted).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].event, &found[0].consumer), (event_id(1), &owner_of(1)));
}

/// Same key, same content: the first event's id, and nothing is kept twice.
pub async fn a_repetition_is_answered_with_the_first_event(subject: impl Subject) {
    let store = subject.store();
    let keyed = |number| NewEvent {
        idempotency: Some(idempotency(1, 1, at(1_000))),
        ..new_event(number, at(i64::from(number)), vec![new_delivery(number, 1, at(0))])
    };
    assert_eq!(store.accept(keyed(1)).await.unwrap(), Accepted::New);
    let earlier = async |key, content, now| {
        store.accepted_earlier(idempotency(key, content, at(9_000)), at(now)).await.unwrap()
    };
    assert_eq!(earlier(1, 1, 999).await, Some(Accepted::Replayed(event_id(1))));
    assert_eq!(earlier(1, 2, 999).await, Some(Accepted::Conflict(event_id(1))));
    assert_eq!(earlier(2, 1, 999).await, None);
    assert_eq!(earlier(1, 1, 1_000).await, None);
    for number in 2..4 {
        assert_eq!(store.accept(keyed(number)).await.unwrap(), Accepted::Replayed(event_id(1)));
        assert_eq!(store.event(event_id(number)).await.unwrap(), None);
    }
    assert_eq!(store.deliveries(everything()).await.unwrap().deliveries.len(), 1);
    assert_eq!(store.backlog().await.unwrap().live, 1);
}

/// Same key, other content: the first event's id, and nothing of the second is kept, not even its key.
pub async fn other_content_under_the_same_key_is_a_conflict(subject: impl Subject) {
    let store = subject.store();
    let keyed = |number, content| NewEvent {
        idempotency: Some(idempotency(1, content, at(1_000))),
        ..new_event(number, at(0), vec![new_delivery(number, 1, at(0))])
    };
    assert_eq!(store.accept(keyed(1, 1)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(keyed(2, 2)).await.unwrap(), Accepted::Conflict(event_id(1)));
    assert_eq!(store.accept(keyed(3, 1)).await.unwrap(), Accepted::Replayed(event_id(1)));
    assert_eq!(store.event(event_id(2)).await.unwrap(), None);
    assert_eq!(store.delivery(delivery_id(2)).await.unwrap(), None);
    let other_key =
        NewEvent { idempotency: Some(idempotency(2, 1, at(1_000))), ..new_event(4, at(0), vec![]) };
    assert_eq!(store.accept(other_key).await.unwrap(), Accepted::New);
}

/// Remembered before its expiry, free from then on; the new owner is remembered in its turn.
pub async fn a_key_is_forgotten_when_it_expires(subject: impl Subject) {
    let store = subject.store();
    let keyed = |number, content, now, expiry| NewEvent {
        idempotency: Some(idempotency(1, content, at(expiry))),
        ..new_event(number, at(now), vec![])
    };
    assert_eq!(store.accept(keyed(1, 1, 0, 100)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(keyed(2, 1, 99, 300)).await.unwrap(), Accepted::Replayed(event_id(1)));
    assert_eq!(store.accept(keyed(3, 2, 100, 200)).await.unwrap(), Accepted::New);
    assert_eq!(store.accept(keyed(4, 1, 199, 300)).await.unwrap(), Accepted::Conflict(event_id(3)));
    assert_eq!(store.accept(keyed(5, 2, 199, 300)).await.unwrap(), Accepted::Replayed(event_id(3)));
}

/// A second delivery of the same event, beside the first one and after its end.
pub async fn a_stored_event_can_be_redelivered(subject: impl Subject) {
    let store = subject.store();
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    let refused = Outcome::Final(DeliveryState::Refused);
    store.settle(settlement(live(1, 1, 1, at(0), 0), refused, at(1))).await.unwrap();
    store.redeliver(vec![(new_delivery(2, 1, at(7)), event_id(1))], vec![]).await.unwrap();

    assert_eq!(store.delivery(delivery_id(1)).await.unwrap().unwrap().state, DeliveryState::Refused);
    let second = store.delivery(delivery_id(2)).await.unwrap().unwrap();
    assert_eq!(
        (second.event, second.state, second.due_at),
        (event_id(1), DeliveryState::Pending, Some(at(7)))
    );
    assert_eq!(store.due(endpoint_id(1), None, at(7), 9).await.unwrap(), [live(2, 1, 1, at(7), 0)]);
    assert_eq!(store.backlog().await.unwrap(), Backlog { live: 1, oldest_due: Some(at(7)) });
}

/// There is nothing to deliver, so there is no delivery either.
pub async fn an_unknown_event_cannot_be_redelivered(subject: impl Subject) {
    let store = subject.store();
    let refused = store.redeliver(vec![(new_delivery(1, 1, at(0)), event_id(9))], vec![]).await;
    assert!(matches!(refused, Err(StoreError::NotFound { what: "event" })), "{refused:?}");
    assert_eq!(store.delivery(delivery_id(1)).await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap(), Backlog::default());
}

/// Deliveries and what else changes with them are written together, in the order of nothing.
pub async fn redeliveries_and_their_changes_are_one_write(subject: impl Subject) {
    let store = subject.store();
    let change = |id: &str| {
        RecordChange::Put(Record {
            kind: RecordKind::Recovery,
            id: id.to_owned(),
            consumer: None,
            sealed: vec![1],
        })
    };
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    store.accept(new_event(2, at(0), vec![new_delivery(2, 2, at(0))])).await.unwrap();
    let both = vec![(new_delivery(3, 1, at(7)), event_id(1)), (new_delivery(4, 2, at(8)), event_id(2))];
    store.redeliver(both, vec![change("done")]).await.unwrap();
    assert_eq!(store.backlog().await.unwrap().live, 4);

    let one_unknown =
        vec![(new_delivery(5, 1, at(7)), event_id(1)), (new_delivery(6, 2, at(8)), event_id(9))];
    let refused = store.redeliver(one_unknown, vec![change("undone")]).await;
    assert!(matches!(refused, Err(StoreError::NotFound { what: "event" })), "{refused:?}");
    assert_eq!(store.backlog().await.unwrap().live, 4);
    assert_eq!(store.delivery(delivery_id(5)).await.unwrap(), None);
    let records = store.records().await.unwrap();
    assert_eq!(
        records.iter().map(|record| (record.kind, record.id.as_str())).collect::<Vec<_>>(),
        [(RecordKind::Recovery, "done")]
    );
    store.redeliver(vec![], vec![change("alone")]).await.unwrap();
    assert_eq!(store.records().await.unwrap().len(), 2);
}
