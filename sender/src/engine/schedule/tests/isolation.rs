//! Endpoints that are slow, dead, flooded, paced or in strict order, and what their neighbours notice of them.

use proptest::prelude::*;

use super::super::super::breaker::SLOW;
use super::super::super::condition::BreakerState;
use super::super::super::pace::{Status, Terms};
use super::world::{How, Step, World, endpoint_id, fresh, small};
use super::*;
use crate::id::DeliveryId;
use crate::publish::Expected;

fn fifo() -> Terms {
    Terms { order: Order::Fifo, ..Terms::default() }
}

/// Publishes and announces so many to an endpoint.
fn publish(world: &mut World, endpoint: usize, count: usize) -> Vec<DeliveryId> {
    let made = (0..count).map(|_| {
        let delivery = world.publish(endpoint, 0);
        world.announce(delivery.clone());
        delivery.id
    });
    made.collect()
}

/// Makes one delivery; says which.
fn make(world: &mut World, how: How) -> Option<DeliveryId> {
    world.claim().then(|| {
        let id = world.flying.last().unwrap().delivery.id;
        world.settle(world.flying.len() - 1, how);
        world.done(0);
        id
    })
}

fn of(world: &World, endpoint: usize) -> usize {
    world.flying.iter().filter(|claim| claim.delivery.endpoint == endpoint_id(endpoint)).count()
}

#[test]
fn endpoints_that_never_answer_hold_half_of_the_slots_at_most_and_a_quarter_once_they_are_known() {
    let mut world = World::new(Limits { in_flight: 40, ..Limits::default() });
    for endpoint in 0..60 {
        publish(&mut world, endpoint, 10);
    }
    while world.claim() {}
    assert_eq!(world.flying.len(), 20, "nobody has answered yet: half of the slots");
    assert!((0..60).all(|endpoint| of(&world, endpoint) <= 2), "and a few for each");

    // Others go on as if nothing were.
    publish(&mut world, 99, 1);
    world.schedule.proven.insert(endpoint_id(98));
    publish(&mut world, 98, 20);
    while world.claim() {}
    assert_eq!(
        (of(&world, 99), of(&world, 98)),
        (0, 8),
        "new ones wait, those that are known to answer do not"
    );

    // When they are overdue they are slow, without an answer, and get nothing more until they are below a quarter.
    world.now = world.now.saturating_add(SLOW);
    assert!(!world.claim());
    assert_eq!(world.schedule.slots.struggling, 28);
    for _ in 0..18 {
        let tarpit =
            world.flying.iter().position(|claim| claim.delivery.endpoint != endpoint_id(98)).unwrap();
        world.settle(tarpit, How::Again(60_000));
        world.done(0);
        let before = world.flying.len();
        while world.claim() {}
        let new = world.flying.iter().skip(before).filter(|claim| claim.delivery.endpoint != endpoint_id(99));
        // What is claimed now is new, or slow within the quarter.
        assert!(world.schedule.slots.struggling <= 28 && world.schedule.slots.new <= 20, "{}", new.count());
        assert!(world.schedule.slots.new + world.schedule.slots.struggling <= 28);
    }
}

#[test]
fn an_endpoint_that_has_answered_is_known_after_its_lane_is_gone() {
    let mut world = World::new(Limits { in_flight: 8, ..Limits::default() });
    publish(&mut world, 0, 1);
    make(&mut world, How::Final);
    assert_eq!(world.schedule.lanes(), 0);
    publish(&mut world, 0, 8);
    while world.claim() {}
    assert_eq!(world.flying.len(), 8);
}

#[test]
fn a_consumer_that_floods_many_endpoints_delays_another_by_one_turn() {
    let mut world = World::new(Limits { in_flight: 4, per_endpoint: 4, ..Limits::default() });
    for endpoint in 0..50 {
        for _ in 0..300 {
            let mut delivery = world.publish(endpoint + 100, 0);
            world.take(&delivery);
            delivery.consumer = ConsumerId::parse("flood").unwrap();
            world.put(delivery.clone());
            world.announce(delivery);
        }
    }
    for _ in 0..200 {
        make(&mut world, How::Final);
    }
    for _ in 0..100 {
        let [id] = publish(&mut world, 0, 1)[..] else { unreachable!() };
        let turns = (0..).find(|_| make(&mut world, How::Final) == Some(id)).unwrap();
        assert!(turns <= 2, "{turns} turns");
    }
    assert!(world.schedule.room.waiting <= Limits::default().waiting);
}

