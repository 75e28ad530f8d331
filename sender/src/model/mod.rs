//! What the sender knows: consumers, groups, event types, endpoints, keys, API tokens, events, deliveries.
//!
//! Plain data, valid by construction; no storage, no network. What is configured (this module's
//! [`consumer`], [`endpoint`], [`authentication`], [`server_authentication`], [`pace`], [`retry`], [`health`],
//! [`encryption_keys`], [`client_ca`], [`recovery`], [`token`], [`verification`], [`notice`], [`told`]) lives in memory in the
//! [`Directory`](crate::directory::Directory) and encrypted in the store. What flows ([`event`], [`delivery`]) lives in
//! the store alone.

pub mod authentication;
pub mod certificate;
pub mod client_ca;
pub mod consumer;
pub mod delivery;
pub mod encryption_keys;
pub mod endpoint;
pub mod event;
pub mod header;
pub mod health;
pub mod notice;
pub mod pace;
pub mod recovery;
pub mod retry;
pub mod secret;
pub mod server_authentication;
pub mod token;
pub mod told;
pub mod verification;
