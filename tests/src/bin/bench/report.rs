//! The table, and how far it is.

use std::fmt;
use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::bare::Parts;
use crate::case::{Case, Protection};
use crate::latency::Latency;
use crate::store::Kind;

/// What came out.
#[derive(Serialize)]
pub(crate) struct Report {
    parts: Parts,
    pub(crate) cases: Vec<Measured>,
    pub(crate) latencies: Vec<Latency>,
}

/// One row; times in CPU microseconds for a delivery.
#[derive(Serialize)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// Deliveries a second, with all processes on this machine.
    pub(crate) per_second: f64,
    pub(crate) sender: f64,
    /// Of the whole server, where the store is one.
    pub(crate) database: Option<f64>,
    pub(crate) together: f64,
    pub(crate) limit: f64,
    pub(crate) limit_database: Option<f64>,
    pub(crate) limit_together: f64,
    /// The median of the rounds' ratios of sender and limit, each with its database.
    pub(crate) ratio: f64,
    pub(crate) receiver: f64,
    /// The most that the sender had resident, in bytes.
    pub(crate) memory: u64,
}

impl Report {
    /// With no row yet.
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, cases: Vec::new(), latencies: Vec::new() }
    }

    /// How many times as much this row costs as the plain one of its store and protection, if that was measured.
    fn to_plain(&self, row: &Measured) -> Option<f64> {
        let plain = self.cases.iter().find(|other| other.case.name() == row.case.plain().name())?;
        Some(row.together / plain.together)
    }

    fn parts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.parts;
        writeln!(f, "CPU microseconds of the parts alone, 1 KiB")?;
        writeln!(
            f,
            "  request in {:.1}, request out {:.1}, ES256 {:.1}, ECDH-ES and A256GCM {:.1}, SQLite in and out {:.1}",
            parts.request, parts.post, parts.signature, parts.encryption, parts.store
        )?;
        if let Some(postgres) = parts.postgres {
            writeln!(
                f,
                "  PostgreSQL in and out {:.1} and {:.1} of the database",
                postgres.program, postgres.database
            )?;
        }
        for store in [Kind::Sqlite, Kind::Postgres] {
            let sum = |protection| parts.sum(protection, store);
            if let (Some(signed), Some(sealed)) = (sum(Protection::Signed), sum(Protection::Sealed)) {
                writeln!(f, "  together with {} {signed:.0} signed, {sealed:.0} sealed", store.name())?;
            }
        }
        writeln!(f)
    }

    fn cases(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = [
            ["", "per", "", "data-", "to-", "limit, to-", "", "of the", "", "sender"],
            [
                "CPU s for 1,000 deliveries",
                "second",
                "sender",
                "base",
                "gether",
                "gether",
                "ratio",
                "plain",
                "receiver",
                "MB",
            ],
        ];
        for head in heads {
            line(f, head.map(str::to_owned))?;
        }
        // A microsecond for one is a millisecond for 1,000.
        let seconds = |micros: f64| format!("{:.3}", micros / 1e3);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        for row in &self.cases {
            line(
                f,
                [
                    row.case.name(),
                    format!("{:.0}", row.per_second),
                    seconds(row.sender),
                    or_none(row.database.map(seconds)),
                    seconds(row.together),
                    seconds(row.limit_together),
                    format!("{:.2}", row.ratio),
                    or_none(self.to_plain(row).map(|ratio| format!("{ratio:.2}"))),
                    seconds(row.receiver),
                    format!("{:.0}", row.memory as f64 / 1e6),
                ],
            )?;
        }
        let is_long = |row: &Measured| row.case.backlog > 0 && row.case.store == Kind::Postgres;
        if self.cases.iter().any(is_long) {
            writeln!(f, "PostgreSQL: VACUUM (ANALYZE) and CHECKPOINT after a backlog was written")?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts(f)?;
        self.cases(f)?;
        writeln!(f, "\n200 a second, from publish to arrival")?;
        for latency in &self.latencies {
            let what = latency.case.name();
            writeln!(f, "{what:<48}{:>8}{:>9}{:>9}{:>10}", "ms", "limit", "ratio", "at most")?;
            for (name, share, most) in Latency::PROMISED {
                let (ours, limit) = latency.within(share);
                let most = most.map_or(String::new(), |most| most.to_string());
                writeln!(f, "{name:<48}{ours:>8.2}{limit:>9.2}{:>9.2}{most:>10}", ours / limit)?;
            }
        }
        Ok(())
    }
}

fn line(f: &mut fmt::Formatter<'_>, [name, second, rest @ ..]: [String; 10]) -> fmt::Result {
    write!(f, "{name:<48}{second:>7}")?;
    let [sender, database, together, limit, ratio, plain, receiver, memory] = rest;
    for (cell, width) in [
        (sender, 8),
        (database, 8),
        (together, 8),
        (limit, 11),
        (ratio, 7),
        (plain, 7),
        (receiver, 9),
        (memory, 7),
    ] {
        write!(f, "{cell:>width$}")?;
    }
    writeln!(f)
}

/// Shows on a terminal how far it is; on anything else it says nothing.
pub(crate) struct Progress {
    done: usize,
    steps: usize,
    shown: bool,
}

impl Progress {
    /// None of so many steps.
    pub(crate) fn new(steps: usize) -> Self {
        Self { done: 0, steps, shown: std::io::stderr().is_terminal() }
    }

    /// The next step begins.
    pub(crate) fn step(&mut self, name: &str) {
        if self.shown {
            let full = 30 * self.done / self.steps;
            eprint!("\r\x1b[K[{}{}] {name}", "#".repeat(full), ".".repeat(30 - full));
            let _ = std::io::stderr().flush();
        }
        self.done += 1;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

/// The one in the middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