#[test]
fn an_open_breaker_lets_one_probe_through_and_touches_nothing_else() {
    let mut world = World::new(Limits::default());
    let ids = publish(&mut world, 0, 20);
    for _ in 0..3 {
        assert!(make(&mut world, How::Again(5)).is_some());
    }
    let rows = world.rows.clone();
    let condition = world.schedule.condition(endpoint_id(0), world.now);
    assert_eq!((condition.breaker, condition.failures), (BreakerState::Open, 3));
    world.now = world.now.saturating_add(Duration::from_millis(99));
    assert!(!world.claim());
    world.now = world.schedule.next_wake().unwrap();
    assert_eq!(world.schedule.condition(endpoint_id(0), world.now).breaker, BreakerState::HalfOpen);
    assert!(world.claim());
    assert!(!world.claim(), "one probe");
    assert_eq!(world.rows, rows, "nothing else was written");
    world.settle(0, How::Final);
    world.done(0);
    assert_eq!(world.schedule.condition(endpoint_id(0), world.now).breaker, BreakerState::Closed);
    while world.claim() {}
    assert_eq!(world.flying.len(), 8);
    assert_eq!(ids.len(), 20);
}

#[test]
fn a_restart_does_not_forget_an_open_breaker_and_a_resumption_does() {
    let mut world = World::new(Limits::default());
    publish(&mut world, 0, 5);
    for _ in 0..3 {
        make(&mut world, How::Again(0));
    }
    let before = world.schedule.condition(endpoint_id(0), world.now);
    world.restart();
    let after = world.schedule.condition(endpoint_id(0), world.now);
    assert_eq!((after.open_since, after.next_probe_at), (before.open_since, before.next_probe_at));
    assert!(after.next_probe_at.is_some());
    world.schedule.hold(endpoint_id(0), Hold::EndpointPaused, world.now);
    world.release(endpoint_id(0));
    assert_eq!(world.schedule.condition(endpoint_id(0), world.now), Default::default());
}

/// An endpoint whose breaker opens, which is about to be written; two deliveries more are in flight.
fn opening() -> World {
    let mut world = World::new(Limits { per_endpoint: 16, ..Limits::default() });
    world.schedule.proven.insert(endpoint_id(0));
    publish(&mut world, 0, 10);
    for _ in 0..5 {
        assert!(world.claim());
    }
    (0..3).for_each(|_| world.settle(0, How::Again(0)));
    assert_eq!(world.writes.len(), 1, "it opens");
    world
}

#[test]
fn writes_of_health_never_overtake_each_other() {
    let mut world = opening();
    world.settle(0, How::Final);
    assert_eq!(world.writes.len(), 1, "it closes, and that waits for the first write");
    world.write_health(0, true);
    assert!(world.kept.contains_key(&endpoint_id(0)));
    world.write_health(0, true);
    assert!(world.kept.is_empty() && world.writes.is_empty());
}

/// The directory forgets how an endpoint did when it is resumed, an attempt that is under way may write it anew.
#[test]
fn what_is_written_of_an_endpoint_that_is_just_resumed_does_not_stay() {
    for is_written_before_it_is_released in [false, true] {
        let mut world = opening();
        world.schedule.hold(endpoint_id(0), Hold::EndpointPaused, world.now);
        if is_written_before_it_is_released {
            world.write_health(0, true);
            let kept = world.kept.clone();
            world.release(endpoint_id(0));
            world.kept = kept;
        } else {
            world.release(endpoint_id(0));
            world.write_health(0, true);
        }
        assert!(world.kept.contains_key(&endpoint_id(0)));
        world.settle(0, How::Final);
        world.write_health(0, true);
        assert!(world.kept.is_empty() && world.writes.is_empty());
    }
}

#[test]
fn a_lane_of_a_paused_endpoint_claims_nothing_to_find_that_out() {
    let mut world = World::new(Limits::default());
    world.agree(0, Terms { status: Status::Paused, ..Terms::default() });
    publish(&mut world, 0, 3);
    assert!(!world.claim());
    assert_eq!(world.schedule.holds().count(), 1);
    world.release(endpoint_id(0));
    world.drain(5);
    assert!(world.live().is_empty());
}

#[test]
fn a_change_of_the_rate_counts_at_once() {
    let mut world = World::new(Limits::default());
    world.schedule.proven.insert(endpoint_id(0));
    let terms = |per_second, burst| Terms {
        rate: Some(RateLimit::new(per_second, Some(burst)).unwrap()),
        ..Terms::default()
    };
    world.agree(0, terms(1.0 / 60.0, 2));
    publish(&mut world, 0, 60);
    let mut made = || std::iter::from_fn(|| make(&mut world, How::Final)).count();
    assert_eq!(made(), 2);
    world.agree(0, terms(10.0, 2));
    world.now = world.now.saturating_add(Duration::from_secs(1));
    let limited = world.schedule.condition(endpoint_id(0), world.now).rate_limited_until;
    assert_eq!(limited, None);
    assert_eq!(std::iter::from_fn(|| make(&mut world, How::Final)).count(), 2);
    world.agree(0, Terms::default());
    assert_eq!(std::iter::from_fn(|| make(&mut world, How::Final)).count(), 56);
}

