//! Properties of what the engine schedules by: `due`, `endpoints_with_work`, `backlog`.

use waxseal_sender::model::delivery::{DeliveryState, LiveDelivery};
use waxseal_sender::store::{
    Backlog, DuePosition, EndpointWork, NewDelivery, NewEvent, Outcome, Redated, Shard, Shards,
};

use super::Subject;
use super::fixture::{
    at, delivery_id, endpoint_id, event_id, live, new_delivery, new_event, owner_of, settlement,
};

/// The order is `(due_at, id)` and a page goes on exactly after the position of the one before.
pub async fn due_deliveries_come_in_order_and_in_pages(subject: impl Subject) {
    let store = subject.store();
    let due_times = [30, 10, 20, 10, 10, 20, 40];
    for (number, due) in (1..).zip(due_times) {
        let deliveries = vec![new_delivery(number, 1, at(due)), new_delivery(100 + number, 2, at(due))];
        store.accept(new_event(number, at(0), deliveries)).await.unwrap();
    }
    let ordered = [2, 4, 5, 3, 6, 1, 7].map(delivery_id);
    let all = store.due(endpoint_id(1), None, at(40), 100).await.unwrap();
    assert_eq!(all.iter().map(|live| live.id).collect::<Vec<_>>(), ordered);

    for page in 1..=8 {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let some = store.due(endpoint_id(1), after, at(40), page).await.unwrap();
            let Some(last) = some.last() else { break };
            after = Some(DuePosition { due_at: last.due_at, id: last.id });
            found.extend(some);
        }
        assert_eq!(found, all, "in pages of {page}");
    }
}

/// `until` is included, and nothing after it.
pub async fn what_is_due_later_is_not_due(subject: impl Subject) {
    let store = subject.store();
    let deliveries = vec![new_delivery(1, 1, at(10)), new_delivery(2, 1, at(11))];
    store.accept(new_event(1, at(0), deliveries)).await.unwrap();
    assert_eq!(store.due(endpoint_id(1), None, at(9), 9).await.unwrap(), []);
    assert_eq!(store.due(endpoint_id(1), None, at(10), 9).await.unwrap(), [live(1, 1, 1, at(10), 0)]);
    assert_eq!(store.due(endpoint_id(1), None, at(11), 9).await.unwrap().len(), 2);
    assert_eq!(store.due(endpoint_id(2), None, at(11), 9).await.unwrap(), []);
}

/// Whenever they are due and however often they were tried, in pages that go on exactly after the one before.
pub async fn deliveries_come_in_the_order_of_their_ids_too(subject: impl Subject) {
    let store = subject.store();
    for (number, due) in [(3, 10), (1, 90), (5, 20), (2, 30), (4, 5)] {
        let deliveries = vec![new_delivery(number, 1, at(due)), new_delivery(100 + number, 2, at(due))];
        store.accept(new_event(number, at(0), deliveries)).await.unwrap();
    }
    let again = Outcome::Again { due_at: at(9_000) };
    store.settle(settlement(live(1, 1, 1, at(90), 0), again, at(91))).await.unwrap();
    let delivered = Outcome::Final(DeliveryState::Delivered);
    store.settle(settlement(live(4, 4, 1, at(5), 0), delivered, at(91))).await.unwrap();
    let all = store.in_order(endpoint_id(1), None, 100).await.unwrap();
    let expected = [
        live(1, 1, 1, at(9_000), 1),
        live(2, 2, 1, at(30), 0),
        live(3, 3, 1, at(10), 0),
        live(5, 5, 1, at(20), 0),
    ];
    assert_eq!(all, expected);
    for page in 1..=5 {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let some = store.in_order(endpoint_id(1), after, page).await.unwrap();
            let Some(last) = some.last() else { break };
            after = Some(last.id);
            found.extend(some);
        }
        assert_eq!(found, all, "in pages of {page}");
    }
    assert_eq!(store.in_order(endpoint_id(3), None, 9).await.unwrap(), []);
}

/// Exactly the endpoints with live deliveries, paused or not, due or not.
pub async fn endpoints_with_work_are_found_with_their_next_due_time(subject: impl Subject) {
    let store = subject.store();
    let deliveries = vec![
        new_delivery(1, 1, at(50)),
        new_delivery(2, 1, at(40)),
        new_delivery(3, 2, at(9_000)),
        new_delivery(4, 3, at(10)),
    ];
    store.accept(new_event(1, at(0), deliveries)).await.unwrap();
    let delivered = Outcome::Final(DeliveryState::Delivered);
    store.settle(settlement(live(4, 1, 3, at(10), 0), delivered, at(11))).await.unwrap();
    let again = Outcome::Again { due_at: at(60) };
    store.settle(settlement(live(2, 1, 1, at(40), 0), again, at(41))).await.unwrap();

    let mut work = store.endpoints_with_work(Shards::ALL).await.unwrap();
    work.sort_by_key(|work| work.endpoint);
    let expected = |endpoint, next_due| EndpointWork {
        endpoint: endpoint_id(endpoint),
        consumer: owner_of(endpoint),
        next_due,
    };
    assert_eq!(work, [expected(1, at(50)), expected(2, at(9_000))]);
}

