//! JWK Sets (RFC 7517 §5) for Waxseal: parse what others publish, fetch and cache it, publish one's own.
//!
//! - [`JwkSet`] holds public keys. A private key is another type, so it cannot be published.
//! - [`RemoteJwks`] is the cached set behind a URL: time limit, cooldown, maximum age, one fetch at a time,
//!   and a hard bound of 15 minutes ([`freshness::MAX_CACHED`]) after which a revoked key is gone.
//! - [`publish`] (feature `publish`) is the axum router that serves a set.
//! - [`ReqwestGet`] (feature `reqwest`) is the fetcher; without it the caller brings an [`HttpGet`].
//!
//! Relies on `waxseal-keys` for the rules of a key, and on an injected client and clock. Guarantees that
//! sets are replaced whole, that private and symmetric keys are refused, and that a flood of unknown
//! `kid`s causes at most one fetch per cooldown.
#![warn(clippy::exhaustive_enums, clippy::exhaustive_structs)]

mod error;
mod fetch;
pub mod freshness;
#[cfg(feature = "publish")]
pub mod publish;
mod remote;
#[cfg(feature = "reqwest")]
mod reqwest_get;
mod set;

pub use error::{FetchError, JwkSetError, JwksError};
pub use fetch::{HttpGet, HttpGetFuture, HttpResponse, WELL_KNOWN, is_secure_url};
pub use freshness::RemotePolicy;
pub use remote::RemoteJwks;
#[cfg(feature = "reqwest")]
pub use reqwest_get::ReqwestGet;
pub use set::{JwkSet, ParsedSet, SetLimits};
pub use url::Url;
