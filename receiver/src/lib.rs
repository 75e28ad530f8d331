#![doc = include_str!("../README.md")]
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod answer;
#[cfg(feature = "axum")]
pub mod axum;
mod builder;
#[cfg(feature = "inbox")]
pub mod inbox;
mod issuer;
mod media_type;
mod metric;
mod permit;
#[cfg(feature = "tower")]
mod process;
mod received;
mod receiver;
mod reject;
mod replay;
#[cfg(feature = "tower")]
mod request;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "tower")]
pub mod tower;

pub use answer::{Answer, ErrorCode};
pub use builder::{BuildError, ReceiverBuilder};
pub use issuer::{Protection, TrustedIssuer};
pub use media_type::check_media_type;
pub use permit::Permit;
pub use received::Received;
pub use receiver::{Outcome, Receiver};
pub use reject::{KeyFault, Reject};
#[cfg(feature = "redis")]
pub use replay::RedisGuard;
#[cfg(feature = "sqlite")]
pub use replay::SqliteGuard;
pub use replay::{Begin, Fence, GuardError, GuardFuture, MemoryGuard, ReplayGuard, ReplayKey, Settled};
pub use waxseal_envelope::{Audience, Data, Event, EventId, EventType, Issuer, OpenError};
pub use waxseal_jwks as jwks;
pub use waxseal_keys::{
    Clock, DecryptionKey, JwkError, KeyEncryptionKey, ManualClock, PrivateJwk, SystemClock, Timestamp,
    VaultError,
};