/// However many of its deliveries wait, an endpoint is named once.
pub async fn a_long_backlog_is_one_endpoint_with_work(subject: impl Subject) {
    let store = subject.store();
    for number in 0..300 {
        let deliveries = vec![new_delivery(number, 1, at(i64::from(number)))];
        store.accept(new_event(number, at(0), deliveries)).await.unwrap();
    }
    store.accept(new_event(300, at(0), vec![new_delivery(300, 2, at(7))])).await.unwrap();
    let mut work = store.endpoints_with_work(Shards::ALL).await.unwrap();
    work.sort_by_key(|work| work.endpoint);
    assert_eq!(work.iter().map(|work| work.next_due).collect::<Vec<_>>(), [at(0), at(7)]);
}

/// Live deliveries and the earliest due time among them, through every way in and out.
pub async fn the_backlog_is_counted(mut subject: impl Subject) {
    let store = subject.store();
    assert_eq!(store.backlog().await.unwrap(), Backlog { live: 0, oldest_due: None });
    let deliveries = vec![
        new_delivery(1, 1, at(30)),
        new_delivery(2, 2, at(20)),
        new_delivery(3, 2, at(10)),
        new_delivery(4, 3, at(40)),
    ];
    store.accept(new_event(1, at(0), deliveries)).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog { live: 4, oldest_due: Some(at(10)) });
    let again = Outcome::Again { due_at: at(50) };
    store.settle(settlement(live(3, 1, 2, at(10), 0), again, at(11))).await.unwrap();
    assert_eq!(store.backlog().await.unwrap(), Backlog { live: 4, oldest_due: Some(at(20)) });
    assert_eq!(store.cancel(vec![endpoint_id(2)], 10, at(12)).await.unwrap(), 2);
    assert_eq!(store.backlog().await.unwrap(), Backlog { live: 2, oldest_due: Some(at(30)) });
    let delivered = Outcome::Final(DeliveryState::Delivered);
    store.settle(settlement(live(1, 1, 1, at(30), 0), delivered, at(31))).await.unwrap();
    subject.reopen().await;
    assert_eq!(subject.store().backlog().await.unwrap(), Backlog { live: 1, oldest_due: Some(at(40)) });
}

/// Live deliveries whose time has come, whatever they wait for; not those that ended, nor those that have more time.
pub async fn what_has_run_out_is_found_and_nothing_else(mut subject: impl Subject) {
    let store = subject.store();
    let expiring = |number, endpoint, expires_at| NewDelivery {
        expires_at: Some(at(expires_at)),
        ..new_delivery(number, endpoint, at(5))
    };
    let deliveries = vec![
        expiring(1, 1, 30),
        expiring(2, 1, 20),
        expiring(3, 2, 10),
        new_delivery(4, 2, at(5)),
        expiring(5, 3, 15),
    ];
    let event = NewEvent { expires_at: Some(at(10)), ..new_event(1, at(0), deliveries) };
    store.accept(event).await.unwrap();
    assert_eq!(store.event(event_id(1)).await.unwrap().unwrap().expires_at, Some(at(10)));
    assert_eq!(store.expired(Shards::ALL, at(9), 99).await.unwrap(), []);
    let known = |number, endpoint, expires_at| LiveDelivery {
        expires_at: Some(at(expires_at)),
        ..live(number, 1, endpoint, at(5), 0)
    };
    assert_eq!(store.expired(Shards::ALL, at(10), 99).await.unwrap(), [known(3, 2, 10)]);
    assert_eq!(store.expired(Shards::ALL, at(20), 2).await.unwrap(), [known(3, 2, 10), known(5, 3, 15)]);

    // An attempt that failed keeps the time; the end of a delivery makes it nobody's.
    let again = Outcome::Again { due_at: at(9_000) };
    store.settle(settlement(known(2, 1, 20), again, at(6))).await.unwrap();
    let delivered = Outcome::Final(DeliveryState::Delivered);
    store.settle(settlement(known(3, 2, 10), delivered, at(6))).await.unwrap();
    subject.reopen().await;
    let store = subject.store();
    let tried = LiveDelivery { due_at: at(9_000), attempts_made: 1, ..known(2, 1, 20) };
    let all = [known(5, 3, 15), tried.clone(), known(1, 1, 30)];
    assert_eq!(store.expired(Shards::ALL, at(9_000), 99).await.unwrap(), all);
    assert_eq!(store.due(endpoint_id(1), None, at(9_000), 9).await.unwrap(), [known(1, 1, 30), tried]);
    let (live, ended) = (
        store.delivery(delivery_id(1)).await.unwrap().unwrap(),
        store.delivery(delivery_id(3)).await.unwrap().unwrap(),
    );
    assert_eq!((live.expires_at, live.ended_at), (Some(at(30)), None));
    assert_eq!((ended.expires_at, ended.ended_at), (None, Some(at(6))));
}

