//! The HTTP API over a real store, in process: what it does, what it refuses, and that a refusal changes nothing.

mod auth;
mod bound;
mod configuration;
mod deliveries;
mod endpoint_auth;
mod events;
mod keys;
mod own_keys;
mod pace;
mod reach;
mod refusals;
mod tokens;
mod world;
