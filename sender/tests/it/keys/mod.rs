//! The services that know which key signs and which key seals, over a real store.

mod choice;
mod remote;
mod signing;
mod support;
