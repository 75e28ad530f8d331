//! The table, and how far it is.

use std::fmt;
use std::io::{IsTerminal, Write};

use serde::Serialize;

use crate::bare::Parts;
use crate::case::{Case, Protection};
use crate::latency::Latency;

/// What came out.
#[derive(Serialize)]
pub(crate) struct Report {
    parts: Parts,
    pub(crate) cases: Vec<Measured>,
    pub(crate) latency: Option<Latency>,
}

/// One row; times in CPU microseconds for a delivery.
#[derive(Serialize)]
pub(crate) struct Measured {
    pub(crate) case: Case,
    /// Deliveries a second, with all processes on this machine.
    pub(crate) per_second: f64,
    pub(crate) sender: f64,
    pub(crate) limit: f64,
    /// The median of the rounds' ratios of sender and limit.
    pub(crate) ratio: f64,
    pub(crate) receiver: f64,
    /// The most that the sender had resident, in bytes.
    pub(crate) memory: u64,
}

impl Report {
    /// With no row yet.
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, cases: Vec::new(), latency: None }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &self.parts;
        writeln!(f, "CPU microseconds of the parts alone, 1 KiB")?;
        writeln!(
            f,
            "  request in {:.1}, request out {:.1}, ES256 {:.1}, ECDH-ES and A256GCM {:.1}, SQLite in and out {:.1}",
            parts.request, parts.post, parts.signature, parts.encryption, parts.store
        )?;
        let (signed, sealed) = (parts.sum(Protection::Signed), parts.sum(Protection::Sealed));
        writeln!(f, "  together {signed:.0} signed, {sealed:.0} sealed\n")?;
        writeln!(
            f,
            "{:<42}{:>8}{:>9}{:>9}{:>8}{:>10}{:>9}",
            "", "per", "sender", "limit", "", "receiver", "sender"
        )?;
        writeln!(
            f,
            "{:<42}{:>8}{:>9}{:>9}{:>8}{:>10}{:>9}",
            "CPU microseconds for a delivery", "second", "us", "us", "ratio", "us", "MB"
        )?;
        for row in &self.cases {
            writeln!(
                f,
                "{:<42}{:>8.0}{:>9.0}{:>9.0}{:>8.2}{:>10.0}{:>9.0}",
                row.case.name(),
                row.per_second,
                row.sender,
                row.limit,
                row.ratio,
                row.receiver,
                row.memory as f64 / 1e6
            )?;
        }
        let Some(latency) = &self.latency else {
            return Ok(());
        };
        writeln!(f, "\n{:<42}{:>8}{:>9}{:>9}", "200 a second, publish to arrival", "ms", "limit", "ratio")?;
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)] {
            let (ours, limit) = latency.within(share);
            writeln!(f, "{name:<42}{ours:>8.2}{limit:>9.2}{:>9.2}", ours / limit)?;
        }
        Ok(())
    }
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
