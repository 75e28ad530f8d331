//! One suite for every replay guard, and what each must do besides: outlive its process, be shared, stay bounded.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod child;
mod memory;
mod redis;
mod redis_server;
mod sqlite;
mod suite;
