//! The HTTP API over a real store, in process: what it does, what it refuses, and that a refusal changes nothing.

mod audit;
mod auth;
mod bound;
mod cancel;
mod configuration;
mod deliveries;
mod dropped;
mod endpoint_auth;
mod events;
mod expiry;
mod keys;
mod operations;
mod own_keys;
mod pace;
mod reach;
mod recover;
mod refusals;
mod retry;
mod tokens;
mod trust;
mod verification;
mod world;
