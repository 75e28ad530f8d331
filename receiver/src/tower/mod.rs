//! The receiver as a tower layer: for services without axum, and for those that are there already.
//!
//! [`ReceiveLayer`] takes requests that carry an event, and gives the service inside one request for each new event.
//! Everything else it answers itself, exactly as [`axum::webhook`](crate::axum::webhook) does. `RateLimitLayer` (feature
//! `rate-limit`) turns away those who ask too often, in front of this layer or of any other service.
//!
//! Relies on the [`Receiver`](crate::Receiver) for every decision. Guarantees that the service inside sees verified
//! events only, that its work does not depend on the connection, and that the sender sees nothing of it but
//! whether it succeeded.

#[cfg(feature = "rate-limit")]
mod budget;
#[cfg(feature = "rate-limit")]
mod peer;
#[cfg(feature = "rate-limit")]
mod rate_limit;
mod receive;

#[cfg(feature = "rate-limit")]
pub use peer::Peer;
#[cfg(feature = "rate-limit")]
pub use rate_limit::{RateLimit, RateLimitLayer};
pub use receive::{Answering, Receive, ReceiveLayer};
