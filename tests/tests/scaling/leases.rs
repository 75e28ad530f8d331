//! Shards change hands: what is lost, what comes twice, how long it takes.

use waxseal_sender::store::Shard;
use waxseal_tests::simulation::constants::Constants;
use waxseal_tests::simulation::outcome::Outcome;
use waxseal_tests::simulation::scenario::{Fault, Rules, Scenario, Slots};
use waxseal_tests::simulation::world::run;
use waxseal_tests::simulation::{Micros, seconds};

/// Four small nodes that have something in flight all the time.
fn busy(faults: &[(f64, Fault)]) -> Scenario {
    let mut scenario = Scenario::calm(4, 400.0);
    scenario.publishing = seconds(30.0);
    scenario.faults = faults.iter().map(|(after, fault)| (seconds(*after), *fault)).collect();
    scenario
}

fn after(fault: Fault) -> Outcome {
    run(&busy(&[(3.0, fault)]), &Constants::default())
}

#[track_caller]
fn nothing_is_lost(outcome: &Outcome) {
    assert!(outcome.accepted > 10_000, "{outcome:?}");
    assert_eq!((outcome.missing, outcome.live), (0, 0));
    assert_eq!(outcome.shards.iter().sum::<usize>(), Shard::COUNT);
}

#[test]
fn a_calm_cluster_delivers_everything_once() {
    let outcome = run(&busy(&[]), &Constants::default());
    nothing_is_lost(&outcome);
    assert_eq!((outcome.duplicates, outcome.trespasses, outcome.taken_over.count()), (0, 0, 0));
    assert_eq!(outcome.posts, outcome.accepted);
    assert_eq!(outcome.shards, [64; 4]);
}

#[test]
fn after_a_kill_others_take_over_within_a_lease_and_a_turn() {
    let outcome = after(Fault::Kill(1));
    nothing_is_lost(&outcome);
    assert_eq!(outcome.taken_over.count(), 64);
    let Rules { lease, tend_every, .. } = Rules::default();
    let millis = |time: Micros| time as f64 / 1e3;
    assert!(outcome.taken_over.within(0.0) >= millis(lease - tend_every), "before the lease was over");
    assert!(outcome.taken_over.within(1.0) <= millis(lease + tend_every) + 100.0, "{outcome:?}");
    assert_eq!(outcome.shards.len(), 3);
}

#[test]
fn what_a_killed_node_had_accepted_and_not_told_is_found_by_asking() {
    for seed in 1..=30 {
        let mut scenario = busy(&[(1.0, Fault::Kill(1))]);
        (scenario.seed, scenario.rate, scenario.publishing) = (seed, 1_500.0, seconds(1.5));
        let outcome = run(&scenario, &Constants::default());
        assert_eq!((outcome.missing, outcome.live), (0, 0), "seed {seed}");
    }
}

#[test]
fn what_comes_twice_after_a_kill_was_in_flight() {
    let outcome = after(Fault::Kill(1));
    assert!(outcome.duplicates > 0, "nothing was in flight, so nothing was tried");
    assert!(outcome.duplicates <= outcome.exposed && outcome.exposed <= Slots::default().all, "{outcome:?}");
    assert_eq!(outcome.trespasses, 0);
}

#[test]
fn a_node_that_was_stopped_beyond_its_lease_makes_duplicates_of_what_was_in_flight_and_no_more() {
    let outcome = after(Fault::Stop(1, seconds(20.0)));
    nothing_is_lost(&outcome);
    assert!(outcome.duplicates <= outcome.exposed, "{outcome:?}");
    // Taken over by the others, and given back when it goes on.
    assert_eq!(outcome.taken_over.count(), 2 * 64);
    assert!(outcome.superseded > 0, "its settlements came too late, and nothing was fenced");
    assert_eq!(outcome.shards, [64; 4]);
}

