//! What comes out of runs of the simulation.

use waxseal_tests::simulation::balance::balance;
use waxseal_tests::simulation::capacity::Load;
use waxseal_tests::simulation::constants::Constants;
use waxseal_tests::simulation::outcome::Outcome;
use waxseal_tests::simulation::scenario::{Fault, Scenario, Slots};
use waxseal_tests::simulation::seconds;
use waxseal_tests::simulation::workload::Workload;
use waxseal_tests::simulation::world::run;

use crate::Given;
use crate::table::{Kind, Table, number};

type Progress<'a> = &'a dyn Fn(&str);

pub(crate) fn balances(given: &Given, progress: Progress<'_>) -> Table {
    let head = [
        "nodes",
        "idle",
        "shards of equal endpoints",
        "100,000 equal endpoints",
        "shards of unequal consumers",
        "10,000 consumers, the n-th gets 1/n of the first",
        "shards of the same, ten endpoints each",
        "the same, ten endpoints each",
    ];
    let title = "Busiest over average, of shards and of nodes";
    let mut table = Table::new(Kind::Simulated, title, &head);
    let equal = Workload { consumers: 100_000, ..Workload::default() };
    let unequal = Workload { consumers: 10_000, skew: 1.0, ..Workload::default() };
    let divided = Workload { endpoints_each: 10, ..unequal };
    for nodes in [3, 10, 43, 50, 86, 128, 200, 256] {
        progress(&format!("balance of {nodes} nodes"));
        let all = [equal, unequal, divided].map(|workload| balance(&workload, nodes, 25, given.seed));
        let figures = all.iter().flat_map(|balance| [balance.shards, balance.nodes]).map(number);
        table.row([number(nodes as f64), number(all[0].idle as f64)].into_iter().chain(figures));
    }
    table
}

pub(crate) fn leases(given: &Given, progress: Progress<'_>) -> Table {
    let head = [
        "nodes",
        "what happens",
        "shards that change hands",
        "without an owner, p50 s",
        "p99 s",
        "longest s",
        "in flight then",
        "came twice",
        "lost",
    ];
    let mut table = Table::new(Kind::Simulated, "How shards change hands", &head);
    let faults = [
        ("kill -9", Fault::Kill(1)),
        ("stopped for 20 s, then continued", Fault::Stop(1, seconds(20.0))),
        ("cut off from the database for 20 s", Fault::CutOff(1, seconds(20.0))),
        ("one joins", Fault::Join),
        ("one leaves", Fault::Leave(1)),
    ];
    for nodes in [3, 10, 50, 256] {
        for (name, fault) in &faults {
            progress(&format!("{nodes} nodes, {name}"));
            let mut scenario = load(given, nodes, 1_000.0);
            (scenario.publishing, scenario.faults) = (seconds(20.0), vec![(seconds(2.0), *fault)]);
            let outcome = run(&scenario, &given.constants);
            let times = [0.5, 0.99, 1.0].map(|share| outcome.taken_over.within(share) / 1e3);
            let times = times.map(|time| if time.is_nan() { "-".to_owned() } else { number(time) });
            let counts = [outcome.exposed, outcome.duplicates, outcome.missing];
            let cells = [number(nodes as f64), (*name).to_owned(), outcome.taken_over.count().to_string()];
            table.row(cells.into_iter().chain(times).chain(counts.map(|count| number(count as f64))));
        }
    }
    table
}

pub(crate) fn latency(given: &Given, progress: Progress<'_>) -> Table {
    let head = ["slots of a node", "deliveries a second", "cores busy, %", "p50 ms", "p99 ms", "p99.9 ms"];
    let title = "Publish to arrival: 4 nodes of 4 cores, equal endpoints 25 ms away";
    let mut table = Table::new(Kind::Simulated, title, &head);
    let most = 16.0 * 1e6 / given.constants.sender_cpu(false);
    let mut cases: Vec<_> = [0.1, 0.3, 0.5, 0.7, 0.9, 0.95, 1.05].map(|share| (2_048, share)).into();
    cases.extend([(Slots::default().all, 0.3), (Slots::default().all, 0.5)]);
    for (slots, share) in cases {
        progress(&format!("latency, {:.0} % busy", share * 100.0));
        let mut scenario = load(given, 4, (share * most).round());
        scenario.workload.consumers = 20_000;
        scenario.slots = Slots::of(slots);
        scenario.draining = 0;
        let outcome = run(&scenario, &given.constants);
        let busy = outcome.node_utilisation.iter().sum::<f64>() / outcome.node_utilisation.len() as f64;
        let times = [0.5, 0.99, 0.999].map(|share| number(outcome.latency.within(share)));
        let cells = [number(slots as f64), number(scenario.rate), number(100.0 * busy)];
        table.row(cells.into_iter().chain(times));
    }
    table
}

