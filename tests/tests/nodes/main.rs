//! Several nodes as processes of their own, on a real PostgreSQL: what they do when one of them, or the database, fails.
//!
//! Leases are those of production, so a test takes as long as a few of them. The sender must be built before: see
//! `tests/run`.

mod fleet;
mod load;
mod proxy;
mod receiver;

mod cluster;
mod faults;
mod leader;
mod lost_primary;
mod protection;
mod restore;
mod roles;
mod snapshot;
mod words;
