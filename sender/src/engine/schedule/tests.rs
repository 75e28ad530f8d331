//! The schedule against an oracle: a store of rows, random histories, and what must hold after every step.

mod isolation;
mod world;

use std::collections::HashMap;

use proptest::prelude::*;

use self::world::{ENDPOINTS, How, ShardStep, Step, World, endpoint_id, small};
use super::super::pace::Terms;
use super::*;
use crate::engine::hold::Hold;
use crate::id::ConsumerId;
use crate::model::pace::{Order, RateLimit};

fn how() -> impl Strategy<Value = How> {
    prop_oneof![
        4 => Just(How::Final),
        1 => Just(How::Refused),
        1 => (1..20_u64).prop_map(How::Slow),
        3 => (0..400_i64).prop_map(How::Again),
        1 => (0..900_i64).prop_map(How::Rest),
        1 => Just(How::Held),
        1 => Just(How::Left),
    ]
}

fn terms() -> impl Strategy<Value = Terms> {
    let rate = (prop_oneof![0.5..20.0, 20.0..1_000.0], 1..5_u64);
    let rate = rate.prop_map(|(per_second, burst)| RateLimit::new(per_second, Some(burst)).unwrap());
    let order = prop_oneof![Just(Order::Any), Just(Order::Fifo)];
    (prop::option::of(rate), prop::option::of(1..5_usize), order)
        .prop_map(|(rate, concurrency, order)| Terms { rate, concurrency, order, ..Terms::default() })
}

