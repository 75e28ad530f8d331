//! What the tests share: real processes, a client for the API, endpoints that answer as told.

pub mod api;
pub mod backlog;
pub mod consumer;
pub mod isolation;
pub mod leak;
pub mod measured;
pub mod nginx;
pub mod page;
pub mod pki;
pub mod postgres;
pub mod preload;
pub mod process;
pub mod raw;
pub mod sender;
pub mod simulation;
pub mod sink;
pub mod small_disk;
pub mod store_model;
pub mod store_suite;
pub mod token_server;
