//! Attacks on the receiver, each with a token made for it. `row_NN` is the number of the attack in the threat model's
//! list; `mutation` throws random changes at the same entry points.
//!
//! Every refusal is asserted with its reason: a token refused for another reason would prove nothing.

mod claims;
mod encryption;
mod forge;
mod header;
mod import;
mod mutation;
mod replay;
mod signature;
