//! [`Peer`]: who asks, as far as a limit is concerned.
//!
//! Relies on the server telling the address of the connection. Guarantees that one who has a whole IPv6 network
//! counts as one, and that an IPv4 address is the same in either notation.

use std::net::{IpAddr, Ipv4Addr};

use http::Extensions;

/// The address of whoever is at the other end of the connection. Servers without axum put it in the
/// extensions of each request; with axum, `ConnectInfo<SocketAddr>` does.
///
/// ```
/// use waxseal_receiver::tower::Peer;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer("192.0.2.7".parse().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "it is an address and nothing else")]
pub struct Peer(pub IpAddr);

impl Peer {
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        let said = extensions.get::<Self>().copied();
        #[cfg(feature = "axum")]
        let said = said.or_else(|| {
            let connection = extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>()?;
            Some(Self(connection.0.ip()))
        });
        said
    }

    /// What is counted together: an IPv4 address, or the first 64 bits of an IPv6 address, which is what one
    /// customer of a network is given at least.
    pub(super) fn network(self) -> Network {
        match self.0.to_canonical() {
            IpAddr::V4(address) => Network::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Network::V6([a, b, c, d])
            }
        }
    }
}

/// What has a budget of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Network {
    V4(Ipv4Addr),
    V6([u16; 4]),
    /// All whose address the server does not tell.
    Unknown,
    /// All who came when there was no more room.
    Crowd,
}
