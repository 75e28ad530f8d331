//! Acknowledge now, process later: what is stored when, what becomes of it, and what a crash leaves.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../support/mod.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

mod crash;
mod dead_letter;
mod intake;
mod setup;
mod worker;