pub(crate) fn neighbours(given: &Given, progress: Progress<'_>) -> Table {
    let head = [
        "4 nodes, 2,000 deliveries a second",
        "p50 ms",
        "p99 ms",
        "left in the store",
        "busiest node over average",
    ];
    let title = "What the others notice of bad neighbours";
    let mut table = Table::new(Kind::Simulated, title, &head);
    let calm = load(given, 4, 2_000.0);
    let dead = |struggling| {
        let mut scenario = calm.clone();
        scenario.workload.dead = 400;
        scenario.slots.struggling = struggling;
        scenario
    };
    let mut giant = calm.clone();
    giant.workload.giant = 0.5;
    let mut skewed = calm.clone();
    (skewed.workload.consumers, skewed.workload.skew) = (10_000, 1.0);
    let mut refused = calm.clone();
    refused.workload.refused = 0.05;
    let slots = calm.slots;
    let cases = [
        ("nothing wrong", calm.clone()),
        ("a fifth of the endpoints never answers", dead(slots.struggling)),
        ("the same, if they could have all slots", dead(slots.all)),
        ("one endpoint gets half of everything", giant),
        ("consumers unequal, the n-th gets 1/n", skewed),
        ("one POST in twenty refused", refused),
    ];
    for (name, mut scenario) in cases {
        progress(name);
        scenario.publishing = seconds(2.5 * given.seconds);
        scenario.draining = 0;
        let outcome = run(&scenario, &given.constants);
        let figures = [outcome.latency.within(0.5), outcome.latency.within(0.99), outcome.live as f64];
        table.row(
            [name.to_owned()].into_iter().chain(figures.map(number)).chain([number(outcome.imbalance())]),
        );
    }
    table
}

pub(crate) fn giant(given: &Given, progress: Progress<'_>) -> Table {
    let head = ["concurrency", "round trip ms", "arrivals a second", "concurrency over round trip"];
    let title = "One endpoint that is offered 4,000 a second";
    let mut table = Table::new(Kind::Simulated, title, &head);
    for (concurrency, round_trip) in [(1, 50), (16, 20), (16, 50), (16, 200), (64, 50), (64, 200)] {
        progress(&format!("a giant endpoint, {concurrency} at once"));
        let mut scenario = load(given, 3, 5_000.0);
        (scenario.slots.endpoint, scenario.workload.giant) = (concurrency, 0.8);
        scenario.workload.round_trip = round_trip * 1_000;
        scenario.draining = 0;
        let outcome = run(&scenario, &given.constants);
        let most = concurrency as f64 * 1e3 / round_trip as f64;
        table.row([concurrency as f64, round_trip as f64, outcome.giant_rate, most].map(number));
    }
    table
}

pub(crate) fn batches(given: &Given, progress: Progress<'_>) -> Table {
    let head = [
        "nodes",
        "writers of each",
        "deliveries a second",
        "commands in a transaction",
        "transactions in a flush",
        "database CPU us a delivery",
        "its 16 cores busy, %",
        "p50 ms",
    ];
    let mut table = Table::new(Kind::Simulated, "What the nodes' writers do to the database", &head);
    let writers = given.constants.pg_writers;
    for (nodes, writers, rate) in [
        (3, writers, 1_000.0),
        (3, writers, 10_000.0),
        (4, writers, 40_000.0),
        (10, writers, 40_000.0),
        (40, writers, 40_000.0),
        (40, 1.0, 40_000.0),
    ] {
        progress(&format!("batches of {nodes} nodes"));
        let mut scenario = load(given, nodes, rate);
        (scenario.node_cores, scenario.slots, scenario.draining) = (16, Slots::of(4_096), 0);
        scenario.workload.consumers = 20_000;
        let Outcome { batch, commits_per_flush, database_cpu, database_utilisation, latency, .. } =
            run(&scenario, &Constants { pg_writers: writers, ..given.constants.clone() });
        let cells = [
            nodes as f64,
            writers,
            rate,
            batch,
            commits_per_flush,
            database_cpu,
            100.0 * database_utilisation,
            latency.within(0.5),
        ];
        table.row(cells.map(number));
    }
    table
}

pub(crate) fn sizes(given: &Given, progress: Progress<'_>) -> Table {
    let head = [
        "deliveries a second",
        "nodes",
        "their cores busy, %",
        "busiest node over average",
        "commands in a transaction",
        "cores that the database uses",
        "p50 ms",
        "p99 ms",
    ];
    let title = "The sizes, as if disk, log and hints of the primary were without limit";
    let mut table = Table::new(Kind::Simulated, title, &head);
    for (rate, share) in [(1_000.0, 1.0), (100_000.0, 0.3), (1_000_000.0, 0.08)] {
        progress(&format!("{rate} a second"));
        let needs = Load::of(rate, &given.constants).needs(&given.constants);
        let mut scenario = load(given, needs.nodes as usize, rate);
        scenario.publishing = seconds(given.seconds * share);
        (scenario.node_cores, scenario.database_cores) =
            (given.constants.node_cores as usize, given.constants.primary_cores as usize);
        (scenario.slots, scenario.draining) = (Slots::of(8_192), 0);
        scenario.workload.consumers = 100_000;
        let outcome = run(&scenario, &given.constants);
        let busy = outcome.node_utilisation.iter().sum::<f64>() / outcome.node_utilisation.len() as f64;
        let cells = [
            rate,
            needs.nodes,
            100.0 * busy,
            outcome.imbalance(),
            outcome.batch,
            outcome.database_utilisation * given.constants.primary_cores,
            outcome.latency.within(0.5),
            outcome.latency.within(0.99),
        ];
        table.row(cells.map(number));
    }
    table
}

fn load(given: &Given, nodes: usize, rate: f64) -> Scenario {
    let mut scenario = Scenario::calm(nodes, rate);
    scenario.publishing = seconds(given.seconds);
    scenario.seed = given.seed;
    scenario
}
