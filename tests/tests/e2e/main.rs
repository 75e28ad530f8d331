//! End to end: the sender and its consumers as separate processes, each with its own caches, over real sockets.

mod auth;
mod backup;
mod clock;
mod crash;
mod damage;
mod delivery;
mod descriptors;
mod disk;
mod isolation;
mod keys;
mod listen;
mod matrix;
mod moving;
mod operations;
mod outbox;
mod own_keys;
mod program;
mod replay;
mod rewrap;
mod rotation;
mod secrets;
mod seven_days;
mod startup;
mod support;
mod tls;
mod verification;
