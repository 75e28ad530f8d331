//! Properties of `settle` and `cancel`.

use waxseal_sender::model::delivery::{Delivery, DeliveryState, LiveDelivery};
use waxseal_sender::store::{
    FailureCount, Outcome, Record, RecordChange, RecordKind, Settled, Settlement, Shards, Store, StoreError,
};

use super::Subject;
use super::fixture::{
    at, attempt, delivery_id, end_without_attempt, endpoint_id, everything, live, new_delivery, new_event,
    owner_of, settlement,
};

const FINAL: [DeliveryState; 5] = [
    DeliveryState::Delivered,
    DeliveryState::Exhausted,
    DeliveryState::Expired,
    DeliveryState::Refused,
    DeliveryState::Cancelled,
];

/// It leaves the live deliveries, shows its final state, and its attempt is recorded.
pub async fn a_final_settlement_ends_the_delivery(subject: impl Subject) {
    let store = subject.store();
    for (number, state) in (1..).zip(FINAL) {
        let delivery = accepted(store, number).await;
        let settled = store.settle(settlement(delivery, Outcome::Final(state), at(9))).await.unwrap();
        assert_eq!(settled, Settled::Recorded);
        let shown = shown(store, number).await;
        assert_eq!((shown.state, shown.attempts_made), (state, 1));
        assert_eq!((shown.due_at, shown.last_attempt_at), (None, Some(at(9))));
        assert_eq!(store.attempts(delivery_id(number)).await.unwrap(), [attempt(1, at(9), None)]);
    }
    assert_eq!(store.endpoints_with_work(Shards::ALL).await.unwrap(), []);
    assert_eq!(store.due(endpoint_id(1), None, at(1_000_000), 99).await.unwrap(), []);
}

/// It stays live with one attempt more, due at the new time and not before.
pub async fn a_delivery_is_tried_again_when_it_was_said(subject: impl Subject) {
    let store = subject.store();
    let first = accepted(store, 1).await;
    for made in 0..3_u32 {
        let now = at(i64::from(made) * 100);
        let due_at = at(i64::from(made) * 100 + 50);
        let known = LiveDelivery { attempts_made: made, ..first.clone() };
        let settled = store.settle(settlement(known, Outcome::Again { due_at }, now)).await.unwrap();
        assert_eq!(settled, Settled::Recorded);
        let shown = shown(store, 1).await;
        assert_eq!((shown.state, shown.attempts_made), (DeliveryState::Retrying, made + 1));
        assert_eq!((shown.due_at, shown.last_attempt_at), (Some(due_at), Some(now)));
        let before = at(i64::from(made) * 100 + 49);
        assert_eq!(store.due(endpoint_id(1), None, before, 9).await.unwrap(), []);
        let live = LiveDelivery { due_at, attempts_made: made + 1, ..first.clone() };
        assert_eq!(store.due(endpoint_id(1), None, due_at, 9).await.unwrap(), [live]);
    }
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap().len(), 3);
}

/// Too few or too many attempts known, ended already, never there: nothing at all is written.
pub async fn a_stale_settlement_writes_nothing(subject: impl Subject) {
    let store = subject.store();
    let first = accepted(store, 1).await;
    let again = Outcome::Again { due_at: at(70) };
    store.settle(settlement(first.clone(), again, at(1))).await.unwrap();
    let ended = accepted(store, 2).await;
    store.settle(settlement(ended.clone(), Outcome::Final(DeliveryState::Expired), at(1))).await.unwrap();
    let before = (store.deliveries(everything()).await.unwrap(), store.attempts(first.id).await.unwrap());

    let never = LiveDelivery { id: delivery_id(99), ..first.clone() };
    let elsewhere = LiveDelivery { endpoint: endpoint_id(77), ..never.clone() };
    let ahead = LiveDelivery { attempts_made: 2, ..first.clone() };
    for stale in [first.clone(), ahead, ended, never, elsewhere] {
        for outcome in [Outcome::Final(DeliveryState::Delivered), Outcome::Again { due_at: at(5) }] {
            let with_change =
                Settlement { changes: vec![put("stale")], ..settlement(stale.clone(), outcome, at(3)) };
            assert_eq!(store.settle(with_change).await.unwrap(), Settled::Stale, "{stale:?}");
            let without = end_without_attempt(stale.clone(), outcome, at(3));
            assert_eq!(store.settle(without).await.unwrap(), Settled::Stale, "{stale:?}");
        }
    }
    assert_eq!(
        (store.deliveries(everything()).await.unwrap(), store.attempts(first.id).await.unwrap()),
        before
    );
    assert_eq!(store.records().await.unwrap(), []);
    assert_eq!(store.backlog().await.unwrap().live, 1);
}

