//! Several nodes on one store, in one process: what one of them changes, all of them work by.

mod configuration;
mod deliveries;
mod erasure;
mod fleet;
mod keys;
mod node;
mod ownership;
mod receiver;
mod sender;
mod senders;
mod superseded;
