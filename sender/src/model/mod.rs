//! What the sender knows: consumers, groups, event types, endpoints, keys, API tokens, events, deliveries.
//!
//! Plain data, valid by construction; no storage, no network. What is configured (this module's
//! [`consumer`], [`endpoint`], [`encryption_keys`], [`recovery`], [`token`]) lives in memory in the
//! [`Directory`](crate::directory::Directory) and encrypted in the store. What flows ([`event`], [`delivery`]) lives in
//! the store alone.

pub mod consumer;
pub mod delivery;
pub mod encryption_keys;
pub mod endpoint;
pub mod event;
pub mod recovery;
pub mod retry;
pub mod token;
