//! Sends webhooks that are signed for one consumer and, if it wants, sealed so that only it can read them.
//!
//! ```text
//!   publish ──► fan out ──► [store: on disk] ──► claim ──► seal ──► post ──► settle
//!   api,        directory,                       engine::  engine:: engine:: engine::verdict (pure),
//!   publish     in memory                        schedule  seal     post     then the store
//! ```
//!
//! The program `waxseal` is [`cli`]; a Rust service embeds the same sender:
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::Arc;
//!
//! use waxseal_envelope::Issuer;
//! use waxseal_keys::{KeyEncryptionKey, SystemClock};
//! use waxseal_sender::config::Config;
//! use waxseal_sender::sender::{Sender, Settings};
//! use waxseal_sender::store::sqlite::SqliteStore;
//!
//! # async fn embed() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::new(Issuer::parse("https://hooks.example.com")?);
//! let store = Arc::new(SqliteStore::open(Path::new("waxseal.db"))?);
//! let kek = KeyEncryptionKey::from_file(Path::new("waxseal.key"))?;
//! let sender = Sender::start(Settings::from_config(&config)?, store, kek, Arc::new(SystemClock)).await?;
//! let app = axum::Router::new().merge(sender.router(String::new));
//! // Serve `app`, publish with `sender.publisher()`, and at the end:
//! sender.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`directory`] is all that is configured, [`store`] where everything is kept, [`signing_keys`] and
//! [`consumer_keys`] are our keys and theirs, [`credentials`] what endpoints are shown beside the token, [`engine`] makes the deliveries, [`operations`] tells the operator
//! of trouble, [`audit`] has who changed what, [`api`] is the way in.

pub mod api;
#[cfg(test)]
mod at_once;
pub mod audit;
mod carried_out;
pub mod cli;
mod clock_watch;
pub mod config;
pub mod consumer_keys;
pub mod credentials;
pub mod data_keys;
pub mod database;
pub mod descriptors;
pub mod directory;
pub mod engine;
pub mod following;
mod host_limits;
pub mod id;
mod known_late;
pub mod leadership;
pub mod listen;
pub mod model;
mod moment;
pub mod moving;
pub mod operations;
pub mod publish;
mod quota;
pub mod recover;
pub mod relay;
pub mod rewrap;
pub mod sender;
pub mod signing_keys;
pub mod store;
pub mod telemetry;
pub mod upkeep;