#[test]
fn what_was_accepted_before_a_start_comes_before_what_arrives_during_it() {
    let mut world = World::new(Limits::default());
    world.ascending = true;
    world.agree(0, fifo());
    let mut order = publish(&mut world, 0, 30);
    world.schedule = fresh(&world.limits, &world.configuration);
    order.extend(publish(&mut world, 0, 1));
    assert!(!world.claim(), "nobody has looked yet");
    world.step(Step::LookAtStore);
    world.step(Step::Discover);
    assert_eq!(in_order(&mut world), order);
}

#[test]
fn what_is_accepted_beside_each_other_is_made_in_the_order_of_the_ids() {
    let mut world = World::new(Limits::default());
    world.ascending = true;
    world.agree(0, fifo());
    let made: Vec<_> = (0..3).map(|_| world.publish(0, 0)).collect();
    let expected = |n: usize| Expected {
        id: made[n].id,
        endpoint: made[n].endpoint,
        consumer: made[n].consumer.clone(),
    };
    (0..3).for_each(|n| world.schedule.expect(&expected(n), world.now));
    for n in [2, 0] {
        world.announce(made[n].clone());
        world.schedule.dismiss(&expected(n), world.now);
    }
    assert_eq!(make(&mut world, How::Final), Some(made[0].id));
    assert!(!world.claim(), "the second may still come");
    world.take(&made[1]);
    world.schedule.dismiss(&expected(1), world.now);
    assert_eq!(make(&mut world, How::Final), Some(made[2].id), "it did not");
    assert_eq!(world.schedule.lanes(), 0);
}

/// Everything that is live, in the order in which it is made.
fn in_order(world: &mut World) -> Vec<DeliveryId> {
    let mut made = Vec::new();
    for _ in 0..1_000 {
        while let Some(read) = world.schedule.next_read(world.now) {
            world.reads.push((read, None));
        }
        while !world.reads.is_empty() {
            world.read(0, false);
        }
        made.extend(std::iter::from_fn(|| make(world, How::Final)));
    }
    made
}

#[test]
fn a_head_that_fails_blocks_those_behind_it_until_it_is_over() {
    let mut world = World::new(small());
    world.ascending = true;
    world.policy.failures = u32::MAX;
    world.agree(0, fifo());
    // Far more than memory holds, and another endpoint beside it.
    let order = publish(&mut world, 0, 100);
    assert_eq!(make(&mut world, How::Again(5_000)), Some(order[0]));
    publish(&mut world, 2, 1);
    assert!(make(&mut world, How::Final).is_some_and(|id| !order.contains(&id)));
    assert!(!world.claim());
    assert_eq!(world.schedule.next_wake(), Some(Timestamp::from_millis(6_000)));
    world.now = Timestamp::from_millis(6_000);
    assert_eq!(make(&mut world, How::Again(0)), Some(order[0]));
    assert_eq!(in_order(&mut world), order);
}

fn step() -> impl Strategy<Value = Step> {
    let which = || 0..4_usize;
    let how = prop_oneof![
        6 => Just(How::Final),
        2 => Just(How::Refused),
        3 => (0..400_i64).prop_map(How::Again),
        1 => (0..400_i64).prop_map(How::Rest),
        1 => Just(How::Held),
    ];
    prop_oneof![
        8 => Just(Step::Claim),
        6 => (which(), how).prop_map(|(which, how)| Step::Settle { which, how }),
        6 => which().prop_map(|which| Step::Done { which }),
        5 => Just(Step::BeginRead),
        9 => (which(), prop::bool::weighted(0.1)).prop_map(|(which, fails)| Step::Read { which, fails }),
        1 => Just(Step::Hold { endpoint: 0 }),
        2 => Just(Step::Release { endpoint: 0 }),
        1 => Just(Step::Restart),
        1 => (0..2_u8).prop_map(|order| Step::Agree {
            endpoint: 0,
            terms: if order == 0 { fifo() } else { Terms { concurrency: Some(2), ..fifo() } },
        }),
        1 => Just(Step::LookAtStore),
        1 => Just(Step::Discover),
        4 => (0..300_i64).prop_map(|millis| Step::Advance { millis }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever fails, is evicted, held, read again or restarted: what is over is over in the order of acceptance.
    #[test]
    fn strict_order_is_kept(first in 0..60_usize, steps in prop::collection::vec((step(), 0..3_usize), 1..250)) {
        let mut world = World::new(small());
        world.ascending = true;
        world.agree(0, fifo());
        publish(&mut world, 0, first);
        let mut gone = Vec::new();
        let mut live = Vec::new();
        for (step, more) in steps {
            world.step(step);
            publish(&mut world, 0, more / 2);
            let now: Vec<_> = live_ids(&world);
            gone.extend(live.iter().filter(|id| !now.contains(id)).copied());
            live = now;
        }
        world.drain(2_000);
        prop_assert!(live_ids(&world).is_empty());
        gone.extend(live);
        prop_assert!(gone.is_sorted(), "{gone:?}");
    }
}

fn live_ids(world: &World) -> Vec<DeliveryId> {
    let mut ids: Vec<_> = world.live().into_iter().collect();
    ids.sort();
    ids
}
