//! How much the envelope costs over the raw primitives of the fastest library in the build (`aws-lc-rs`).
//!
//! ```text
//! cargo run --release -p waxseal-tests --bin envelope-bench             prints the table
//! cargo run --release -p waxseal-tests --bin envelope-bench -- --check  fails where a target is missed
//! ```
//!
//! Both sides of a row run in turns in the same process, in batches of a few milliseconds; the ratio is the
//! median over the pairs of neighbouring batches, so that a machine that changes its speed changes both.
//! Relies on a quiet machine for the last per cent only.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

mod envelope;
mod measure;

use std::process::ExitCode;

use envelope::Ours;
use measure::{Row, compare};
use waxseal_tests::raw::{Agreement, Raw, Signature};

fn main() -> ExitCode {
    let check = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--check") => true,
        Some(other) => {
            eprintln!("unknown argument `{other}`; the only one is --check");
            return ExitCode::from(2);
        }
    };
    println!("payload {} bytes of JSON; target {TARGET:.2} of the raw primitives or less", envelope::PAYLOAD);
    println!("{:<34} {:>10} {:>10} {:>7}", "", "ours", "raw", "ratio");
    let missed = rows().into_iter().filter(|row| !row.print(TARGET)).count();
    if missed > 0 {
        println!("{missed} above the target");
    }
    if check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Every row is measured as it is reached.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for signature in [Signature::Es256, Signature::EdDsa] {
        let (ours, raw) = (Ours::new(signature, None), Raw::new(signature, None, &MESSAGE));
        let name = signature.name();
        rows.push(compare(format!("seal, {name}"), || ours.seal(), || raw.sign()));
        rows.push(compare(format!("open, {name}"), || ours.open(), || raw.verify()));
        for agreement in [Agreement::P256, Agreement::X25519] {
            let ours = Ours::new(signature, Some(agreement));
            let raw = Raw::new(signature, Some(agreement), &MESSAGE);
            let name = format!("{name} in ECDH-ES {}", agreement.name());
            rows.push(compare(format!("seal, {name}"), || ours.seal(), || raw.seal()));
            rows.push(compare(format!("open, {name}"), || ours.open(), || raw.open()));
        }
    }
    rows
}

static MESSAGE: [u8; envelope::PAYLOAD] = [b'm'; envelope::PAYLOAD];
/// At most this many times the raw primitives.
const TARGET: f64 = 1.35;
