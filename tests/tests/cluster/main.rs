//! Several nodes on one store, in one process: what one of them changes, all of them work by.

mod configuration;
mod erasure;
mod keys;
mod node;
mod senders;
