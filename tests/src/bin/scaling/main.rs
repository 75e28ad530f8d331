//! Past one machine: what several nodes on one PostgreSQL do, simulated, and what a rate needs, computed.
//!
//! ```text
//! cargo run --release -p waxseal-tests --bin scaling                                    about half a minute
//! cargo run --release -p waxseal-tests --bin scaling -- --constants figures.json --json scaling.json
//! ```
//!
//! Nothing is measured here: every figure comes from the constants, which `--constants` replaces by what `bench --json`
//! measured, and from a seed. The same arguments print the same tables again; `docs/scaling.md` has them.

mod computed;
mod simulated;
mod table;

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde_json::json;
use waxseal_tests::simulation::constants::{Constants, TABLE};

use table::Table;

/// Simulates several nodes on one PostgreSQL, and computes what a rate of deliveries needs
#[derive(Parser)]
struct Options {
    /// Takes figures from this file: what `bench --json` wrote, or {"constants": {"name": number}}. May be repeated
    #[arg(long)]
    constants: Vec<PathBuf>,
    /// Prints these parts only
    #[arg(long, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds for which events are published in each simulation of load
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,
    /// Where the random numbers come from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Writes all figures to this file as well
    #[arg(long)]
    json: Option<PathBuf>,
}

/// A part of what is printed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Every figure that is used, with where it comes from
    Constants,
    /// Bytes of tokens and packets
    Wire,
    /// What a rate needs
    Sizes,
    /// The same rates, simulated
    Simulated,
    /// Which limit of one primary is met when
    Limits,
    /// The most that one endpoint and one shard get
    Single,
    /// How evenly shards and nodes are loaded
    Balance,
    /// How shards change hands
    Leases,
    /// Latency against load
    Latency,
    /// What bad neighbours do
    Neighbours,
    /// What a giant endpoint gets
    Giant,
    /// Transactions and flushes of the database
    Batches,
}

/// What the parts are made from.
struct Given {
    constants: Constants,
    seconds: f64,
    seed: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut constants = Constants::default();
    for path in &options.constants {
        constants = match read(path, &constants) {
            Ok(constants) => constants,
            Err(error) => {
                eprintln!("{}: {error}", path.display());
                return ExitCode::from(2);
            }
        };
    }
    let given = Given { constants, seconds: options.seconds, seed: options.seed };
    let parts = if options.only.is_empty() { Part::value_variants() } else { &options.only };
    let mut tables = Vec::new();
    for (done, part) in parts.iter().enumerate() {
        let table = make(*part, &given, &|what| show(done, parts.len(), what));
        show(done, parts.len(), "");
        print!("{table}");
        tables.push(json!({ "part": format!("{part:?}").to_lowercase(), "kind": table.kind.name(), "rows": table.json() }));
    }
    let Some(path) = options.json else { return ExitCode::SUCCESS };
    let all = json!({ "constants": given.constants, "seed": given.seed, "tables": tables });
    match std::fs::write(&path, format!("{all:#}\n")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn make(part: Part, given: &Given, progress: &dyn Fn(&str)) -> Table {
    match part {
        Part::Constants => computed::constants(&given.constants, TABLE),
        Part::Wire => computed::wire(),
        Part::Sizes => computed::sizes(&given.constants),
        Part::Simulated => simulated::sizes(given, progress),
        Part::Limits => computed::limits(&given.constants),
        Part::Single => computed::single(&given.constants),
        Part::Balance => simulated::balances(given, progress),
        Part::Leases => simulated::leases(given, progress),
        Part::Latency => simulated::latency(given, progress),
        Part::Neighbours => simulated::neighbours(given, progress),
        Part::Giant => simulated::giant(given, progress),
        Part::Batches => simulated::batches(given, progress),
    }
}

fn read(path: &Path, constants: &Constants) -> Result<Constants, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let file = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    constants.with(&file).map_err(|error| error.to_string())
}

/// On a terminal: how far it is.
fn show(done: usize, of: usize, what: &str) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    let bar = match what {
        "" => String::new(),
        what => format!("[{}{}] {what}", "#".repeat(30 * done / of), ".".repeat(30 - 30 * done / of)),
    };
    eprint!("\r\x1b[K{bar}");
    let _ = std::io::stderr().flush();
}
