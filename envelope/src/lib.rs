//! The Waxseal wire format: an event as a signed, optionally sealed, Security Event Token.
//!
//! An event for one audience is a JWS in compact form (RFC 7515) whose claims are a Security Event Token (RFC 8417);
//! sealed, it is inside one JWE (RFC 7516), so that only the consumer can read it. The normative text is
//! `docs/wire-format.md`.
//!
//! | step | function | needs |
//! | --- | --- | --- |
//! | event to token | `seal` (feature `seal`) | a signer, perhaps the recipient's key, the time |
//! | bytes to shape | [`Token::parse`] | nothing |
//! | sealed to signed | [`Sealed::decrypt`] | the key named by [`Sealed::recipient_kid`] |
//! | signed to event | [`Signed::verify`] | the key named by [`Signed::signer_kid`], what is expected, the time |
//!
//! Below them are [`jws`] and [`jwe`] over raw bytes. Relies on `waxseal-keys` for keys and their algorithms. Guarantees
//! that an [`Event`] comes out of bytes only through all checks, that no bytes make it panic, and that errors and
//! `Debug` show no content. No I/O, no clock, no async: keys and the time are arguments.
//!
//! The whole way, with keys from the feature `seal`, is the example of `seal`.

mod claims;
mod compact;
mod data;
mod ecdh_es;
mod error;
mod event;
mod header;
mod json;
pub mod jwe;
pub mod jws;
mod open;
#[cfg(feature = "seal")]
mod seal;

pub use compact::Limits;
pub use data::{Data, DataError, MAX_BINARY, MAX_DEPTH, MAX_JSON};
pub use error::{
    ClaimsError, HeaderError, JweError, JwsError, MAX_TXN, Malformed, OpenError, Part, SealError,
};
pub use event::{Audience, Event, EventId, EventType, Issuer, NameError};
pub use open::{Expected, Opened, Sealed, Signed, Token, VERIFICATION};
#[cfg(feature = "seal")]
pub use seal::seal;