/// Two owners that both think they made the attempt, at the same time.
pub async fn only_one_of_two_equal_settlements_is_recorded(subject: impl Subject) {
    let store = subject.store();
    for number in 1..20 {
        let delivery = accepted(store, number).await;
        let delivered = Outcome::Final(DeliveryState::Delivered);
        let one = store.settle(settlement(delivery.clone(), delivered, at(1)));
        let two = store.settle(settlement(delivery, Outcome::Again { due_at: at(90) }, at(2)));
        let (one, two) = tokio::join!(one, two);
        let outcomes = [one.unwrap(), two.unwrap()];
        assert_eq!(outcomes.iter().filter(|settled| **settled == Settled::Recorded).count(), 1);
        assert_eq!(store.attempts(delivery_id(number)).await.unwrap().len(), 1);
    }
}

/// A paused endpoint is paused in the transaction that records why.
pub async fn changes_are_written_with_their_settlement(subject: impl Subject) {
    let store = subject.store();
    let delivery = accepted(store, 1).await;
    store.change(vec![put("old"), put("gone")]).await.unwrap();
    let again = Outcome::Again { due_at: at(70) };
    let remove = RecordChange::Remove { kind: RecordKind::Endpoint, id: "gone".to_owned() };
    let changes = vec![put("new"), remove];
    store.settle(Settlement { changes, ..settlement(delivery, again, at(1)) }).await.unwrap();
    let mut records = store.records().await.unwrap();
    records.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(records, [record("new"), record("old")]);
}

/// Its final state is seen like any other; it has the attempts that it had.
pub async fn a_delivery_can_end_without_an_attempt(subject: impl Subject) {
    let store = subject.store();
    for (number, state) in (1..).zip(FINAL) {
        let mut delivery = accepted(store, number).await;
        let tried = number % 2 == 0;
        if tried {
            let again = Outcome::Again { due_at: at(50) };
            store.settle(settlement(delivery.clone(), again, at(1))).await.unwrap();
            delivery.attempts_made = 1;
        }
        let end = end_without_attempt(delivery, Outcome::Final(state), at(60));
        assert_eq!(store.settle(end).await.unwrap(), Settled::Recorded);
        let shown = shown(store, number).await;
        assert_eq!((shown.state, shown.due_at), (state, None));
        assert_eq!((shown.attempts_made, shown.last_attempt_at), (u32::from(tried), tried.then_some(at(1))));
        assert_eq!(store.attempts(delivery_id(number)).await.unwrap().len(), usize::from(tried));
    }
    assert_eq!(store.backlog().await.unwrap().live, 0);
}

/// Moving the due time is not an attempt.
pub async fn a_delivery_can_be_moved_without_an_attempt(subject: impl Subject) {
    let store = subject.store();
    let delivery = accepted(store, 1).await;
    let moved = end_without_attempt(delivery.clone(), Outcome::Again { due_at: at(80) }, at(1));
    assert_eq!(store.settle(moved).await.unwrap(), Settled::Recorded);
    let shown = shown(store, 1).await;
    assert_eq!((shown.state, shown.due_at, shown.attempts_made), (DeliveryState::Pending, Some(at(80)), 0));
    let live = LiveDelivery { due_at: at(80), ..delivery };
    assert_eq!(store.due(endpoint_id(1), None, at(80), 9).await.unwrap(), std::slice::from_ref(&live));
    // The position may be an old one; the fence is the number of attempts alone.
    let known = LiveDelivery { due_at: at(0), ..live };
    let delivered = Outcome::Final(DeliveryState::Delivered);
    assert_eq!(store.settle(settlement(known, delivered, at(81))).await.unwrap(), Settled::Recorded);
}

/// A settlement that contradicts itself is an error and changes nothing.
pub async fn nonsense_is_refused(subject: impl Subject) {
    let store = subject.store();
    let delivery = accepted(store, 1).await;
    let not_final = settlement(delivery.clone(), Outcome::Final(DeliveryState::Retrying), at(1));
    let delivered = Outcome::Final(DeliveryState::Delivered);
    let skipped =
        Settlement { attempt: Some(attempt(2, at(1), None)), ..settlement(delivery, delivered, at(1)) };
    for nonsense in [not_final, skipped] {
        let refused = store.settle(nonsense).await;
        assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{refused:?}");
    }
    assert_eq!(shown(store, 1).await.state, DeliveryState::Pending);
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap(), []);
}

