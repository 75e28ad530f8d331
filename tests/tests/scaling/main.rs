//! What is promised of several nodes, in a simulation of a reduced size; and the figures of `docs/scaling.md`.
//!
//! Nothing here reads a clock: a run takes its time from its events and its chance from its seed.

mod figures;
mod flow;
mod leases;
mod program;
