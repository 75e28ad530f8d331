//! Sends webhooks that are signed for one consumer and, if it wants, sealed so that only it can read them.

pub mod api;
pub mod consumer_keys;
pub mod data_keys;
pub mod directory;
pub mod engine;
pub mod id;
pub mod model;
pub mod publish;
pub mod signing_keys;
pub mod store;