fn shard_step() -> impl Strategy<Value = ShardStep> {
    let endpoint = || prop_oneof![3 => Just(0), 2 => 0..ENDPOINTS];
    let which = || 0..8_usize;
    let again = prop_oneof![Just(None), (0..400_i64).prop_map(Some)];
    prop_oneof![
        3 => endpoint().prop_map(|endpoint| ShardStep::Lose { endpoint }),
        5 => endpoint().prop_map(|endpoint| ShardStep::Gain { endpoint }),
        2 => endpoint().prop_map(|endpoint| ShardStep::Drain { endpoint }),
        1 => Just(ShardStep::TrustEnds),
        3 => Just(ShardStep::TrustReturns),
        4 => (endpoint(), 0..300_i64).prop_map(|(endpoint, delay)| ShardStep::Publish { endpoint, delay }),
        4 => which().prop_map(|which| ShardStep::Notice { which }),
        4 => (endpoint(), which(), again).prop_map(|(endpoint, which, again)| ShardStep::Settle { endpoint, which, again }),
        2 => (endpoint(), which()).prop_map(|(endpoint, which)| ShardStep::Withdraw { endpoint, which }),
        2 => endpoint().prop_map(|endpoint| ShardStep::HearOfIt { endpoint }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let endpoint = || prop_oneof![3 => Just(0), 2 => 0..ENDPOINTS];
    let which = || 0..8_usize;
    prop_oneof![
        8 => (endpoint(), prop_oneof![5 => Just(0), 1 => 0..300_i64]).prop_map(|(endpoint, delay)| Step::Publish { endpoint, delay }),
        7 => which().prop_map(|which| Step::Announce { which }),
        1 => which().prop_map(|which| Step::LoseAnnouncement { which }),
        8 => Just(Step::Claim),
        6 => (which(), how()).prop_map(|(which, how)| Step::Settle { which, how }),
        6 => which().prop_map(|which| Step::Done { which }),
        4 => Just(Step::BeginRead),
        7 => (which(), prop::bool::weighted(0.1)).prop_map(|(which, fails)| Step::Read { which, fails }),
        1 => endpoint().prop_map(|endpoint| Step::Hold { endpoint }),
        2 => endpoint().prop_map(|endpoint| Step::Release { endpoint }),
        2 => (endpoint(), which()).prop_map(|(endpoint, which)| Step::Withdraw { endpoint, which }),
        1 => Just(Step::LookAtStore),
        1 => Just(Step::Discover),
        1 => Just(Step::Doubtful),
        1 => Just(Step::NewEpoch),
        1 => Just(Step::Restart),
        4 => (0..200_i64).prop_map(|millis| Step::Advance { millis }),
        1 => (0..8_000_i64).prop_map(|millis| Step::Advance { millis }),
        2 => (endpoint(), terms()).prop_map(|(endpoint, terms)| Step::Agree { endpoint, terms }),
        3 => (which(), prop::bool::weighted(0.8)).prop_map(|(which, done)| Step::WriteHealth { which, done }),
        6 => shard_step().prop_map(Step::Shards),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    /// No history forgets a delivery, makes one twice at once or breaks a limit; the checks are in the world's steps.
    #[test]
    fn nothing_is_forgotten_or_made_twice(steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new(small());
        for step in steps {
            world.step(step);
        }
        world.everything_is_ours();
        // What was announced needs no discovery.
        for delivery in std::mem::take(&mut world.announcements) {
            world.announce(delivery);
        }
        world.drain(600);
        let forgotten: Vec<_> = world.live().difference(&world.unannounced).copied().collect();
        prop_assert!(forgotten.is_empty(), "announced and forgotten: {forgotten:?}");
        // What was not is found by it.
        for _ in 0..20 {
            world.step(Step::LookAtStore);
            world.step(Step::Discover);
            world.drain(20);
        }
        prop_assert!(world.live().is_empty(), "live and never found");
        // One that failed last and lost what was live to somebody else is remembered, until it is seen to work.
        for endpoint in (0..ENDPOINTS).filter(|endpoint| world.kept.contains_key(&endpoint_id(*endpoint))).collect::<Vec<_>>() {
            let delivery = world.publish(endpoint, 0);
            world.announce(delivery);
        }
        world.drain(20);
        world.now = world.now.saturating_add(Duration::from_secs(60));
        prop_assert!(world.schedule.next(world.now).is_none());
        prop_assert_eq!(world.schedule.lanes(), 0);
        prop_assert!(world.kept.is_empty(), "what works again is no longer kept as failing");
        prop_assert_eq!((world.schedule.room.waiting, world.schedule.room.payload_bytes), (0, 0));
    }

    /// Among consumers that all have work, none has two turns more than another, whatever their numbers are.
    #[test]
    fn turns_are_fair(backlogs in prop::collection::vec(prop::collection::vec(30..90_usize, 1..5), 2..5)) {
        let limits = Limits { in_flight: 3, per_endpoint: 3, lane: 100, ..Limits::default() };
        let mut world = World::new(limits);
        let mut consumers = HashMap::new();
        for (consumer, endpoints) in backlogs.iter().enumerate() {
            for (n, backlog) in endpoints.iter().enumerate() {
                for _ in 0..*backlog {
                    let mut delivery = world.publish(consumer * 10 + n, 0);
                    world.take(&delivery);
                    delivery.consumer = ConsumerId::parse(&format!("fair{consumer}")).unwrap();
                    world.put(delivery.clone());
                    world.announce(delivery);
                }
            }
            consumers.insert(ConsumerId::parse(&format!("fair{consumer}")).unwrap(), 0_usize);
        }
        for _ in 0..consumers.len() * 30 {
            prop_assert!(world.claim());
            *consumers.get_mut(&world.flying[0].delivery.consumer).unwrap() += 1;
            world.settle(0, How::Final);
            world.done(0);
        }
        let (least, most) = (consumers.values().min().unwrap(), consumers.values().max().unwrap());
        prop_assert!(most - least <= 1, "{consumers:?}");
    }
}

#[test]
fn a_long_backlog_costs_one_lane_and_delays_nobody() {
    let mut world = World::new(Limits::default());
    for _ in 0..10_000 {
        let delivery = world.publish(0, 0);
        world.announce(delivery);
    }
    assert_eq!(world.schedule.room.waiting, world.limits.lane);
    for n in 0..2 {
        assert!(world.claim(), "claim {n} of an endpoint that nobody knows yet");
    }
    assert!(!world.claim(), "not more before its first answer");
    world.settle(0, How::Final);
    world.done(0);
    for n in 1..8 {
        assert!(world.claim(), "claim {n} of an endpoint that answers");
    }
    assert!(!world.claim(), "the endpoint's own limit");
    let healthy = world.publish(2, 0);
    world.announce(healthy.clone());
    assert!(world.claim());
    assert_eq!(world.flying[8].delivery.id, healthy.id);
    world.drain(2_000);
    assert!(world.live().is_empty());
}

#[test]
fn what_is_due_first_is_made_first_though_it_is_read_later() {
    let mut world = World::new(small());
    let order: Vec<_> = (0..40).map(|n| world.publish(0, n).id).collect();
    world.step(Step::LookAtStore);
    world.step(Step::Discover);
    world.now = Timestamp::from_millis(2_000);
    let mut made = Vec::new();
    while made.len() < order.len() {
        world.reads.extend(world.schedule.next_read(world.now).map(|read| (read, None)));
        (0..2).for_each(|_| world.read(0, false));
        while world.claim() {
            made.push(world.flying[0].delivery.id);
            world.settle(0, How::Final);
            world.done(0);
        }
    }
    assert_eq!(made, order);
}

#[test]
fn discovery_finds_what_a_busy_lane_has_missed() {
    let mut world = World::new(Limits { per_endpoint: 8, ..small() });
    let missed = world.publish(0, 0);
    world.now = Timestamp::from_millis(1_001);
    let announced = world.publish(0, 0);
    world.announce(announced);
    assert!(world.claim());
    world.step(Step::LookAtStore);
    world.step(Step::Discover);
    world.step(Step::BeginRead);
    (0..2).for_each(|_| world.read(0, false));
    assert!(world.claim());
    assert_eq!(world.flying[1].delivery.id, missed.id);
}

#[test]
fn the_end_of_what_was_in_flight_when_its_shard_was_lost_is_not_believed_after_it_was_gained_again() {
    let mut world = World::new(small());
    let delivery = world.publish(0, 0);
    world.announce(delivery);
    assert!(world.claim());
    world.settle(0, How::Again(0));
    world.step(Step::Shards(ShardStep::Lose { endpoint: 0 }));
    world.step(Step::Shards(ShardStep::Settle { endpoint: 0, which: 0, again: Some(0) }));
    world.step(Step::Shards(ShardStep::Gain { endpoint: 0 }));
    world.done(0);
    world.step(Step::LookAtStore);
    world.step(Step::Discover);
    world.drain(50);
    assert!(world.live().is_empty());
}

#[test]
fn dead_endpoints_leave_three_quarters_of_the_slots() {
    let mut world = World::new(Limits { in_flight: 40, ..Limits::default() });
    world.policy.failures = u32::MAX;
    for endpoint in 0..30 {
        for _ in 0..10 {
            let delivery = world.publish(endpoint, 0);
            world.announce(delivery);
        }
    }
    // At first nobody knows; after one failure each they are known.
    for _ in 0..30 {
        while world.claim() {}
        while !world.flying.is_empty() {
            world.settle(0, How::Again(0));
            world.done(0);
        }
    }
    while world.claim() {}
    assert_eq!(world.flying.len(), 10);
    let healthy = world.publish(99, 0);
    world.announce(healthy.clone());
    assert!(world.claim());
    assert_eq!(world.flying.last().unwrap().delivery.id, healthy.id);
}

#[test]
fn a_hold_that_was_found_before_the_change_does_not_park_after_it() {
    let mut world = World::new(small());
    let delivery = world.publish(0, 0);
    world.announce(delivery);
    assert!(world.claim());
    world.schedule.new_epoch();
    world.settle(0, How::Held);
    world.done(0);
    assert_eq!(world.schedule.holds().count(), 0);
    assert!(world.claim(), "it is tried again at once");
    world.settle(0, How::Held);
    world.done(0);
    assert_eq!(world.schedule.holds().count(), 1);
    assert!(!world.claim());
}

#[test]
fn a_held_endpoint_is_looked_at_again_from_time_to_time() {
    let mut world = World::new(small());
    let delivery = world.publish(0, 0);
    world.announce(delivery);
    world.schedule.hold(endpoint_id(0), Hold::NoUsableKey, world.now);
    assert!(world.schedule.doubtful(world.now).is_empty());
    for _ in 0..2 {
        world.now = world.schedule.next_wake().unwrap();
        assert_eq!(world.schedule.doubtful(world.now), [endpoint_id(0)]);
        assert!(world.schedule.doubtful(world.now).is_empty());
    }
    world.schedule.release(endpoint_id(0), world.now);
    world.drain(3);
    assert!(world.live().is_empty());
}

#[test]
fn many_lanes_together_stay_within_what_memory_may_hold() {
    let mut world = World::new(Limits { waiting: 40, lane: 64, ..small() });
    for endpoint in 0..30 {
        for _ in 0..64 {
            let delivery = world.publish(endpoint, 0);
            world.announce(delivery);
        }
    }
    assert!(world.schedule.room.waiting <= 40 + 30 * world.limits.lane_when_full());
    world.drain(1_000);
    assert!(world.live().is_empty());
}
