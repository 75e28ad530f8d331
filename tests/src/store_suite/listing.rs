//! Properties of what people ask: `deliveries`, `delivery`, `attempts`, `event`.

use waxseal_sender::model::delivery::{Attempt, Delivery, DeliveryState, LiveDelivery};
use waxseal_sender::store::{DeliveryFilter, Outcome, Settlement, Store};

use super::Subject;
use super::fixture::{
    at, attempt, consumer, delivery_id, end_without_attempt, endpoint_id, event_id, everything, live,
    new_delivery, new_event, settlement,
};

const STATES: [DeliveryState; 7] = [
    DeliveryState::Pending,
    DeliveryState::Retrying,
    DeliveryState::Delivered,
    DeliveryState::Exhausted,
    DeliveryState::Expired,
    DeliveryState::Refused,
    DeliveryState::Cancelled,
];

/// Every combination of the four filters, compared with filtering by hand.
pub async fn every_filter_finds_what_matches(subject: impl Subject) {
    let store = subject.store();
    let all = populated(store).await;
    let mut matched = 0;
    for filter in filters() {
        let by_hand: Vec<Delivery> =
            all.iter().filter(|delivery| matches(&filter, delivery)).cloned().collect();
        matched += usize::from(!by_hand.is_empty());
        assert_eq!(store.deliveries(filter.clone()).await.unwrap(), by_hand, "{filter:?}");
        let nothing = DeliveryFilter { limit: 0, ..filter };
        assert_eq!(store.deliveries(nothing).await.unwrap(), []);
    }
    assert!(matched > 40, "only {matched} filters found anything");
}

/// Pages of any size, each going on after the last delivery of the one before, make the whole list.
pub async fn every_filter_can_be_paged(subject: impl Subject) {
    let store = subject.store();
    populated(store).await;
    for filter in filters() {
        let whole = store.deliveries(filter.clone()).await.unwrap();
        for limit in [1, 3] {
            let mut paged: Vec<Delivery> = Vec::new();
            loop {
                let before = paged.last().map(|delivery| delivery.id);
                let page =
                    store.deliveries(DeliveryFilter { before, limit, ..filter.clone() }).await.unwrap();
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= usize::try_from(limit).unwrap());
                paged.extend(page);
            }
            assert_eq!(paged, whole, "{filter:?} in pages of {limit}");
        }
    }
}

/// Every field, oldest first.
pub async fn attempts_come_back_as_recorded(subject: impl Subject) {
    let store = subject.store();
    store.accept(new_event(1, at(0), vec![new_delivery(1, 1, at(0))])).await.unwrap();
    let mut recorded: Vec<Attempt> = Vec::new();
    for made in 0..4_u32 {
        let due_at = at(100);
        let known = LiveDelivery { attempts_made: made, ..live(1, 1, 1, at(0), 0) };
        let next = attempt(made + 1, at(i64::from(made)), Some(due_at));
        recorded.push(next.clone());
        let again = settlement(known, Outcome::Again { due_at }, at(50));
        store.settle(Settlement { attempt: Some(next), ..again }).await.unwrap();
    }
    store.cancel(vec![endpoint_id(1)], at(60)).await.unwrap();
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap(), recorded);
}

/// No rows, no error.
pub async fn what_is_unknown_is_not_found(subject: impl Subject) {
    let store = subject.store();
    assert_eq!(store.event(event_id(1)).await.unwrap(), None);
    assert_eq!(store.delivery(delivery_id(1)).await.unwrap(), None);
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap(), []);
    let filter = DeliveryFilter { endpoint: Some(endpoint_id(1)), ..everything() };
    assert_eq!(store.deliveries(filter).await.unwrap(), []);
    assert_eq!(store.cancel(vec![endpoint_id(1)], at(0)).await.unwrap(), 0);
}

/// Deliveries of 12 events to 6 endpoints of 3 consumers, in every state; newest first.
async fn populated(store: &dyn Store) -> Vec<Delivery> {
    for event in 0..12_u32 {
        let deliveries = (0..6).map(|endpoint| new_delivery(event * 6 + endpoint, endpoint, at(0))).collect();
        store.accept(new_event(event, at(0), deliveries)).await.unwrap();
        for endpoint in 0..6 {
            let number = event * 6 + endpoint;
            let delivery = live(number, event, endpoint, at(0), 0);
            let settled = match STATES[usize::try_from((number * 5 + event) % 7).unwrap()] {
                DeliveryState::Pending => continue,
                DeliveryState::Retrying => settlement(delivery, Outcome::Again { due_at: at(70) }, at(1)),
                state if event % 2 == 0 => settlement(delivery, Outcome::Final(state), at(1)),
                state => end_without_attempt(delivery, Outcome::Final(state), at(1)),
            };
            store.settle(settled).await.unwrap();
        }
    }
    // Newer than all, of an old event.
    store.redeliver(new_delivery(90, 2, at(3)), event_id(3)).await.unwrap();
    let all = store.deliveries(everything()).await.unwrap();
    assert_eq!(all.len(), 73);
    assert!(all.is_sorted_by(|newer, older| newer.id > older.id));
    all
}

fn filters() -> Vec<DeliveryFilter> {
    let mut filters = Vec::new();
    for event in [None, Some(event_id(3)), Some(event_id(99))] {
        for endpoint in [None, Some(endpoint_id(2)), Some(endpoint_id(4)), Some(endpoint_id(99))] {
            for consumer in [None, Some(consumer(2)), Some(consumer(1)), Some(consumer(9))] {
                for state in STATES.into_iter().map(Some).chain([None]) {
                    let consumer = consumer.clone();
                    filters.push(DeliveryFilter { event, endpoint, consumer, state, ..everything() });
                }
            }
        }
    }
    filters
}

fn matches(filter: &DeliveryFilter, delivery: &Delivery) -> bool {
    filter.event.is_none_or(|event| event == delivery.event)
        && filter.endpoint.is_none_or(|endpoint| endpoint == delivery.endpoint)
        && filter.consumer.as_ref().is_none_or(|consumer| *consumer == delivery.consumer)
        && filter.state.is_none_or(|state| state == delivery.state)
}