/// Of the shards that are asked for, and of no others, however many others there are.
pub async fn work_and_what_has_run_out_are_found_by_shards(subject: impl Subject) {
    let store = subject.store();
    for number in 0..60 {
        // Two endpoints of each of thirty shards.
        let endpoint = (number % 30) + (number / 30) * 0x100;
        let delivery = NewDelivery {
            expires_at: Some(at(i64::from(100 - number))),
            ..new_delivery(number, endpoint, at(i64::from(number)))
        };
        store.accept(new_event(number, at(0), vec![delivery])).await.unwrap();
    }
    let some: Shards = [3, 4, 29, 77].into_iter().map(Shard::new).collect();
    let mut work = store.endpoints_with_work(some).await.unwrap();
    work.sort_by_key(|work| work.next_due);
    let found: Vec<_> = work.iter().map(|work| (work.endpoint, work.next_due)).collect();
    let expected = [3, 4, 29, 33, 34, 59]
        .map(|number: u32| (endpoint_id((number % 30) + (number / 30) * 0x100), at(i64::from(number))));
    assert_eq!(found, expected);
    assert_eq!(store.endpoints_with_work(Shards::ALL).await.unwrap().len(), 60);
    assert_eq!(store.endpoints_with_work(Shards::NONE).await.unwrap(), []);

    let expired = async |shards, now, limit| {
        let found = store.expired(shards, at(now), limit).await.unwrap();
        found.iter().map(|live| live.id).collect::<Vec<_>>()
    };
    // The last of them run out first.
    assert_eq!(expired(some, 1_000, 99).await, [59, 34, 33, 29, 4, 3].map(delivery_id));
    assert_eq!(expired(some, 1_000, 2).await, [59, 34].map(delivery_id));
    assert_eq!(expired(some, 66, 99).await, [59, 34].map(delivery_id));
    assert_eq!(expired(Shards::NONE, 1_000, 99).await, []);
    assert_eq!(expired(Shards::ALL, 1_000, 99).await.len(), 60);
}

/// It waits as long as it was to wait; what was dated before stays as it is, and so do other endpoints.
pub async fn what_a_clock_dated_that_was_set_back_is_dated_anew(subject: impl Subject) {
    let store = subject.store();
    for (number, due) in [(1, 900), (2, 950), (3, 40), (4, 10)] {
        let deliveries = vec![new_delivery(number, 1, at(due)), new_delivery(100 + number, 2, at(due))];
        store.accept(new_event(number, at(due), deliveries)).await.unwrap();
    }
    // 2 was tried while the clock was ahead, 3 and 4 before.
    for (number, due, tried, next) in [(2, 950, 960, 1_000), (3, 40, 45, 5_000), (4, 10, 20, 30)] {
        let again = Outcome::Again { due_at: at(next) };
        let live = live(number, number, 1, at(due), 0);
        store.settle(settlement(live, again, at(tried))).await.unwrap();
    }
    // By a clock that may be so far ahead of ours, nothing is dated wrongly.
    let redated = store.redate(endpoint_id(1), at(50), at(960), None, 99).await.unwrap();
    assert_eq!(redated, Redated::default());
    let (mut after, mut moved) = (None, 0);
    loop {
        let redated = store.redate(endpoint_id(1), at(50), at(50), after, 1).await.unwrap();
        moved += redated.moved;
        after = redated.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(moved, 2);
    let expected = [
        live(4, 4, 1, at(30), 1),
        live(1, 1, 1, at(50), 0),
        live(2, 2, 1, at(90), 1),
        live(3, 3, 1, at(5_000), 1),
    ];
    assert_eq!(store.due(endpoint_id(1), None, at(9_000), 9).await.unwrap(), expected);
    assert_eq!(store.due(endpoint_id(2), None, at(899), 9).await.unwrap().len(), 2);
    assert_eq!(store.redate(endpoint_id(9), at(50), at(50), None, 9).await.unwrap(), Redated::default());
}
