//! Speed of the whole: sender, receiver and generator as processes of their own, on loopback.
//!
//! ```text
//! cargo run --release -p waxseal-tests --bin bench                                        under two minutes
//! cargo run --release -p waxseal-tests --bin bench -- --full                              all questions, half an hour
//! cargo run --release -p waxseal-tests --bin bench -- --store postgres --consumers 1,1000 --json figures.json
//! ```
//!
//! Needs the program `waxseal` built beside it, and PostgreSQL installed, of which it starts its own servers. **Closed
//! loop** for throughput and CPU time per delivery, **open loop** at a fixed rate for latency. CPU seconds are those of
//! each process, so that the receiver and the generator, which share the machine, do not count as the sender's. Those of
//! the database are of all processes of its server, and count as part of what a delivery costs.
//!
//! A CPU second is not the same on two machines, nor on one that others use. So each figure stands beside a **limit**
//! that is measured in turns with it: a program that does only what nobody can do without (see `bare.rs`): one HTTP
//! request in, one durable batched insert, one signature, one request out, one batched settlement. `parts` shows what
//! each of these costs alone.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures the real time")]

mod bare;
mod case;
mod latency;
mod load;
mod report;
mod sink;
mod store;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use case::Case;
use report::{Progress, Report};
use store::{Kind, Servers};

/// Measures the sender beside the limit of what it does.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    plan: Plan,
}

/// What the benchmark starts as processes of their own.
#[derive(Subcommand)]
enum Role {
    /// The endpoint that takes everything.
    #[command(hide = true)]
    Sink,
    /// The limit: only what nobody can do without.
    #[command(hide = true)]
    Bare(bare::Options),
}

/// What is measured. With any of the lists, all their combinations, else a choice of cases that answer the questions
/// most asked.
#[derive(Args, Clone)]
struct Plan {
    /// sqlite, postgres
    #[arg(long, value_delimiter = ',', default_value = "sqlite,postgres")]
    store: Vec<Kind>,
    /// Many consumers, large payloads, a backlog of a million, too
    #[arg(long)]
    full: bool,
    /// signed, sealed
    #[arg(long, value_delimiter = ',')]
    protection: Vec<case::Protection>,
    /// How many consumers, one endpoint each
    #[arg(long, value_delimiter = ',')]
    consumers: Vec<usize>,
    /// Bytes of data of an event
    #[arg(long, value_delimiter = ',')]
    payload: Vec<usize>,
    /// Endpoints for each event
    #[arg(long, value_delimiter = ',')]
    fan_out: Vec<usize>,
    /// Deliveries that already wait for an endpoint that is paused
    #[arg(long, value_delimiter = ',')]
    backlog: Vec<usize>,
    /// Deliveries in each round
    #[arg(long, default_value_t = 8_000)]
    deliveries: usize,
    /// Rounds of a case, each beside a round of the limit; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of open loop at 200 events a second, for each case of one endpoint and no backlog (signed and plain alone,
    /// where no lists are given); 0: none
    #[arg(long, default_value_t = 5)]
    latency: u32,
    /// Writes all figures to this file as well
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Plan {
    fn has_lists(&self) -> bool {
        let lists = [&self.consumers, &self.payload, &self.fan_out, &self.backlog];
        !self.protection.is_empty() || lists.iter().any(|list| !list.is_empty())
    }
}

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc; // the sender's: so the limit has it too

#[tokio::main]
async fn main() {
    let options = Options::parse();
    match options.role {
        Some(Role::Sink) => sink::run().await,
        Some(Role::Bare(options)) => bare::run(options).await,
        None => measure(options.plan).await,
    }
}

async fn measure(plan: Plan) {
    let servers = Servers::start(&plan.store);
    let cases = Case::all(&plan);
    let open = Case::all_open(&plan);
    let mut progress = Progress::new(cases.len() * (plan.rounds + 1) + open.len() + 1);
    let mut report = Report::new(bare::parts(&plan.store, &servers, &mut progress).await);
    for case in cases {
        report.cases.push(case.measure(&servers, plan.deliveries, plan.rounds, &mut progress).await);
    }
    for case in open {
        report.latencies.push(latency::measure(case, &servers, plan.latency, &mut progress).await);
    }
    drop(progress);
    print!("{report}");
    if let Some(path) = plan.json {
        let text = serde_json::to_string_pretty(&report).expect("numbers and names");
        std::fs::write(&path, text + "\n").unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}
