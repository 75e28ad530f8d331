//! Which addresses we connect to: every public one, and of the others those that the operator has allowed.
//!
//! Pure; relies on nothing. Guarantees that an address is judged by where its packets end up: the IPv4 address
//! inside an IPv4-mapped or NAT64 address decides, however it was written. IPv6 is refused by default: outside
//! `2000::/3` nothing is global unicast, so a range that is registered tomorrow is refused today.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The ranges that an operator has allowed, beside the public addresses.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allow: Vec<IpNet>,
}

/// Why an address may be connected to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// Everyone can reach it.
    Public,
    /// It is special, or ours alone, and the operator has allowed its range. Public addresses in an allowed range
    /// count as allowed too.
    Allowed,
}

/// An address that we do not connect to.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{address} is not a public address ({range}) and its range is not allowed for outgoing connections")]
pub struct AddressRefused {
    /// The address, as it was asked for.
    pub address: IpAddr,
    /// What it belongs to.
    pub range: &'static str,
}

impl AddressPolicy {
    /// Allows these ranges beside the public addresses.
    pub fn new(allow: Vec<IpNet>) -> Self {
        Self { allow }
    }

    /// Whether we connect to `address`, and on what grounds.
    ///
    /// # Errors
    /// [`AddressRefused`] names the special range that the address belongs to.
    pub fn judge(&self, address: IpAddr) -> Result<Reach, AddressRefused> {
        let reached = reached(address);
        if let IpAddr::V6(six) = reached
            && SIX_TO_FOUR.contains(&six)
        {
            return self.judge_six_to_four(address, six);
        }
        if self.allows(reached) {
            return Ok(Reach::Allowed);
        }
        match special_range(reached) {
            None => Ok(Reach::Public),
            Some(range) => Err(AddressRefused { address, range }),
        }
    }

    /// 6to4 (RFC 7526 deprecates it) is refused unless allowed by name, and then its relay still must not lead to an
    /// IPv4 address that would be refused.
    fn judge_six_to_four(&self, address: IpAddr, six: Ipv6Addr) -> Result<Reach, AddressRefused> {
        let [_, b, c, ..] = six.segments();
        let [[b0, b1], [c0, c1]] = [b.to_be_bytes(), c.to_be_bytes()];
        let inner = IpAddr::V4(Ipv4Addr::new(b0, b1, c0, c1));
        if self.allows(address) && self.judge(inner).is_ok() {
            return Ok(Reach::Allowed);
        }
        Err(AddressRefused { address, range: "6to4" })
    }

    fn allows(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|range| range.contains(&address))
    }
}

/// The address whose host answers: the IPv4 one inside `::ffff:0:0/96` (the kernel connects to it) and inside
/// `64:ff9b::/96` (the network's translator does, RFC 6052; with DNS64 every public IPv4 host looks like this).
fn reached(address: IpAddr) -> IpAddr {
    let IpAddr::V6(six) = address else { return address };
    if !IPV4_MAPPED.contains(&six) && !NAT64.contains(&six) {
        return address;
    }
    let [.., a, b, c, d] = six.octets();
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

fn special_range(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(four) => {
            SPECIAL_IPV4.iter().find(|(range, _)| range.contains(&four)).map(|(_, name)| *name)
        }
        IpAddr::V6(six) => SPECIAL_IPV6
            .iter()
            .find(|(range, _)| range.contains(&six))
            .map(|(_, name)| *name)
            .or_else(|| (!GLOBAL_UNICAST.contains(&six)).then_some("not global unicast")),
    }
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(first: [u16; 3], prefix: u8) -> Ipv6Net {
    let [a, b, c] = first;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// <https://www.iana.org/assignments/iana-ipv4-special-registry>, and one address that is public by its number only.
/// Whole registry blocks: the few globally reachable addresses inside `192.0.0.0/24` receive no webhooks.
const SPECIAL_IPV4: [(Ipv4Net, &str); 17] = [
    (v4(0, 0, 0, 0, 8), "this network"),
    (v4(10, 0, 0, 0, 8), "private"),
    (v4(100, 64, 0, 0, 10), "shared address space"),
    (v4(127, 0, 0, 0, 8), "loopback"),
    (v4(168, 63, 129, 16, 32), "cloud platform service"), // Azure's WireServer hands out machine credentials here
    (v4(169, 254, 0, 0, 16), "link-local"),
    (v4(172, 16, 0, 0, 12), "private"),
    (v4(192, 0, 0, 0, 24), "IETF protocol assignments"),
    (v4(192, 0, 2, 0, 24), "documentation"),
    (v4(192, 88, 99, 0, 24), "6to4 relay"),
    (v4(192, 168, 0, 0, 16), "private"),
    (v4(198, 18, 0, 0, 15), "benchmarking"),
    (v4(198, 51, 100, 0, 24), "documentation"),
    (v4(203, 0, 113, 0, 24), "documentation"),
    (v4(224, 0, 0, 0, 4), "multicast"),
    (v4(255, 255, 255, 255, 32), "broadcast"),
    (v4(240, 0, 0, 0, 4), "reserved"),
];

/// <https://www.iana.org/assignments/iana-ipv6-special-registry>. The ranges outside `2000::/3` are here for their
/// names only. `2001::/23` is refused whole, its globally reachable anycast services receive no webhooks.
const SPECIAL_IPV6: [(Ipv6Net, &str); 14] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), "unspecified"),
    (Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128), "loopback"),
    (v6([0, 0, 0], 96), "IPv4-compatible"),
    (v6([0x64, 0xff9b, 1], 48), "local NAT64"),
    (v6([0x100, 0, 0], 64), "discard-only"),
    (v6([0x2001, 0, 0], 32), "Teredo"),
    (v6([0x2001, 0, 0], 23), "IETF protocol assignments"),
    (v6([0x2001, 0xdb8, 0], 32), "documentation"),
    (v6([0x3fff, 0, 0], 20), "documentation"),
    (v6([0x5f00, 0, 0], 16), "segment routing"),
    (v6([0xfc00, 0, 0], 7), "unique local"),
    (v6([0xfe80, 0, 0], 10), "link-local"),
    (v6([0xfec0, 0, 0], 10), "site-local"),
    (v6([0xff00, 0, 0], 8), "multicast"),
];

const IPV4_MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0], 96);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0], 16);
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0], 3);

#[cfg(test)]
mod tests;
