//! What is computed: tokens, constants, balance, capacity.

use serde_json::json;
use waxseal_envelope::{Audience, Data, Event, EventId, EventType, Issuer, seal};
use waxseal_keys::{
    EncryptionKey, EncryptionKeyType, SignatureAlgorithm, Timestamp, generate_decryption_key,
    generate_signing_key,
};
use waxseal_tests::simulation::balance::{balance, useful_nodes};
use waxseal_tests::simulation::capacity::Load;
use waxseal_tests::simulation::constants::{Constants, TABLE};
use waxseal_tests::simulation::scenario::Scenario;
use waxseal_tests::simulation::wire::{self, Names};
use waxseal_tests::simulation::workload::Workload;
use waxseal_tests::simulation::world::run;

#[test]
fn tokens_are_as_long_as_the_real_ones() {
    let signing = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
    let decryption = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    let recipient = EncryptionKey::from_jwk(&decryption.public_jwk()).unwrap();
    let names = Names::default();
    let now = Timestamp::from_seconds(1_795_293_600);
    for length in [2, 3, 4, 5, 1_024, 16_384] {
        let event = Event {
            issuer: Issuer::parse(names.issuer).unwrap(),
            audience: Audience::parse(names.audience).unwrap(),
            id: EventId::parse(names.event).unwrap(),
            event_type: EventType::parse(names.event_type).unwrap(),
            occurred_at: Some(now),
            txn: None,
            data: Data::json(format!("\"{}\"", "x".repeat(length - 2)).as_bytes()).unwrap(),
            redelivery_of: None,
        };
        let real = |recipient| seal(&event, &signing, recipient, now).unwrap().len();
        assert_eq!(wire::signed(length, &names), real(None), "{length} bytes");
        assert_eq!(wire::sealed(length, &names), real(Some(&recipient)), "{length} bytes, sealed");
    }
}

#[test]
fn every_constant_says_where_it_comes_from() {
    let values = serde_json::to_value(Constants::default()).unwrap();
    assert_eq!(values.as_object().unwrap().len(), TABLE.len());
    for constant in TABLE {
        assert_eq!(values[constant.name], json!(constant.value), "{} stands twice", constant.name);
        assert!(constant.source.len() > 10, "{}", constant.name);
    }
}

#[test]
fn a_file_of_constants_replaces_what_it_names_and_nothing_else() {
    let constants = Constants::default();
    let changed = constants.with(&json!({ "constants": { "pg_flush_us": 90 } })).unwrap();
    assert_eq!(changed, Constants { pg_flush_us: 90.0, ..constants.clone() });
    for (file, named) in [
        (json!({ "constants": { "pg_flush": 90 } }), "pg_flush"),
        (json!({ "constants": { "pg_flush_us": "fast" } }), "pg_flush_us"),
        (json!({ "constants": { "pg_flush_us": -1 } }), "pg_flush_us"),
        (json!({ "constants": [] }), "constants"),
        (json!({ "pg_flush_us": 90 }), "constants"),
    ] {
        let error = constants.with(&file).unwrap_err().to_string();
        assert!(error.contains(named), "{file}: {error}");
    }
}

#[test]
fn what_the_benchmark_writes_is_understood() {
    let case = |protection, consumers, sender| {
        json!({ "case": { "protection": protection, "consumers": consumers, "payload": 1_024, "fan_out": 1, "backlog": 0 },
            "per_second": 2_000.0, "sender": sender, "limit": 150.0, "ratio": 1.5, "receiver": 50.0, "memory": 1 })
    };
    let cases = [case("signed", 1_000, 999.0), case("signed", 1, 210.5), case("sealed", 1, 330.5)];
    let constants =
        Constants::default().with(&json!({ "parts": {}, "cases": cases, "latency": null })).unwrap();
    assert_eq!((constants.sender_cpu_signed_us, constants.sender_cpu_sealed_us), (210.5, 330.5));
    let mut shared = case("signed", 1, 190.25);
    shared["case"]["store"] = json!("postgres");
    let cases = [case("signed", 1, 210.5), shared];
    let constants = Constants::default().with(&json!({ "cases": cases })).unwrap();
    assert_eq!(constants.sender_cpu_signed_us, 190.25, "several nodes share a database");
}

#[test]
fn equal_endpoints_fall_evenly_and_unequal_ones_do_not() {
    let equal = Workload { consumers: 100_000, ..Workload::default() };
    let unequal = Workload { skew: 1.0, ..equal };
    let of = |workload: &Workload, nodes| balance(workload, nodes, 11, 1);
    assert!(of(&equal, 3).nodes < 1.05);
    assert!(of(&equal, 256).nodes > of(&equal, 3).nodes);
    assert!(of(&unequal, 256).nodes > 5.0 * of(&equal, 256).nodes);
    // Ten endpoints of each consumer divide the largest one.
    let divided = Workload { endpoints_each: 10, consumers: 10_000, ..unequal };
    assert!(of(&divided, 256).nodes < 0.5 * of(&unequal, 256).nodes);
}

#[test]
fn shares_of_whole_shards_leave_nodes_idle_where_their_number_does_not_divide() {
    let equal = Workload { consumers: 100_000, ..Workload::default() };
    for (nodes, idle) in [(3, 0), (10, 0), (43, 0), (50, 7), (128, 0), (200, 72), (256, 0)] {
        assert_eq!(balance(&equal, nodes, 3, 1).idle, idle, "{nodes} nodes");
        assert_eq!(useful_nodes(nodes), nodes - idle, "{nodes} nodes");
    }
}

#[test]
fn the_computed_cost_of_the_database_is_that_of_the_simulation() {
    let constants = Constants { node_cores: 4.0, ..Constants::default() };
    for rate in [1_000.0, 8_000.0, 20_000.0] {
        let load = Load::of(rate, &constants);
        let needs = load.needs(&constants);
        let mut scenario = Scenario::calm(needs.nodes as usize, rate);
        scenario.publishing = 3_000_000;
        let simulated = run(&scenario, &constants).database_cpu;
        let computed = (needs.commits / rate) * computed_transaction(needs.batch, &constants);
        let ratio = computed / simulated;
        assert!((0.75..1.33).contains(&ratio), "{rate}: {computed} us computed, {simulated} us simulated");
    }
}

fn computed_transaction(batch: f64, constants: &Constants) -> f64 {
    (1.0 - 0.5_f64.powf(batch)) * (constants.pg_accept_transaction_us + constants.pg_settle_transaction_us)
        + batch / 2.0 * (constants.pg_accept_row_us + constants.pg_settle_row_us)
}

#[test]
fn a_limit_is_met_at_the_rate_at_which_it_is_said_to_be() {
    let constants = Constants::default();
    let load = Load::of(100_000.0, &constants);
    for limit in load.needs(&constants).limits {
        let Some(rate) = load.met_at(limit.name, &constants) else { continue };
        let used = |rate: f64| {
            let at = Load { rate, endpoints: rate, ..load }.needs(&constants).limits;
            at.into_iter().find(|other| other.name == limit.name).unwrap().used
        };
        assert!(used(rate * 1.3) >= 1.0 && used(rate * 0.7) < 1.0, "{} at {rate}", limit.name);
    }
}
