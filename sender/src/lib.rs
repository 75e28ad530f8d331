//! Sends webhooks that are signed for one consumer and, if it wants, sealed so that only it can read them.

pub mod data_keys;
pub mod directory;
pub mod id;
pub mod model;
pub mod store;
