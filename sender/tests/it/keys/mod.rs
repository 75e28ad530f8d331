//! The services that know which key signs and which key seals, over a real store.

mod choice;
mod import;
mod remote;
mod rewrap;
mod schedule;
mod signing;
mod support;
