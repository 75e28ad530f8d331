//! What comes through: latency under load, slow neighbours, one giant endpoint, batches.

use waxseal_tests::simulation::constants::Constants;
use waxseal_tests::simulation::outcome::Outcome;
use waxseal_tests::simulation::scenario::{Scenario, Slots};
use waxseal_tests::simulation::seconds;
use waxseal_tests::simulation::world::run;

fn short(nodes: usize, rate: f64) -> Scenario {
    let mut scenario = Scenario::calm(nodes, rate);
    scenario.publishing = seconds(8.0);
    scenario.node_cores = 1;
    scenario
}

fn at(rate: f64) -> Outcome {
    run(&short(2, rate), &Constants::default())
}

#[test]
fn the_same_seed_gives_the_same_figures_and_another_one_does_not() {
    let mut scenario = short(2, 500.0);
    let figures = |scenario: &Scenario| format!("{:?}", run(scenario, &Constants::default()));
    let first = figures(&scenario);
    assert_eq!(figures(&scenario), first);
    scenario.seed += 1;
    assert_ne!(figures(&scenario), first);
}

#[test]
fn cores_are_used_as_much_as_the_measured_cost_says() {
    let outcome = at(4_000.0);
    let used: f64 = outcome.node_utilisation.iter().sum::<f64>() / 2.0;
    let expected = 4_000.0 * Constants::default().sender_cpu(false) / 1e6 / 2.0;
    assert!((used / expected - 1.0).abs() < 0.05, "{used} instead of {expected}");
}

#[test]
fn latency_grows_with_load_and_without_bound_past_what_the_cores_can_do() {
    let [low, high, beyond] = [1_000.0, 7_000.0, 10_000.0].map(|rate| at(rate).latency.within(0.99));
    assert!(low < high && high < 0.5 * beyond, "{low} {high} {beyond}");
    assert!(low < 150.0, "{low}");
}

#[test]
fn dead_endpoints_do_not_hold_up_the_others_because_their_part_of_the_slots_is_bounded() {
    let mut scenario = short(2, 600.0);
    let alone = run(&scenario, &Constants::default());
    scenario.workload.dead = 400; // a fifth of all: 60 POSTs a second to each node that take 15 s each
    let beside = run(&scenario, &Constants::default());
    scenario.slots.struggling = scenario.slots.all;
    let unbounded = run(&scenario, &Constants::default());
    let p99 = |outcome: &Outcome| outcome.latency.within(0.99);
    assert!(p99(&beside) < 1.2 * p99(&alone), "{} {}", p99(&beside), p99(&alone));
    assert!(p99(&unbounded) > 5.0 * p99(&alone), "{} {}", p99(&unbounded), p99(&alone));
    assert_eq!(beside.missing, 0);
}

#[test]
fn a_giant_endpoint_gets_its_concurrency_over_its_round_trip_and_holds_up_nobody() {
    let mut scenario = short(3, 1_500.0);
    scenario.slots = Slots { endpoint: 16, ..Slots::of(256) };
    scenario.workload.giant = 0.4;
    scenario.draining = 0;
    let outcome = run(&scenario, &Constants::default());
    // The slot is held for the round trip and the commit after it.
    let most = 16.0 / 0.050;
    assert!(outcome.giant_rate < most && outcome.giant_rate > 0.85 * most, "{}", outcome.giant_rate);
    assert!(outcome.live > 500, "what it cannot take waits in the store: {}", outcome.live);
    assert!(outcome.latency.within(0.99) < 150.0, "{}", outcome.latency.within(0.99));
}

#[test]
fn batches_grow_with_the_load_of_a_node_and_shrink_with_the_number_of_nodes() {
    let cost = |nodes, rate| {
        let outcome = run(&short(nodes, rate), &Constants::default());
        (outcome.batch, outcome.database_cpu)
    };
    let ((idle, dear), (busy, cheap), (spread, middle)) =
        (cost(2, 200.0), cost(2, 6_000.0), cost(16, 6_000.0));
    assert!(idle < 1.2 && busy > 1.5 && spread < busy, "{idle} {busy} {spread}");
    assert!(cheap < middle && middle <= dear * 1.02, "{dear} {cheap} {middle}");
}

#[test]
fn without_hints_it_takes_up_to_a_poll() {
    let late = Constants { notify_every_us: 1e6, ..Constants::default() };
    let scenario = short(4, 500.0);
    let (hinted, polled) = (run(&scenario, &Constants::default()), run(&scenario, &late));
    assert!(polled.latency.within(0.5) > hinted.latency.within(0.5) + 200.0);
}
