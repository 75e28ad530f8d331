//! The HTTP API over a real store, in process: what it does, what it refuses, and that a refusal changes nothing.

mod auth;
mod bound;
mod cancel;
mod configuration;
mod deliveries;
mod events;
mod expiry;
mod keys;
mod recover;
mod refusals;
mod retry;
mod tokens;
mod world;
