//! The sender against the real thing: a real store, real sockets. One binary, because linking is what takes time.
#![allow(
    clippy::as_conversions,
    clippy::unwrap_used,
    reason = "a test may panic, its helpers too, and an upcast loses nothing"
)]

mod api;
mod egress;
mod engine;
mod keys;
mod listen;
