//! Public test vectors, run through JWK import, `jws::verify` and `jwe::decrypt`.
//!
//! Valid cases of allowed algorithms must be accepted. Everything else must be refused, for the reason that
//! `tests/vectors/reasons.json` gives. Where we differ from upstream's verdict on purpose, `exceptions.json` says why;
//! an exception that is no longer one fails the run.

mod envelope;
mod rfc;
mod verdict;
mod wycheproof_jose;
mod wycheproof_primitives;