#[test]
fn a_settlement_that_comes_too_late_changes_nothing_that_others_have_recorded() {
    let mut scenario = busy(&[(3.0, Fault::Stop(1, seconds(20.0)))]);
    (scenario.workload.refused, scenario.draining) = (0.5, 0);
    for seed in 1..=8 {
        scenario.seed = seed;
        let outcome = run(&scenario, &Constants::default());
        assert!(outcome.superseded > 0, "seed {seed}: {outcome:?}");
        assert_eq!(outcome.recorded_twice, 0, "seed {seed}");
    }
}

#[test]
fn without_the_trusted_time_a_stopped_node_posts_to_shards_of_others() {
    let mut scenario = busy(&[(3.0, Fault::Stop(1, seconds(20.0)))]);
    // More than four cores can do, so that tokens wait for one when it is stopped.
    (scenario.node_cores, scenario.rate) = (1, 36_000.0);
    scenario.publishing = seconds(4.0);
    let obeyed = run(&scenario, &Constants::default());
    scenario.rules.trusted_for = seconds(3_600.0);
    let ignored = run(&scenario, &Constants::default());
    assert!(obeyed.trespasses <= 1, "more than what lay between the last look and the POST: {obeyed:?}");
    assert!(ignored.trespasses > obeyed.trespasses + 5, "{ignored:?}");
    assert!(ignored.duplicates > obeyed.duplicates, "{ignored:?}");
}

#[test]
fn a_node_that_was_stopped_for_less_than_it_trusts_its_lease_goes_on() {
    let outcome = after(Fault::Stop(1, seconds(5.0)));
    nothing_is_lost(&outcome);
    assert_eq!((outcome.duplicates, outcome.superseded, outcome.taken_over.count()), (0, 0, 0));
}

#[test]
fn a_node_that_is_cut_off_from_the_store_ends_by_itself_before_others_begin() {
    let outcome = after(Fault::CutOff(1, seconds(20.0)));
    nothing_is_lost(&outcome);
    assert_eq!(outcome.trespasses, 0);
    assert!(outcome.duplicates <= Slots::default().all, "{outcome:?}");
    assert_eq!(outcome.shards, [64; 4]);
}

#[test]
fn a_node_that_joins_gets_its_share_and_nothing_comes_twice() {
    let outcome = after(Fault::Join);
    nothing_is_lost(&outcome);
    assert_eq!((outcome.duplicates, outcome.superseded, outcome.trespasses), (0, 0, 0));
    // 256 by 5, rounded up, is 52: the one who looks last gets what is left.
    let mut shards = outcome.shards.clone();
    shards.sort_unstable();
    assert_eq!(shards, [48, 52, 52, 52, 52]);
    // Nobody works on a shard from the moment in which it is given back until the new owner looks again.
    assert!(outcome.taken_over.within(1.0) <= 2.0 * 3_000.0 + 500.0, "{outcome:?}");
}

#[test]
fn a_node_that_leaves_gives_everything_back_and_nothing_comes_twice() {
    let outcome = after(Fault::Leave(1));
    nothing_is_lost(&outcome);
    assert_eq!((outcome.duplicates, outcome.trespasses), (0, 0));
    assert_eq!(outcome.shards.len(), 3);
    assert!(outcome.taken_over.within(1.0) < 2.0 * 3_000.0 + 500.0, "{outcome:?}");
}

#[test]
fn kills_stops_and_joins_together_lose_nothing() {
    for seed in 1..=5 {
        let mut scenario = busy(&[
            (1.0, Fault::Kill(0)),
            (2.5, Fault::Stop(1, seconds(17.0))),
            (4.0, Fault::Join),
            (9.0, Fault::CutOff(2, seconds(13.0))),
            (20.0, Fault::Leave(3)),
            (22.0, Fault::Join),
        ]);
        scenario.seed = seed;
        scenario.workload.refused = 0.02;
        scenario.draining = seconds(3_000.0); // some are refused three times
        let outcome = run(&scenario, &Constants::default());
        nothing_is_lost(&outcome);
        assert!(outcome.duplicates <= outcome.exposed + Slots::default().all, "seed {seed}: {outcome:?}");
    }
}
