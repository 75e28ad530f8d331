//! End to end: the sender and its consumers as separate processes, each with its own caches, over real sockets.

mod backup;
mod crash;
mod damage;
mod delivery;
mod disk;
mod keys;
mod matrix;
mod program;
mod replay;
mod rotation;
mod support;
mod tls;
