//! End to end: the sender and its consumers as separate processes, each with its own caches, over real sockets.

mod auth;
mod crash;
mod delivery;
mod isolation;
mod keys;
mod listen;
mod matrix;
mod operations;
mod program;
mod replay;
mod rotation;
mod startup;
mod support;
mod tls;
