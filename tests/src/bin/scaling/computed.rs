//! What follows from the constants by arithmetic alone.

use waxseal_tests::simulation::capacity::{
    Limit, Load, Needs, default_concurrency, of_one_endpoint, of_one_shard,
};
use waxseal_tests::simulation::constants::{Constant, Constants};
use waxseal_tests::simulation::wire::{self, Names};

use crate::table::{Kind, Table, number};

pub(crate) fn constants(constants: &Constants, all: &[Constant]) -> Table {
    let mut table = Table::new(Kind::Given, "Constants", &["name", "value", "origin", "what it is"]);
    let values = serde_json::to_value(constants).expect("numbers");
    for constant in all {
        let value = values[constant.name].as_f64().expect("a number");
        let origin = if value == constant.value { constant.origin.name() } else { "from a file" };
        table.row([constant.name.to_owned(), number(value), origin.to_owned(), constant.source.to_owned()]);
    }
    table
}

pub(crate) fn wire() -> Table {
    let head = [
        "content, bytes",
        "signed token",
        "sealed token",
        "signed, sent",
        "sealed, sent",
        "signed, received",
        "sealed, received",
    ];
    let mut table = Table::new(Kind::Computed, "Bytes of one delivery on the wire", &head);
    for content in [256, 1_024, 4_096, 16_384, 65_536] {
        let names = Names::default();
        let (signed, sealed) = (wire::signed(content, &names), wire::sealed(content, &names));
        let bytes = [
            content,
            signed,
            sealed,
            wire::sent(signed),
            wire::sent(sealed),
            wire::received(signed),
            wire::received(sealed),
        ];
        table.row(bytes.map(|bytes| number(bytes as f64)));
    }
    table
}

pub(crate) fn sizes(constants: &Constants) -> Table {
    let head = ["deliveries a second", "1,000", "100,000", "1,000,000"];
    let mut table = Table::new(Kind::Computed, "What a rate needs", &head);
    let signed = RATES.map(|rate| Load::of(rate, constants).needs(constants));
    let sealed = RATES.map(|rate| Load { sealed: true, ..Load::of(rate, constants) }.needs(constants));
    let mut row = |name: &str, needs: &[Needs; 3], of: &dyn Fn(&Needs) -> f64| {
        let cells = needs.iter().map(|needs| number(of(needs)));
        table.row([name.to_owned()].into_iter().chain(cells));
    };
    row("cores that nodes use, signed", &signed, &|needs| needs.cores_used);
    row("cores that nodes use, sealed", &sealed, &|needs| needs.cores_used);
    row("nodes, signed", &signed, &|needs| needs.nodes);
    row("nodes, sealed", &sealed, &|needs| needs.nodes);
    row("POSTs in flight on each node", &signed, &|needs| needs.in_flight_of_node);
    row("sockets towards endpoints on each node", &signed, &|needs| needs.sockets_of_node);
    row("Mbit/s that each node sends to endpoints, signed", &signed, &|needs| needs.node_sends_mbit);
    row("Mbit/s that each node sends to endpoints, sealed", &sealed, &|needs| needs.node_sends_mbit);
    row("GB of configuration in each node", &signed, &|needs| needs.directory_gb);
    row("commands in a transaction", &signed, &|needs| needs.batch);
    row("transactions a second", &signed, &|needs| needs.commits);
    row("cores that the primary uses", &signed, &|needs| needs.database_cores_used);
    row("MB/s of log", &signed, &|needs| needs.wal_mb);
    row("TB on disk at the default retention", &signed, &|needs| needs.disk_tb);
    row("TB that a day adds", &signed, &|needs| needs.disk_tb_a_day);
    row("million attempts a day", &signed, &|needs| needs.attempts_a_day / 1e6);
    row("TB of the largest partition of a day", &signed, &|needs| needs.partition_tb);
    row("dead rows a second in `delivery_live`", &signed, &|needs| needs.dead_rows);
    row("hours until autovacuum has to freeze", &signed, &|needs| needs.hours_to_freeze);
    row("index entries that one poll may pass over", &signed, &|needs| needs.poll_entries);
    row("connections to the primary", &signed, &|needs| needs.connections);
    row("hints a second, each listener counted", &signed, &|needs| needs.wakeups);
    let first = signed.iter().map(|needs| match needs.limits[0] {
        Limit { name, used } if used >= 1.0 => name.to_owned(),
        Limit { .. } => "none".to_owned(),
    });
    table.row(["limit that is passed first".to_owned()].into_iter().chain(first));
    let clusters = RATES.map(|rate| number(Load::of(rate, constants).clusters(constants)));
    table.row(
        ["PostgreSQL clusters, so that no limit is passed but the disk's".to_owned()]
            .into_iter()
            .chain(clusters),
    );
    table
}

pub(crate) fn limits(constants: &Constants) -> Table {
    let head = ["limit", "at 1,000", "at 100,000", "at 1,000,000", "met at, deliveries a second"];
    let mut table = Table::new(Kind::Computed, "How much of each limit is used", &head);
    let needs = RATES.map(|rate| Load::of(rate, constants).needs(constants));
    for limit in &needs[1].limits {
        let used =
            |needs: &Needs| needs.limits.iter().find(|other| other.name == limit.name).map(|at| at.used);
        let cells = needs.iter().map(|needs| used(needs).map_or_else(String::new, number));
        let met = Load::of(RATES[1], constants).met_at(limit.name, constants);
        let met = met.map_or_else(|| "never".to_owned(), |rate| number(rounded(rate)));
        table.row([limit.name.to_owned()].into_iter().chain(cells).chain([met]));
    }
    table
}

pub(crate) fn single(constants: &Constants) -> Table {
    let head = ["what is on one node alone", "deliveries a second, at most"];
    let mut table = Table::new(Kind::Computed, "What more nodes do not help", &head);
    for concurrency in [1, default_concurrency(), 64] {
        let name = match concurrency {
            1 => "an endpoint in strict order".to_owned(),
            concurrency => format!("an endpoint with a concurrency of {concurrency}"),
        };
        table.row([name, number(of_one_endpoint(concurrency, constants))]);
    }
    table.row(["a shard, signed".to_owned(), number(of_one_shard(false, constants))]);
    table.row(["a shard, sealed".to_owned(), number(of_one_shard(true, constants))]);
    table
}

/// To two digits: more would promise too much.
fn rounded(value: f64) -> f64 {
    let unit = 10_f64.powf(value.log10().floor() - 1.0);
    (value / unit).round() * unit
}

const RATES: [f64; 3] = [1_000.0, 100_000.0, 1_000_000.0];