/// Live deliveries of the named endpoints end; others, and those that had ended, are as they were.
pub async fn cancelling_ends_what_is_live_and_nothing_else(subject: impl Subject) {
    let store = subject.store();
    let (tried, delivered, fresh) =
        (accepted(store, 1).await, accepted(store, 2).await, accepted(store, 3).await);
    store
        .accept(new_event(4, at(0), vec![new_delivery(4, 2, at(0)), new_delivery(5, 3, at(0))]))
        .await
        .unwrap();
    store.settle(settlement(tried.clone(), Outcome::Again { due_at: at(50) }, at(1))).await.unwrap();
    store.settle(settlement(delivered, Outcome::Final(DeliveryState::Delivered), at(1))).await.unwrap();

    let endpoints = vec![endpoint_id(1), endpoint_id(2), endpoint_id(99)];
    assert_eq!(store.cancel(endpoints.clone(), 0, at(9)).await.unwrap(), 0);
    assert_eq!(store.cancel(endpoints.clone(), 1, at(10)).await.unwrap(), 1);
    // Of the first endpoint; the one that was tried is due last.
    assert_eq!(shown(store, 1).await.state, DeliveryState::Retrying);
    assert_eq!(shown(store, 3).await.state, DeliveryState::Cancelled);
    assert_eq!(store.cancel(endpoints.clone(), 2, at(10)).await.unwrap(), 2);
    assert_eq!(store.cancel(endpoints, 2, at(11)).await.unwrap(), 0);
    let mut states = Vec::new();
    for number in 1..=5 {
        states.push(shown(store, number).await.state);
    }
    let (cancelled, delivered) = (DeliveryState::Cancelled, DeliveryState::Delivered);
    assert_eq!(states, [cancelled, delivered, cancelled, cancelled, DeliveryState::Pending]);
    assert_eq!(store.attempts(tried.id).await.unwrap().len(), 1);
    let late = settlement(fresh, Outcome::Final(DeliveryState::Delivered), at(12));
    assert_eq!(store.settle(late).await.unwrap(), Settled::Stale);
}

async fn accepted(store: &dyn Store, number: u32) -> LiveDelivery {
    store.accept(new_event(number, at(0), vec![new_delivery(number, 1, at(0))])).await.unwrap();
    live(number, number, 1, at(0), 0)
}

async fn shown(store: &dyn Store, number: u32) -> Delivery {
    store.delivery(delivery_id(number)).await.unwrap().unwrap()
}

fn record(id: &str) -> Record {
    Record { kind: RecordKind::Endpoint, id: id.to_owned(), consumer: None, sealed: id.as_bytes().to_vec() }
}

fn put(id: &str) -> RecordChange {
    RecordChange::Put(record(id))
}

/// Refused attempts and bad ends, counted by what they have in common; each window has what was recorded in it.
pub async fn failures_are_counted_by_window(subject: impl Subject) {
    let store = subject.store();
    for number in 1..=5 {
        accepted(store, number).await;
    }
    let end = |number, state, moment| {
        let delivery = live(number, number, 1, at(0), 0);
        settlement(delivery, Outcome::Final(state), at(moment))
    };
    let refused = |number, skew, moment| {
        let again = Outcome::Again { due_at: at(0) };
        let mut refused = settlement(live(number, number, 1, at(0), 0), again, at(moment));
        let attempt = refused.attempt.as_mut().unwrap();
        (attempt.status, attempt.result) = (Some(400), "answer.invalid_request".to_owned());
        attempt.clock_skew_seconds = skew;
        refused
    };
    store.settle(end(1, DeliveryState::Exhausted, 10)).await.unwrap();
    store.settle(end(2, DeliveryState::Delivered, 11)).await.unwrap();
    store.settle(end(3, DeliveryState::Cancelled, 12)).await.unwrap();
    store.settle(refused(4, Some(70), 13)).await.unwrap();
    store.settle(refused(5, Some(-95), 19)).await.unwrap();
    let expired = live(4, 4, 1, at(0), 1);
    let expired = end_without_attempt(expired, Outcome::Final(DeliveryState::Expired), at(20));
    store.settle(expired).await.unwrap();

    let found = async |from, until| {
        let mut failures = store.failures(at(from), at(until)).await.unwrap();
        assert!(!failures.is_cut);
        failures.counts.sort_by_key(|count| (count.event_type.clone(), count.state.map(DeliveryState::name)));
        let short = |count: &FailureCount| {
            assert_eq!((count.endpoint, &count.consumer), (endpoint_id(1), &owner_of(1)));
            let code = count.result.clone().unwrap_or_default();
            (count.event_type.clone(), count.state, code, count.count, count.clock_skew_seconds)
        };
        failures.counts.iter().map(short).collect::<Vec<_>>()
    };
    let refusal =
        |kind: &str, skew| (kind.to_owned(), None, "answer.invalid_request".to_owned(), 1, Some(skew));
    let exhausted = Some(DeliveryState::Exhausted);
    assert_eq!(
        found(10, 20).await,
        [
            refusal("order.kind0", 70),
            refusal("order.kind1", -95),
            ("order.kind1".to_owned(), exhausted, "answer.status".to_owned(), 1, Some(-90)),
        ]
    );
    assert_eq!(
        found(20, 21).await,
        [("order.kind0".to_owned(), Some(DeliveryState::Expired), String::new(), 1, None)]
    );
    assert_eq!(found(0, 10).await, []);
}
