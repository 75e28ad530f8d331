//! The guarded client against real servers on the loopback interface.

mod answers;
mod guard;
mod limits;
pub(crate) mod pki;
pub(crate) mod server;
mod sessions;
mod tls;

use waxseal_sender::engine::egress::guard::PlainHttp;
use waxseal_sender::engine::egress::{Egress, EgressPolicy};

/// A policy that lets these tests reach their own servers.
fn loopback() -> EgressPolicy {
    EgressPolicy {
        allow: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        http: PlainHttp::AllowedRanges,
        ..EgressPolicy::default()
    }
}

fn open_egress() -> Egress {
    Egress::new(loopback()).unwrap()
}
