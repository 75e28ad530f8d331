//! Properties of what people ask: `deliveries`, `delivery`, `attempts`, `event`.

use waxseal_sender::model::delivery::{Attempt, Delivery, DeliveryState, LiveDelivery};
use waxseal_sender::store::{DeliveryFilter, DeliveryPage, Order, Outcome, Settlement, Store};

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

/// Every combination of the filters, compared with filtering by hand.
pub async fn every_filter_finds_what_matches(subject: impl Subject) {
    let store = subject.store();
    let all = populated(store).await;
    let mut matched = 0;
    for filter in filters() {
        let by_hand: Vec<Delivery> =
            all.iter().filter(|delivery| matches(&filter, delivery)).cloned().collect();
        matched += usize::from(!by_hand.is_empty());
        let page = |deliveries| DeliveryPage { deliveries, reached: None };
        let oldest_first = DeliveryFilter { order: Order::OldestFirst, ..filter.clone() };
        let reversed = by_hand.iter().rev().cloned().collect();
        assert_eq!(store.deliveries(oldest_first).await.unwrap(), page(reversed), "{filter:?}");
        assert_eq!(store.deliveries(filter.clone()).await.unwrap(), page(by_hand), "{filter:?}");
        let nothing = DeliveryFilter { limit: 0, ..filter };
        assert_eq!(store.deliveries(nothing).await.unwrap().deliveries, []);
    }
    assert!(matched > 200, "only {matched} filters found anything");
}

/// Pages of any size, each going on after the last delivery of the one before, make the whole list.
pub async fn every_filter_can_be_paged(subject: impl Subject) {
    let store = subject.store();
    populated(store).await;
    for (filter, order) in
        filters().into_iter().zip([Order::NewestFirst, Order::OldestFirst].into_iter().cycle())
    {
        let filter = DeliveryFilter { order, ..filter };
        let whole = store.deliveries(filter.clone()).await.unwrap().deliveries;
        for limit in [1, 3] {
            let mut paged: Vec<Delivery> = Vec::new();
            let mut rest = DeliveryFilter { limit, ..filter.clone() };
            loop {
                let page = store.deliveries(rest.clone()).await.unwrap().deliveries;
                let Some(last) = page.last() else { break };
                rest = rest.behind(last.id);
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
    store.cancel(vec![endpoint_id(1)], 10, at(60)).await.unwrap();
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap(), recorded);
}

/// No rows, no error.
pub async fn what_is_unknown_is_not_found(subject: impl Subject) {
    let store = subject.store();
    assert_eq!(store.event(event_id(1)).await.unwrap(), None);
    assert_eq!(store.delivery(delivery_id(1)).await.unwrap(), None);
    assert_eq!(store.attempts(delivery_id(1)).await.unwrap(), []);
    let filter = DeliveryFilter { endpoint: Some(endpoint_id(1)), ..everything() };
    assert_eq!(store.deliveries(filter).await.unwrap(), DeliveryPage::default());
    assert_eq!(store.cancel(vec![endpoint_id(1)], 10, at(0)).await.unwrap(), 0);
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
    store.redeliver(vec![(new_delivery(90, 2, at(3)), event_id(3))], vec![]).await.unwrap();
    let all = store.deliveries(everything()).await.unwrap().deliveries;
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
                    let states = state.into_iter().collect();
                    let consumer = consumer.clone();
                    let filter = DeliveryFilter { event, endpoint, consumer, states, ..everything() };
                    narrowed(filter, &mut filters);
                }
            }
        }
    }
    filters
}

/// The filter, and some that ask for a little less.
fn narrowed(filter: DeliveryFilter, filters: &mut Vec<DeliveryFilter>) {
    let event_types = vec!["order.kind3".to_owned(), "order.kind1".to_owned()];
    filters.push(DeliveryFilter { event_types, ..filter.clone() });
    let (after, before) = (Some(delivery_id(20)), Some(delivery_id(60)));
    filters.push(DeliveryFilter { after, before, ..filter.clone() });
    if let [one] = filter.states[..] {
        let states = vec![one, DeliveryState::Refused, DeliveryState::Pending];
        filters.push(DeliveryFilter { states, before, ..filter.clone() });
    }
    filters.push(filter);
}

fn matches(filter: &DeliveryFilter, delivery: &Delivery) -> bool {
    filter.event.is_none_or(|event| event == delivery.event)
        && filter.endpoint.is_none_or(|endpoint| endpoint == delivery.endpoint)
        && filter.consumer.as_ref().is_none_or(|consumer| *consumer == delivery.consumer)
        && (filter.states.is_empty() || filter.states.contains(&delivery.state))
        && filter.after.is_none_or(|after| delivery.id > after)
        && filter.before.is_none_or(|before| delivery.id < before)
        && (filter.event_types.is_empty() || filter.event_types.contains(&type_of(delivery)))
}

/// The type that the fixture gave to the event.
fn type_of(delivery: &Delivery) -> String {
    let number = u32::from_be_bytes(delivery.event.as_bytes()[12..].try_into().unwrap());
    new_event(number, at(0), vec![]).event_type
}
